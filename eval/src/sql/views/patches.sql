-- Which part of each evaluation's predictions was made at which patch size
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.patch,
  CAST(m.fields AS DOUBLE) / sum(m.fields) OVER (PARTITION BY m.run) AS share
FROM runs r
JOIN (
  SELECT run, patch, count(*) AS fields
  FROM metrics
  WHERE metric = 'vrmse'
  GROUP BY run, patch
) m ON m.run = r.run
