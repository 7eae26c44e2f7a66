-- Trainings: how far each is, its state, its best validation, and loss, rate and share of waiting over its last 100 steps
-- done, stopped and failed are what a process has written last; running: one trains it; new: none has yet; dead: it
-- ended without a word
SELECT f.run,
  CASE
    WHEN e.event IN ('done', 'stopped', 'failed') THEN e.event
    WHEN f.running THEN 'running'
    WHEN e.step IS NULL THEN 'new'
    WHEN e.step >= e.steps THEN 'done'
    ELSE 'dead'
  END AS state,
  e.step, e.steps, s.loss, v.vrmse AS best, v.step AS best_step, s.rate, s.waited, e.began, e.latest,
  CASE WHEN e.event = 'failed' THEN e.what END AS why, f.path
FROM training_folders f
LEFT JOIN (
  SELECT run, max(step) AS step,
    coalesce(
      last_value(steps ORDER BY segment, time) FILTER (WHERE steps IS NOT NULL),
      max(CASE WHEN config['train.epochs'] IS NULL THEN TRY_CAST(config['train.steps'] AS BIGINT UNSIGNED) END),
      max(TRY_CAST(config['optim.horizon'] AS BIGINT UNSIGNED))
    ) AS steps,
    last_value(event ORDER BY segment, time, event IN ('done', 'stopped', 'failed')) AS event,
    last_value(what ORDER BY segment, time, event IN ('done', 'stopped', 'failed')) AS what,
    min(time) AS began, max(time) AS latest
  FROM training
  GROUP BY run
) e ON e.run = f.run
LEFT JOIN (
  SELECT t.run, avg(t.loss) AS loss, count(*) / nullif(sum(t.seconds), 0) AS rate,
    sum(t.waited) / nullif(sum(t.seconds), 0) AS waited
  FROM training t
  JOIN (
    SELECT run, max(step) AS step
    FROM training
    WHERE event = 'step'
    GROUP BY run
  ) l ON l.run = t.run AND t.step + 100 > l.step
  WHERE t.event = 'step'
  GROUP BY t.run
) s ON s.run = f.run
LEFT JOIN (
  SELECT run, min(vrmse) AS vrmse, first_value(step ORDER BY vrmse, step) AS step
  FROM (
    SELECT run, step, avg(vrmse) AS vrmse
    FROM training
    WHERE event = 'validation' AND lead = 1
    GROUP BY run, step
  )
  WHERE NOT isnan(vrmse)
  GROUP BY run
) v ON v.run = f.run
