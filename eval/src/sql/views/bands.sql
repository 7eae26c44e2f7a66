-- Error within bands of wavenumbers over the truth's energy there; band 0 has the largest scales (Figs 4, 7)
SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, m.band, m.nmse, m.ends['low'] AS low,
  m.ends['high'] AS high, m.starts, r.rollout
FROM runs r
JOIN (
  SELECT run, field, lead, band, avg(value) AS nmse, bootstrap(value, trajectory) AS ends, count(*) AS starts
  FROM metrics
  WHERE metric = 'band_nmse'
  GROUP BY run, field, lead, band
) m ON m.run = r.run
