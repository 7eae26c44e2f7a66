-- Evaluations by their one-step VRMSE, mean over fields, trajectories and starts
SELECT dataset, split, name, strategy, schedule, tokens, vrmse, first['low'] AS vrmse_low, first['high'] AS vrmse_high,
  last_lead, vrmse_last, last['low'] AS vrmse_last_low, last['high'] AS vrmse_last_high, vrmse / persistence AS of_persistence,
  seconds_per_frame
FROM (
  SELECT
    r.dataset,
    r.split,
    r.name,
    r.strategy,
    r.schedule,
    r.tokens,
    avg(m.value) FILTER (WHERE m.lead = 1) AS vrmse,
    bootstrap(m.value, m.trajectory) FILTER (WHERE m.lead = 1) AS first,
    r.rollout AS last_lead,
    avg(m.value) FILTER (WHERE m.lead = r.rollout) AS vrmse_last,
    bootstrap(m.value, m.trajectory) FILTER (WHERE m.lead = r.rollout) AS last,
    min(p.vrmse) AS persistence,
    r.seconds_per_frame
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse'
  LEFT JOIN (
    SELECT b.dataset_id, b.split, avg(v.value) AS vrmse
    FROM runs b
    JOIN metrics v ON v.run = b.run AND v.metric = 'vrmse' AND v.lead = 1
    WHERE b.name = 'persistence'
    GROUP BY b.dataset_id, b.split
  ) p ON p.dataset_id = r.dataset_id AND p.split = r.split
  GROUP BY r.run, r.dataset, r.split, r.name, r.strategy, r.schedule, r.tokens, r.rollout, r.seconds_per_frame
)
