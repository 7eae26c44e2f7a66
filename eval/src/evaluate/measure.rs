//! Measures predicted frames: rows of metrics, sums of spectra, a few pictures.

use std::time::Instant;

use wellspring_store::{Frames, Manifest, Normalizer, Reporter, Window};

use super::ensemble;
use super::spectra::{Names, SpectrumSums};
use super::truth::TruthSource;
use super::unfinished::{Progress, SavedProgress, UnfinishedEvaluation};
use crate::metrics::{ARTEFACT_PATCHES, Channel, FieldMetrics, Score, Spatial, Temporal};
use crate::results::pictures::Picture;
use crate::results::tables::{Draft, EnsembleRow, MetricRow, RunRecord};
use crate::{EvalOptions, Result};

/// Leads whose frames are kept, at most about.
const PICTURED: usize = 16;

/// A predicted frame of several windows.
pub(super) struct Prediction<'a> {
    pub(super) windows: &'a [Window],
    /// Index of the first of these windows among all.
    pub(super) first: usize,
    /// Number of the predicted frame, from 1.
    pub(super) lead: usize,
    pub(super) patch: String,
    pub(super) tokens: usize,
    /// Stored values, (1, B, C, *space), of each member of an ensemble, or of the only rollout.
    pub(super) members: Vec<Frames>,
    /// At the last lead: the progress of the evaluation after it.
    pub(super) progress: Option<Progress>,
}

/// Measures leads in the order of their prediction.
pub(super) struct Measurer<'a> {
    source: TruthSource<'a>,
    options: &'a EvalOptions,
    run: &'a str,
    context: usize,
    /// Names of the channels, and what their stored values mean.
    names: Vec<String>,
    channels: Vec<Channel>,
    normalizer: Normalizer,
    metrics: FieldMetrics,
    draft: Draft,
    spectra: SpectrumSums,
    unfinished: UnfinishedEvaluation,
    saved: Instant,
    pictures_saved: usize,
    /// Truth and prediction of the rollouts under way, where they are measured as a whole.
    whole: [Vec<f32>; 2],
    /// The lead at which each field of the rollouts under way left the truth, infinite if it has not.
    diverged: Vec<f64>,
}

impl<'a> Measurer<'a> {
    /// Goes on from what was saved, if anything was.
    pub(super) fn new(
        source: TruthSource<'a>,
        options: &'a EvalOptions,
        record: &'a RunRecord,
        unfinished: UnfinishedEvaluation,
        saved: Option<SavedProgress>,
    ) -> Result<Self> {
        let manifest = source.dataset.manifest();
        let metrics = field_metrics(&manifest.schema.grid.shape(), options)?;
        let mut measurer = Self {
            source,
            options,
            run: &record.run,
            context: record.context as usize,
            names: manifest.schema.channels(),
            channels: channels(manifest)?,
            normalizer: manifest.normalizer()?,
            metrics,
            draft: Draft::of(record)?,
            spectra: SpectrumSums::default(),
            unfinished,
            saved: Instant::now(),
            pictures_saved: 0,
            whole: [Vec::new(), Vec::new()],
            diverged: Vec::new(),
        };
        if let Some(saved) = saved {
            measurer.add(saved)?;
        }
        measurer.pictures_saved = measurer.draft.pictures.len();
        Ok(measurer)
    }

    /// Adds what was measured of other windows, which follow those measured so far.
    pub(super) fn add(&mut self, mut saved: SavedProgress) -> Result<()> {
        let blank = vec![0.0; self.source.dataset.schema().grid.cells()];
        let like = self.metrics.score(&blank, &blank)?.spectra;
        self.spectra.add_saved(saved.spectra, &like);
        for table in self.draft.growing() {
            table.add(saved.rows.remove(&table.table()).unwrap_or_default())?;
        }
        self.draft.pictures.extend(saved.pictures);
        Ok(())
    }

    pub(super) fn lead(&mut self, predicted: Prediction<'_>) -> Result<()> {
        let Some(mut prediction) = ensemble::mean(&predicted.members, &self.normalizer) else {
            return Ok(());
        };
        let place = self.context + predicted.lead - 1;
        let mut truth = self.source.read(predicted.windows, place..place + 1)?;
        self.measure(&truth, &prediction, &predicted)?;
        if self.options.temporal {
            self.collect(&truth, &prediction, &predicted)?;
        }
        let kept = self.options.keep.saturating_sub(predicted.first);
        if kept > 0 && is_pictured(predicted.lead, self.options.rollout) {
            // Pictures are in the fields' own units, as far as f32 holds them.
            self.normalizer.denormalize(&mut truth);
            self.normalizer.denormalize(&mut prediction);
            let kept = kept.min(predicted.windows.len());
            self.picture([&truth, &prediction], &predicted, kept);
        }
        match predicted.progress {
            Some(progress) if self.saved.elapsed() >= self.options.save_every => {
                self.save(progress)
            }
            _ => Ok(()),
        }
    }

    /// Saves the rows since the last time, and where everything stands.
    pub(super) fn save(&mut self, progress: Progress) -> Result<()> {
        let tables = self.draft.growing();
        let rows: Result<Vec<_>> = tables
            .map(|table| -> Result<_> { Ok((table.table(), table.cut()?)) })
            .collect();
        let pictures = &self.draft.pictures[self.pictures_saved..];
        let saving = self
            .unfinished
            .save(progress, rows?, pictures, self.spectra.save());
        self.source.runtime.block_on(saving)?;
        self.pictures_saved = self.draft.pictures.len();
        self.saved = Instant::now();
        Ok(())
    }

    /// The rows, with the spectra written.
    pub(super) fn finish(mut self) -> Result<(Draft, UnfinishedEvaluation)> {
        let grid = &self.source.dataset.schema().grid;
        let axes: Vec<String> = grid.axes.iter().map(|axis| axis.name.clone()).collect();
        let names = Names {
            run: self.run,
            axes: &axes,
            channels: &self.names,
        };
        self.spectra.write(&names, &mut self.draft.spectra)?;
        Ok((self.draft, self.unfinished))
    }

    fn measure(
        &mut self,
        truth: &Frames,
        prediction: &Frames,
        predicted: &Prediction<'_>,
    ) -> Result<()> {
        let (windows, channels) = (predicted.windows.len(), self.channels.len());
        let places = (0..windows).flat_map(|batch| (0..channels).map(move |c| (batch, c)));
        let places: Vec<(usize, usize)> = places.collect();
        let field = |&(b, c): &(usize, usize)| {
            let prediction = prediction.channel(0, b, c);
            (truth.channel(0, b, c), prediction, self.channels[c])
        };
        let fields: Vec<_> = places.iter().map(field).collect();
        let scores = self.metrics.scores_stored(&fields)?;
        let mut rows = Vec::new();
        if predicted.lead == 1 {
            self.diverged = vec![f64::INFINITY; places.len()];
        }
        for (place, (&(batch, channel), score)) in places.iter().zip(&scores).enumerate() {
            let lead = predicted.lead - 1;
            if diverges(score) {
                self.diverged[place] = self.diverged[place].min(predicted.lead as f64);
            }
            self.spectra
                .add(lead, channel, &predicted.patch, &score.spectra);
            let row = row(self.run, &self.names[channel], predicted, batch);
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
            if predicted.lead == self.options.rollout {
                rows.push(MetricRow {
                    metric: "divergence_lead",
                    value: self.diverged[place],
                    ..row
                });
            }
        }
        self.draft.metrics.push(&rows)?;
        let skill = scores.iter().map(|score| score.spatial.vrmse);
        let skill: Vec<_> = places.into_iter().zip(skill).collect();
        self.measure_members(truth, predicted, &skill)
    }

    /// Measures what the members of an ensemble say of each (window, channel), where there is one.
    fn measure_members(
        &mut self,
        truth: &Frames,
        predicted: &Prediction<'_>,
        skill: &[((usize, usize), f64)],
    ) -> Result<()> {
        let Some(table) = &mut self.draft.ensembles else {
            return Ok(());
        };
        let measured = ensemble::values(truth, &predicted.members, &self.channels, skill);
        let mut rows = Vec::new();
        for (values, &((batch, channel), _)) in measured.iter().zip(skill) {
            let window = predicted.windows[batch];
            rows.extend(values.iter().map(|value| EnsembleRow {
                run: self.run,
                trajectory: window.trajectory,
                start: window.start,
                lead: predicted.lead as u32,
                field: &self.names[channel],
                member: value.member,
                metric: value.metric,
                value: value.value,
            }));
        }
        table.push(&rows)
    }

    /// Keeps a lead of rollouts that are measured as a whole, and measures them after the last.
    fn collect(
        &mut self,
        truth: &Frames,
        prediction: &Frames,
        predicted: &Prediction<'_>,
    ) -> Result<()> {
        let [truths, predictions] = &mut self.whole;
        truths.extend(truth.data());
        predictions.extend(prediction.data());
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
            let scores = Temporal::of_stored(&truths, &predictions, batch, &self.channels);
            for (channel, score) in scores.iter().enumerate() {
                let row = row(self.run, &self.names[channel], predicted, batch);
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

    fn picture(
        &mut self,
        [truth, prediction]: [&Frames; 2],
        predicted: &Prediction<'_>,
        kept: usize,
    ) {
        let finite = |values: &[f32]| values.iter().map(|&x| x.is_finite().then_some(x)).collect();
        for (batch, window) in predicted.windows[..kept].iter().enumerate() {
            for (channel, field) in self.names.iter().enumerate() {
                self.draft.pictures.push(Picture {
                    trajectory: window.trajectory,
                    start: window.start,
                    lead: predicted.lead as u32,
                    patch: predicted.patch.clone(),
                    field: field.clone(),
                    shape: truth.space().iter().map(|&n| n as u32).collect(),
                    truth: finite(truth.channel(0, batch, channel)),
                    prediction: finite(prediction.channel(0, batch, channel)),
                });
            }
        }
    }
}

/// What the stored values of a data set's channels mean.
pub(super) fn channels(manifest: &Manifest) -> Result<Vec<Channel>> {
    let (normalizer, deviations) = (manifest.normalizer()?, deviations(manifest));
    let maps = normalizer.channels().iter().zip(deviations);
    Ok(maps
        .map(|(map, (_, deviation))| Channel::of(map, deviation))
        .collect())
}

/// Standard deviation of each channel over the data set, in the field's units; 0 if it is not known.
fn deviations(manifest: &Manifest) -> Vec<(String, f64)> {
    let channels = manifest.schema.channel_transforms(true).into_iter();
    let deviations = channels.map(|(name, transform)| {
        let held = manifest.statistics.0.get(&name);
        let deviation = held.and_then(|held| match transform {
            None => Some(held.std),
            Some(_) => held.own_std,
        });
        (name, deviation.unwrap_or(0.0))
    });
    deviations.collect()
}

/// Reports the fields whose ratios have another guard than The Well's ε.
pub(super) fn tell_guards(manifest: &Manifest, reporter: &dyn Reporter) -> Result<()> {
    for ((name, deviation), channel) in deviations(manifest).iter().zip(channels(manifest)?) {
        if !channel.has_the_wells_guard() {
            reporter.note(&format!(
                "{name} has a standard deviation of {deviation:.3e}: ε in its relative errors is 1e-7 of its variance, \
                 not The Well's 1e-7 in its units"
            ));
        }
    }
    Ok(())
}

/// The metrics of fields on a grid, with the bands of the options.
///
/// # Errors
/// When the edges of bands do not ascend.
pub(super) fn field_metrics(space: &[usize], options: &EvalOptions) -> Result<FieldMetrics> {
    let metrics = FieldMetrics::new(space)?;
    match &options.bands {
        Some(edges) => metrics.with_bands(edges.clone()),
        None => Ok(metrics),
    }
}

/// A row of a field in a window, still without a metric.
fn row<'a>(
    run: &'a str,
    field: &'a str,
    predicted: &'a Prediction<'_>,
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

/// Whether a score is not finite, or no better than the truth's mean.
fn diverges(score: &Score) -> bool {
    score.nonfinite > 0 || score.spatial.vrmse.is_nan() || score.spatial.vrmse > 1.0
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
