-- Evaluations by their one-step VRMSE, mean over fields, trajectories and starts
-- of_persistence is that over persistence's. It is null where there is none, and where frames stand still: a ratio
-- to no error says nothing, and what is below 1e-6 is the rounding of f32
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, r.tokens, m.vrmse, m.first['low'] AS vrmse_low,
  m.first['high'] AS vrmse_high, r.rollout AS last_lead, m.vrmse_last, m.last['low'] AS vrmse_last_low,
  m.last['high'] AS vrmse_last_high, CASE WHEN p.vrmse > 1e-6 THEN m.vrmse / p.vrmse END AS of_persistence, r.seconds_per_frame
FROM runs r
JOIN (
  SELECT v.run,
    avg(v.value) FILTER (WHERE v.lead = 1) AS vrmse,
    bootstrap(v.value, v.trajectory) FILTER (WHERE v.lead = 1) AS first,
    avg(v.value) FILTER (WHERE v.lead = e.rollout) AS vrmse_last,
    bootstrap(v.value, v.trajectory) FILTER (WHERE v.lead = e.rollout) AS last
  FROM runs e
  JOIN metrics v ON v.run = e.run AND v.metric = 'vrmse' AND (v.lead = 1 OR v.lead = e.rollout)
  GROUP BY v.run
) m ON m.run = r.run
LEFT JOIN (
  SELECT b.dataset, b.split, avg(v.value) AS vrmse
  FROM runs b
  JOIN metrics v ON v.run = b.run AND v.metric = 'vrmse' AND v.lead = 1
  WHERE b.name = 'persistence'
  GROUP BY b.dataset, b.split
) p ON p.dataset = r.dataset AND p.split = r.split
