-- Residual power at the harmonics of a patch size over its neighbourhood, geometric mean; 1 is none
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, CAST(substr(m.metric, 10) AS INT) AS patch,
  exp(m.ratio) AS ratio, exp(m.ends['low']) AS low, exp(m.ends['high']) AS high
FROM runs r
JOIN (
  SELECT run, field, lead, metric, avg(ln(value)) AS ratio, bootstrap(ln(value), trajectory) AS ends
  FROM metrics
  WHERE metric LIKE 'artefact%'
  GROUP BY run, field, lead, metric
) m ON m.run = r.run
