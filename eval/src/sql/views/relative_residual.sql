-- Power of the residual by wavenumber over the truth's (Fig. 2), without means and what f32 rounds away (1e-13)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, s.field, s.lead, s.axis, s.bin, s.k_low, s.k_high,
  s.residual / t.power AS ratio, r.rollout
FROM runs r
JOIN spectra s ON s.run = r.run
JOIN (
  SELECT run, lead, field, axis, sum(truth) AS power
  FROM spectra
  WHERE bin > 0
  GROUP BY run, lead, field, axis
) t ON t.run = s.run AND t.lead = s.lead AND t.field = s.field AND t.axis = s.axis
WHERE s.bin > 0 AND t.power > 0 AND s.residual > 1e-13 * t.power
