-- Mean and median VRMSE over leads 1, 1-20 and 21-60 (Walrus), 6-12 and 13-30 (The Well), with the mean's interval
-- Over fields, trajectories, starts and leads; only horizons that the rollout holds to their last lead. To the median,
-- what is not a number is infinite
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.horizon, m.first_lead, m.last_lead, m.vrmse,
  m.ends['low'] AS low, m.ends['high'] AS high, m.median, r.starts, r.rollout
FROM runs r
JOIN (
  SELECT v.run, h.horizon, h.first_lead, h.last_lead, avg(v.value) AS vrmse, bootstrap(v.value, v.trajectory) AS ends,
    median(CASE WHEN isnan(v.value) THEN CAST('Infinity' AS DOUBLE) ELSE v.value END) AS median
  FROM (VALUES ('1', 1, 1), ('1-20', 1, 20), ('21-60', 21, 60), ('6-12', 6, 12), ('13-30', 13, 30))
    h(horizon, first_lead, last_lead)
  JOIN metrics v ON v.metric = 'vrmse' AND v.lead BETWEEN h.first_lead AND h.last_lead
  GROUP BY v.run, h.horizon, h.first_lead, h.last_lead
) m ON m.run = r.run AND m.last_lead <= r.rollout
