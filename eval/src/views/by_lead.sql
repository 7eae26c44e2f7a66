-- VRMSE by lead, mean over trajectories and starts
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, avg(m.value) AS vrmse, count(*) AS starts
FROM runs r
JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse'
GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead
