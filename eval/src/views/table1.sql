-- One-step VRMSE of each model at each of its patch sizes, and over the cycle of them (Table 1)
SELECT
  r.dataset,
  r.split,
  r.name,
  r.strategy,
  max(r.parameters) AS parameters,
  avg(m.value) FILTER (WHERE r.schedule = '4') AS p4,
  avg(m.value) FILTER (WHERE r.schedule = '8') AS p8,
  avg(m.value) FILTER (WHERE r.schedule = '16') AS p16,
  avg(m.value) FILTER (WHERE r.schedule = '32') AS p32
FROM runs r
JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = 1
GROUP BY r.dataset, r.split, r.name, r.strategy
