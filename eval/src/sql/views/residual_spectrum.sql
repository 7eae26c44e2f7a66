-- Power of truth, prediction and residual by wavenumber, along each axis and isotropic (Fig. 2)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, s.field, s.lead, s.patch, s.axis, s.bin,
  s.k_low, s.k_high, s.truth, s.prediction, s.residual
FROM runs r
JOIN spectra s ON s.run = r.run
