-- What the paper claims of elastic models, and whether it holds here: ratios of errors below 1 are for the claim
-- Models of one size and context are compared on the same windows. The ratio is the geometric mean over fields,
-- trajectories, starts and seeds; its interval (low, high) and p (sign-flip test of no difference) are over trajectories. A
-- claim holds where the interval is below 1, p below 0.05 and each seed agrees, and does not hold where the interval is
-- above 1, p below 0.05 and no seed agrees. (low_over_seeds, high_over_seeds) is the interval over trajectories and seeds
-- together, those of both models where there are two; a schedule is compared with another of the same seed. Fewer than six
-- trajectories decide nothing, since their p is not below 0.05, nor do errors that are not finite. Both errors are raised by
-- 1e-6, which is the rounding of f32
WITH measures AS (
  SELECT * FROM (VALUES
    ('one step', 'vrmse', -1, 'first'),
    ('rollout', 'vrmse', -1, 'all'),
    ('small scales', 'band_nmse', 2, 'first'),
    ('artefacts 4', 'artefact_4', -1, 'last'),
    ('artefacts 8', 'artefact_8', -1, 'last'),
    ('artefacts 16', 'artefact_16', -1, 'last'),
    ('artefacts 32', 'artefact_32', -1, 'last')
  ) m(measure, metric, band, leads)
),
groups AS (
  SELECT DISTINCT dataset, split, dim, blocks, context, rollout, strategy, schedule,
    strategy IN ('ckm', 'csm') AS is_elastic, schedule LIKE '%,%' AS is_cyclic,
    regexp_like(schedule, '^[0-9]+(x[0-9]+)*$') AS is_single
  FROM runs
  WHERE strategy IN ('ckm', 'csm', 'fixed') AND jitter IS NULL AND members IS NULL
),
pairs AS (
  SELECT a.dataset, a.split, a.dim, a.blocks, a.context, a.rollout, a.strategy, a.schedule,
    b.strategy AS other_strategy, b.schedule AS other_schedule, c.claim, c.measure
  FROM groups a
  JOIN groups b ON b.dataset = a.dataset AND b.split = a.split AND b.dim = a.dim AND b.blocks = a.blocks
    AND b.context = a.context AND b.rollout = a.rollout
  JOIN (VALUES
    (1, 'one step'), (2, 'small scales'), (3, 'rollout'), (4, 'rollout'), (5, 'artefacts 4'), (5, 'artefacts 8'),
    (5, 'artefacts 16'), (5, 'artefacts 32'), (6, 'one step')
  ) c(claim, measure) ON a.is_elastic AND CASE
    WHEN c.claim IN (1, 2) THEN a.is_single AND b.strategy = 'fixed' AND b.schedule = a.schedule
    WHEN c.claim = 3 THEN a.is_cyclic AND b.strategy = a.strategy AND b.is_single
    WHEN c.claim = 4 THEN a.is_cyclic AND b.strategy = 'fixed' AND b.is_single
    WHEN c.claim = 5 THEN a.is_cyclic AND b.strategy = a.strategy AND c.measure = 'artefacts ' || b.schedule
    ELSE a.is_single AND b.is_single AND b.strategy = a.strategy
      AND TRY_CAST(b.schedule AS INT) = 2 * TRY_CAST(a.schedule AS INT)
  END
),
errors AS (
  SELECT r.run, r.name, r.dataset, r.split, r.dim, r.blocks, r.context, r.rollout, r.strategy, r.schedule, m.measure,
    v.field, v.trajectory, v.start, ln(avg(v.value) + 1e-6) AS error
  FROM runs r
  JOIN metrics v ON v.run = r.run
  JOIN measures m ON m.metric = v.metric AND m.band = coalesce(v.band, -1)
  WHERE r.strategy IN ('ckm', 'csm', 'fixed')
    AND CASE m.leads WHEN 'first' THEN v.lead = 1 WHEN 'last' THEN v.lead = r.rollout ELSE true END
  GROUP BY r.run, r.name, r.dataset, r.split, r.dim, r.blocks, r.context, r.rollout, r.strategy, r.schedule, m.measure,
    v.field, v.trajectory, v.start
),
differences AS (
  SELECT p.*, a.run, a.trajectory, a.error - b.error AS difference, a.name AS seed,
    CASE WHEN p.strategy = p.other_strategy THEN '' ELSE b.name END AS other_seed,
    p.strategy <> p.other_strategy OR a.name = b.name AS is_of_seeds,
    avg(a.error - b.error) OVER (PARTITION BY p.claim, p.measure, p.other_strategy, p.other_schedule, a.run) AS of_seed
  FROM pairs p
  JOIN errors a ON a.dataset = p.dataset AND a.split = p.split AND a.dim = p.dim AND a.blocks = p.blocks
    AND a.context = p.context AND a.rollout = p.rollout AND a.strategy = p.strategy AND a.schedule = p.schedule
    AND a.measure = p.measure
  JOIN errors b ON b.dataset = p.dataset AND b.split = p.split AND b.dim = p.dim AND b.blocks = p.blocks
    AND b.context = p.context AND b.rollout = p.rollout AND b.strategy = p.other_strategy
    AND b.schedule = p.other_schedule AND b.measure = p.measure AND b.field = a.field
    AND b.trajectory = a.trajectory AND b.start = a.start
)
SELECT claim,
  strategy || CASE claim
    WHEN 1 THEN ' at patch ' || schedule || ' errs less in one step than the fixed model of ' || other_schedule
    WHEN 2 THEN ' at patch ' || schedule || ' errs less at small scales than the fixed model of ' || other_schedule
    WHEN 3 THEN ' rolled out by ' || schedule || ' errs less than by ' || other_schedule || ' alone'
    WHEN 4 THEN ' rolled out by ' || schedule || ' errs less than the fixed model of ' || other_schedule
    WHEN 5 THEN ' rolled out by ' || schedule || ' leaves less of the pattern of ' || other_schedule || ' than by ' ||
      other_schedule || ' alone'
    ELSE ' at patch ' || schedule || ', with more tokens, errs less in one step than at ' || other_schedule
  END AS sentence,
  CASE WHEN ends['high'] < 0 AND p < 0.05 AND agreeing = seeds THEN 'holds'
    WHEN ends['low'] > 0 AND p < 0.05 AND agreeing = 0 AND NOT isnan(ends['low']) THEN 'does not hold' ELSE 'undecided' END AS verdict,
  exp(mean) AS ratio, exp(ends['low']) AS low, exp(ends['high']) AS high, p, seeds, agreeing, trajectories,
  exp(ends_of_seeds['low']) AS low_over_seeds, exp(ends_of_seeds['high']) AS high_over_seeds,
  dataset, split, dim, blocks, context, rollout, strategy, schedule, other_strategy, other_schedule, measure
FROM (
  SELECT claim, dataset, split, dim, blocks, context, rollout, strategy, schedule, other_strategy, other_schedule, measure,
    avg(difference) AS mean, bootstrap(difference, trajectory) AS ends, sign_flip(difference, trajectory) AS p,
    crossed_bootstrap(difference, trajectory, seed, other_seed) FILTER (WHERE is_of_seeds) AS ends_of_seeds,
    count(DISTINCT run) AS seeds, count(DISTINCT CASE WHEN of_seed < 0 THEN run END) AS agreeing,
    count(DISTINCT trajectory) AS trajectories
  FROM differences
  GROUP BY claim, dataset, split, dim, blocks, context, rollout, strategy, schedule, other_strategy, other_schedule, measure
)
