-- VRMSE of each evaluation by lead, mean over trajectories and starts
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, m.vrmse, m.ends['low'] AS low,
  m.ends['high'] AS high, m.starts, r.rollout
FROM runs r
JOIN (
  SELECT run, field, lead, avg(value) AS vrmse, bootstrap(value, trajectory) AS ends, count(*) AS starts
  FROM metrics
  WHERE metric = 'vrmse'
  GROUP BY run, field, lead
) m ON m.run = r.run
