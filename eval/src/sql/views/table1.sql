-- One-step VRMSE of each model at each of its patch sizes, 1 for those over grid points (Table 1)
SELECT dataset, split, name, strategy, parameters,
  p4, e4['low'] AS p4_low, e4['high'] AS p4_high,
  p8, e8['low'] AS p8_low, e8['high'] AS p8_high,
  p16, e16['low'] AS p16_low, e16['high'] AS p16_high,
  p32, e32['low'] AS p32_low, e32['high'] AS p32_high,
  p1, e1['low'] AS p1_low, e1['high'] AS p1_high
FROM (
  SELECT
    r.dataset,
    r.split,
    r.name,
    r.strategy,
    max(r.parameters) AS parameters,
    avg(m.value) FILTER (WHERE r.schedule = '4') AS p4,
    bootstrap(m.value, m.trajectory) FILTER (WHERE r.schedule = '4') AS e4,
    avg(m.value) FILTER (WHERE r.schedule = '8') AS p8,
    bootstrap(m.value, m.trajectory) FILTER (WHERE r.schedule = '8') AS e8,
    avg(m.value) FILTER (WHERE r.schedule = '16') AS p16,
    bootstrap(m.value, m.trajectory) FILTER (WHERE r.schedule = '16') AS e16,
    avg(m.value) FILTER (WHERE r.schedule = '32') AS p32,
    bootstrap(m.value, m.trajectory) FILTER (WHERE r.schedule = '32') AS e32,
    avg(m.value) FILTER (WHERE r.schedule = '1') AS p1,
    bootstrap(m.value, m.trajectory) FILTER (WHERE r.schedule = '1') AS e1
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = 1
  GROUP BY r.dataset, r.split, r.name, r.strategy
)
