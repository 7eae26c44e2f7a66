-- How many rollouts left the truth: a field not finite, or no better than the truth's mean, and from which lead
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, r.rollout, count(*) AS starts,
  count(*) FILTER (WHERE m.value <= r.rollout) AS diverged,
  min(m.value) FILTER (WHERE m.value <= r.rollout) AS first_lead,
  median(m.value) AS median_lead
FROM runs r
JOIN metrics m ON m.run = r.run AND m.metric = 'divergence_lead'
GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, r.rollout
