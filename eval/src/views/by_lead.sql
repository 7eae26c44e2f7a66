-- VRMSE by lead, mean over trajectories and starts
SELECT dataset, split, name, strategy, schedule, field, lead, vrmse, ends['low'] AS low, ends['high'] AS high, starts
FROM (
  SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, avg(m.value) AS vrmse,
    bootstrap(m.value, m.trajectory) AS ends, count(*) AS starts
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse'
  GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead
)
