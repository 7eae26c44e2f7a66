-- Ensembles by lead: error of the mean (skill), spread, their ratio, CRPS, and how often the members enclose the truth
-- skill and spread are root mean squares over trajectories and starts, in units of the truth's deviation as VRMSE is. ratio is
-- sqrt((members + 1) / members) * spread / skill: 1 where the spread tells the error, below 1 where members are too
-- sure. coverage is the share of cells whose truth lies between the least and the greatest member, which is
-- expected_coverage for members that cannot be told from the truth. crps comes with its interval (low, high)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, r.members, e.field, e.lead, e.skill, e.spread,
  sqrt((r.members + 1.0) / r.members) * e.spread / e.skill AS ratio,
  e.crps, e.ends['low'] AS low, e.ends['high'] AS high,
  e.coverage, (r.members - 1.0) / (r.members + 1.0) AS expected_coverage, e.starts, r.rollout
FROM runs r
JOIN (
  SELECT run, field, lead,
    sqrt(avg(value * value) FILTER (WHERE metric = 'vrmse')) AS skill,
    sqrt(avg(value * value) FILTER (WHERE metric = 'spread')) AS spread,
    avg(value) FILTER (WHERE metric = 'crps') AS crps,
    bootstrap(value, trajectory) FILTER (WHERE metric = 'crps') AS ends,
    avg(value) FILTER (WHERE metric = 'coverage') AS coverage,
    count(*) FILTER (WHERE metric = 'crps') AS starts
  FROM ensembles
  WHERE member IS NULL
  GROUP BY run, field, lead
) e ON e.run = r.run
