-- Residual power at the harmonics of a patch size over its neighbourhood, geometric mean; 1 is none
SELECT dataset, split, name, strategy, schedule, field, lead, patch, exp(ratio) AS ratio, exp(ends['low']) AS low,
  exp(ends['high']) AS high
FROM (
  SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead,
    CAST(substr(m.metric, 10) AS INT) AS patch, avg(ln(m.value)) AS ratio, bootstrap(ln(m.value), m.trajectory) AS ends
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric IN ('artefact_4', 'artefact_8', 'artefact_16', 'artefact_32')
  GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, m.metric
)
