-- VRMSE at the first lead against tokens, for schedules of one patch size (Fig. 3)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule AS patch, m.field, r.tokens, m.vrmse, m.ends['low'] AS low,
  m.ends['high'] AS high, m.starts
FROM runs r
JOIN (
  SELECT run, field, avg(value) AS vrmse, bootstrap(value, trajectory) AS ends, count(*) AS starts
  FROM metrics
  WHERE metric = 'vrmse' AND lead = 1
  GROUP BY run, field
) m ON m.run = r.run
WHERE r.strategy <> 'baseline' AND r.schedule NOT LIKE '%,%' AND r.schedule NOT LIKE '%:%'
