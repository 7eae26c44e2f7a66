-- The schedule of each model with the least VRMSE at the last lead, and the run that it is of
SELECT dataset, split, name, strategy, schedule, run, vrmse_last
FROM (
  SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, r.run, avg(m.value) AS vrmse_last,
    row_number() OVER (PARTITION BY r.dataset, r.split, r.name ORDER BY isnan(avg(m.value)), avg(m.value), r.run) AS place
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = r.rollout
  GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, r.run
)
WHERE place = 1
