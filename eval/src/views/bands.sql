-- Error within bands of wavenumbers over the truth's energy there; band 0 has the largest scales (Figs 4, 7)
SELECT dataset, split, name, strategy, schedule, field, lead, band, nmse, ends['low'] AS low, ends['high'] AS high
FROM (
  SELECT r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, m.band, avg(m.value) AS nmse,
    bootstrap(m.value, m.trajectory) AS ends
  FROM runs r
  JOIN metrics m ON m.run = r.run AND m.metric = 'band_nmse'
  GROUP BY r.dataset, r.split, r.name, r.strategy, r.schedule, m.field, m.lead, m.band
)
