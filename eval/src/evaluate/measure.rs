//! What becomes of predicted frames: rows of metrics, sums of spectra, a few pictures.

use std::ops::Range;

use tokio::runtime::Handle;
use wellspring_store::{Affine, Dataset, Frames, Split, Window};

use super::spectra::{Names, SpectrumSums};
use crate::metrics::{ARTEFACT_PATCHES, Gauge, Score, Spatial, Temporal};
use crate::pictures::Picture;
use crate::tables::{Draft, MetricRow};
use crate::{EvalOptions, Result};

/// Leads whose frames are kept, at most about.
const PICTURED: usize = 16;

/// The frames of a split.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) split: Split,
    pub(super) runtime: &'a Handle,
}

impl Source<'_> {
    /// Frames of windows side by side, by their place in the window.
    pub(super) fn read(&self, windows: &[Window], places: Range<usize>) -> Result<Frames> {
        let reads = windows.iter().map(|window| {
            let start = window.start as usize;
            let steps = start + places.start..start + places.end;
            let trajectory = window.trajectory as usize;
            self.dataset.read(self.split, trajectory, steps)
        });
        let parts = self
            .runtime
            .block_on(futures::future::try_join_all(reads))?;
        let schema = self.dataset.schema();
        let (channels, space) = (schema.channels().len(), schema.grid.shape());
        let mut frames = Frames::zeros(places.len(), windows.len(), channels, space);
        for (batch, part) in parts.iter().enumerate() {
            for (time, channel) in
                (0..places.len()).flat_map(|t| (0..channels).map(move |c| (t, c)))
            {
                frames
                    .channel_mut(time, batch, channel)
                    .copy_from_slice(part.channel(time, 0, channel));
            }
        }
        Ok(frames)
    }
}

/// One lead of some windows.
pub(super) struct Predicted<'a> {
    pub(super) windows: &'a [Window],
    /// Of the first, among all.
    pub(super) first: usize,
    /// From 1.
    pub(super) lead: usize,
    pub(super) patch: String,
    pub(super) tokens: usize,
    /// Stored values, (1, B, C, *space).
    pub(super) prediction: Frames,
}

/// Measures leads in the order of their prediction.
pub(super) struct Measurer<'a> {
    source: Source<'a>,
    options: &'a EvalOptions,
    run: &'a str,
    context: usize,
    channels: Vec<String>,
    affine: Affine,
    gauge: Gauge,
    draft: Draft,
    spectra: SpectrumSums,
    /// Truth and prediction of the rollouts under way, where they are measured as a whole.
    whole: [Vec<f32>; 2],
}

impl<'a> Measurer<'a> {
    pub(super) fn new(
        source: Source<'a>,
        options: &'a EvalOptions,
        run: &'a str,
        context: usize,
    ) -> Result<Self> {
        let manifest = source.dataset.manifest();
        Ok(Self {
            source,
            options,
            run,
            context,
            channels: manifest.schema.channels(),
            affine: manifest.affine(),
            gauge: Gauge::new(&manifest.schema.grid.shape())?,
            draft: Draft::new()?,
            spectra: SpectrumSums::default(),
            whole: [Vec::new(), Vec::new()],
        })
    }

    pub(super) fn lead(&mut self, mut predicted: Predicted<'_>) -> Result<()> {
        let place = self.context + predicted.lead - 1;
        let mut truth = self.source.read(predicted.windows, place..place + 1)?;
        // In the fields' own units.
        self.affine.denormalise(&mut truth);
        self.affine.denormalise(&mut predicted.prediction);
        self.measure(&truth, &predicted)?;
        if self.options.temporal {
            self.collect(&truth, &predicted)?;
        }
        if is_pictured(predicted.lead, self.options.rollout) {
            let kept = self.options.keep.saturating_sub(predicted.first);
            self.picture(&truth, &predicted, kept.min(predicted.windows.len()));
        }
        Ok(())
    }

    /// The rows, with the spectra written.
    pub(super) fn finish(mut self) -> Result<Draft> {
        let grid = &self.source.dataset.schema().grid;
        let axes: Vec<String> = grid.axes.iter().map(|axis| axis.name.clone()).collect();
        let names = Names {
            run: self.run,
            axes: &axes,
            channels: &self.channels,
        };
        self.spectra.write(&names, &mut self.draft.spectra)?;
        Ok(self.draft)
    }

    fn measure(&mut self, truth: &Frames, predicted: &Predicted<'_>) -> Result<()> {
        let (windows, channels) = (predicted.windows.len(), self.channels.len());
        let places = (0..windows).flat_map(|batch| (0..channels).map(move |c| (batch, c)));
        let places: Vec<(usize, usize)> = places.collect();
        let pair = |&(b, c): &(usize, usize)| {
            let prediction = &predicted.prediction;
            (truth.channel(0, b, c), prediction.channel(0, b, c))
        };
        let scores = self
            .gauge
            .scores(&places.iter().map(pair).collect::<Vec<_>>())?;
        let mut rows = Vec::new();
        for (&(batch, channel), score) in places.iter().zip(&scores) {
            let lead = predicted.lead - 1;
            self.spectra
                .add((lead, channel), &predicted.patch, &score.spectra);
            let row = row(self.run, &self.channels[channel], predicted, batch);
            rows.extend(
                values(score)
                    .into_iter()
                    .map(|(metric, band, value)| MetricRow {
                        metric,
                        band,
                        value,
                        ..row.clone()
                    }),
            );
        }
        self.draft.metrics.push(&rows)
    }

    /// Keeps a lead of rollouts that are measured as a whole, and measures them after the last.
    fn collect(&mut self, truth: &Frames, predicted: &Predicted<'_>) -> Result<()> {
        let [truths, predictions] = &mut self.whole;
        truths.extend(truth.data());
        predictions.extend(predicted.prediction.data());
        if predicted.lead < self.options.rollout {
            return Ok(());
        }
        let [truths, predictions] = std::mem::take(&mut self.whole);
        let (windows, channels) = (predicted.windows.len(), self.channels.len());
        let frames = |values| {
            let space = truth.space().to_vec();
            Frames::new(self.options.rollout, windows, channels, space, values)
        };
        let (truths, predictions) = (frames(truths)?, frames(predictions)?);
        let mut rows = Vec::new();
        for batch in 0..windows {
            let scores = Temporal::of(&truths, &predictions, batch);
            for (channel, score) in scores.iter().enumerate() {
                let row = row(self.run, &self.channels[channel], predicted, batch);
                let values = Temporal::NAMES.into_iter().zip(score.values());
                rows.extend(values.map(|(metric, value)| MetricRow {
                    metric,
                    value,
                    ..row.clone()
                }));
            }
        }
        self.draft.metrics.push(&rows)
    }

    fn picture(&mut self, truth: &Frames, predicted: &Predicted<'_>, kept: usize) {
        let finite = |values: &[f32]| values.iter().map(|&x| x.is_finite().then_some(x)).collect();
        for (batch, window) in predicted.windows[..kept].iter().enumerate() {
            for (channel, field) in self.channels.iter().enumerate() {
                self.draft.pictures.push(Picture {
                    trajectory: window.trajectory,
                    start: window.start,
                    lead: predicted.lead as u32,
                    patch: predicted.patch.clone(),
                    field: field.clone(),
                    shape: truth.space().iter().map(|&n| n as u32).collect(),
                    truth: finite(truth.channel(0, batch, channel)),
                    prediction: finite(predicted.prediction.channel(0, batch, channel)),
                });
            }
        }
    }
}

/// A row of a field in a window, still without a metric.
fn row<'a>(
    run: &'a str,
    field: &'a str,
    predicted: &'a Predicted<'_>,
    batch: usize,
) -> MetricRow<'a> {
    MetricRow {
        run,
        trajectory: predicted.windows[batch].trajectory,
        start: predicted.windows[batch].start,
        lead: predicted.lead as u32,
        patch: &predicted.patch,
        tokens: predicted.tokens as u64,
        field,
        metric: "",
        band: None,
        value: 0.0,
    }
}

/// Every metric of a field, with its band.
fn values(score: &Score) -> Vec<(&'static str, Option<u32>, f64)> {
    let spatial = Spatial::NAMES.into_iter().zip(score.spatial.values());
    let mut values: Vec<_> = spatial.map(|(name, value)| (name, None, value)).collect();
    values.push(("nonfinite", None, score.nonfinite as f64));
    for (band, (errors, eq16)) in score
        .bands
        .iter()
        .zip(&score.bands_of_prediction)
        .enumerate()
    {
        let band = Some(band as u32);
        values.push(("band_mse", band, errors.mse));
        values.push(("band_nmse", band, errors.nmse));
        values.push(("band_nmse_eq16", band, *eq16));
    }
    let names = ["artefact_4", "artefact_8", "artefact_16", "artefact_32"];
    for (name, patch) in names.into_iter().zip(ARTEFACT_PATCHES) {
        if let Some(ratio) = score.spectra.artefact(patch) {
            values.push((name, None, ratio));
        }
    }
    values
}

/// The first lead, the last, and some evenly between.
fn is_pictured(lead: usize, rollout: usize) -> bool {
    lead == 1 || lead == rollout || lead.is_multiple_of(rollout.div_ceil(PICTURED))
}
