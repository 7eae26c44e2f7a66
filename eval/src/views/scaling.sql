-- VRMSE at the first lead against tokens, for schedules of one patch size (Fig. 3)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule AS patch, m.field, r.tokens, avg(m.value) AS vrmse
FROM runs r
JOIN metrics m ON m.run = r.run AND m.metric = 'vrmse' AND m.lead = 1
WHERE r.strategy <> 'baseline' AND r.schedule NOT LIKE '%,%' AND r.schedule NOT LIKE 'random%'
GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, r.tokens
