-- Trainings: how far each is, its state, its best validation, and loss, rate and share of waiting over its last 100 steps
-- done, stopped and failed are what a process has written last; running: one trains it; new: none has yet; dead: it
-- ended without a word
SELECT f.run,
  CASE
    WHEN l.event IN ('done', 'stopped', 'failed') THEN l.event
    WHEN f.running THEN 'running'
    WHEN f.step IS NULL THEN 'new'
    WHEN f.step >= coalesce(f.steps, a.steps, f.horizon) THEN 'done'
    ELSE 'dead'
  END AS state,
  f.step, coalesce(f.steps, a.steps, f.horizon) AS steps, l.loss, a.best, a.best_step, l.rate, l.waited, a.began, a.latest,
  CASE WHEN l.event = 'failed' THEN l.what END AS why, f.path
FROM (
  SELECT run, path, step, running,
    CASE WHEN config['train.epochs'] IS NULL THEN TRY_CAST(config['train.steps'] AS BIGINT UNSIGNED) END AS steps,
    TRY_CAST(config['optim.horizon'] AS BIGINT UNSIGNED) AS horizon
  FROM training_folders
) f
LEFT JOIN (
  SELECT run, max(steps) AS steps, min(began) AS began, max(latest) AS latest,
    min(vrmse) AS best,
    first_value(validated ORDER BY vrmse, validated) FILTER (WHERE vrmse IS NOT NULL) AS best_step
  FROM (
    SELECT run, validated, max(steps) AS steps, min(time) AS began, max(time) AS latest,
      avg(vrmse) FILTER (WHERE validated IS NOT NULL AND NOT isnan(vrmse)) AS vrmse
    FROM (
      SELECT run, steps, time, vrmse,
        CASE WHEN event = 'validation' AND lead = 1 THEN step END AS validated
      FROM training
    )
    GROUP BY run, validated
  )
  GROUP BY run
) a ON a.run = f.run
LEFT JOIN (
  SELECT t.run,
    last_value(t.event ORDER BY t.segment, t.time, t.event IN ('done', 'stopped', 'failed')) AS event,
    last_value(t.what ORDER BY t.segment, t.time, t.event IN ('done', 'stopped', 'failed')) AS what,
    avg(t.loss) FILTER (WHERE t.event = 'step') AS loss,
    count(*) FILTER (WHERE t.event = 'step')
      / nullif(sum(t.seconds) FILTER (WHERE t.event = 'step'), 0) AS rate,
    sum(t.waited) FILTER (WHERE t.event = 'step')
      / nullif(sum(t.seconds) FILTER (WHERE t.event = 'step'), 0) AS waited
  FROM training t
  JOIN training_folders g ON g.run = t.run
  WHERE t.steps_after < 100 AND t.step + 100 > g.step
  GROUP BY t.run
) l ON l.run = f.run
