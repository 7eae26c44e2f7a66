-- One evaluation against another (other) on the same windows, over horizons: ratio below 1 where name is better, and p
-- vrmse and other_vrmse are means over all that both have predicted of a data set and split: fields, trajectories and
-- starts, of one context length, since from one start another context leads to other frames. ratio is the geometric mean
-- of each window's ratio. Its interval (low, high) and p, by a sign-flip test of no difference, are over trajectories;
-- of n trajectories p is 2 / 2^n at least. What is not finite gives NaN. Before the ratio, both errors are raised by
-- 1e-6, which is the rounding of f32
WITH errors AS (
  SELECT r.run, r.dataset, r.split, r.name, r.strategy, r.schedule, r.context, m.horizon, m.first_lead, m.last_lead,
    m.field, m.trajectory, m.start, m.vrmse
  FROM runs r
  JOIN (
    SELECT v.run, h.horizon, h.first_lead, h.last_lead, v.field, v.trajectory, v.start, avg(v.value) AS vrmse
    FROM (VALUES ('1', 1, 1), ('1-20', 1, 20), ('21-60', 21, 60), ('6-12', 6, 12), ('13-30', 13, 30))
      h(horizon, first_lead, last_lead)
    JOIN metrics v ON v.metric = 'vrmse' AND v.lead BETWEEN h.first_lead AND h.last_lead
    GROUP BY v.run, h.horizon, h.first_lead, h.last_lead, v.field, v.trajectory, v.start
  ) m ON m.run = r.run AND m.last_lead <= r.rollout
)
SELECT dataset, split, name, strategy, schedule, other, other_strategy, other_schedule, horizon, first_lead, last_lead,
  vrmse, other_vrmse, exp(log_ratio) AS ratio, exp(ends['low']) AS low, exp(ends['high']) AS high, p, starts, trajectories
FROM (
  SELECT dataset, split, run, name, strategy, schedule, other_run, other, other_strategy, other_schedule,
    horizon, first_lead, last_lead, avg(vrmse) AS vrmse, avg(other_vrmse) AS other_vrmse, avg(log_ratio) AS log_ratio,
    bootstrap(log_ratio, trajectory) AS ends, sign_flip(log_ratio, trajectory) AS p,
    count(*) / count(DISTINCT field) AS starts, count(DISTINCT trajectory) AS trajectories
  FROM (
    SELECT a.dataset, a.split, a.run, a.name, a.strategy, a.schedule,
      b.run AS other_run, b.name AS other, b.strategy AS other_strategy, b.schedule AS other_schedule,
      a.horizon, a.first_lead, a.last_lead, a.field, a.trajectory, a.vrmse, b.vrmse AS other_vrmse,
      ln(a.vrmse + 1e-6) - ln(b.vrmse + 1e-6) AS log_ratio
    FROM errors a
    JOIN errors b ON b.run <> a.run AND b.dataset = a.dataset AND b.split = a.split AND b.context = a.context
      AND b.horizon = a.horizon AND b.field = a.field AND b.trajectory = a.trajectory AND b.start = a.start
  )
  GROUP BY dataset, split, run, name, strategy, schedule, other_run, other, other_strategy, other_schedule,
    horizon, first_lead, last_lead
)
