-- Learning curves: each step's loss, its mean over 100 steps (smooth), learning rate, norm, steps a second, validation
-- vrmse is the error one step ahead, rollout that over several leads; means over data sets and patch sizes
SELECT coalesce(s.run, v.run) AS run, coalesce(s.step, v.step) AS step, s.loss, s.smooth, s.lr, s.norm, s.rate,
  v.vrmse, v.rollout
FROM (
  SELECT run, step, loss, lr, norm,
    avg(loss) OVER recent AS smooth,
    1 / nullif(avg(seconds) OVER recent, 0) AS rate
  FROM training
  WHERE event = 'step'
  WINDOW recent AS (PARTITION BY run ORDER BY step ROWS BETWEEN 99 PRECEDING AND CURRENT ROW)
) s
FULL JOIN (
  SELECT run, step,
    avg(vrmse) FILTER (WHERE lead = 1) AS vrmse,
    avg(vrmse) FILTER (WHERE lead > 1) AS rollout
  FROM training
  WHERE event = 'validation'
  GROUP BY run, step
) v ON v.run = s.run AND v.step = s.step
