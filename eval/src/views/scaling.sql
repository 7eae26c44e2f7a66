-- VRMSE at the first lead against tokens, for schedules of one patch size (Fig. 3)
SELECT dataset, split, name, strategy, patch, field, tokens, vrmse, ends['low'] AS low, ends['high'] AS high
FROM (
  SELECT r.dataset, r.split, r.name, r.strategy, r.schedule AS patch, m.field, r.tokens, avg(m.value) AS vrmse,
    bootstrap(m.value, m.trajectory) AS ends
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = 1
  WHERE r.strategy <> 'baseline' AND r.schedule NOT LIKE '%,%' AND r.schedule NOT LIKE '%:%'
  GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, r.tokens
)
