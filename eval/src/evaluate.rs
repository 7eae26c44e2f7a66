//! The rollout: many starts at once, a metric for every frame, tables committed whole at the end.
//!
//! Memory does not grow with the rollout: truth is read lead by lead, predictions live as long as
//! the window that the next step sees.

use std::time::Instant;

use tokio::runtime::Handle;
use wellspring_store::{
    Affine, Dataset, Frames, Location, Order, Patch, Plan, Reporter, Share, Split, Window,
    WindowSpec,
};

use crate::metrics::{Gauge, Line, Score, Spatial};
use crate::pictures::{self, Picture};
use crate::tables::{
    self, Key, MetricRow, RunRecord, SpectrumRow, TABLE_VERSION, Table, TableWriter,
};
use crate::{Error, Result, Schedule, Subject};

/// How an evaluation is done.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// Frames to predict from each start.
    pub rollout: usize,
    /// Split of the data set.
    pub split: Split,
    /// Frames between two starts in a trajectory; as many as are predicted if none.
    pub every: Option<usize>,
    /// Windows rolled out together.
    pub batch: usize,
    /// Rollouts whose frames are kept for pictures.
    pub keep: usize,
    /// What to do where the same evaluation is there.
    pub existing: OnExisting,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            rollout: 1,
            split: Split::Test,
            every: None,
            batch: 4,
            keep: 1,
            existing: OnExisting::Replace,
        }
    }
}

/// What a second evaluation of the same name, data set, split and schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// It takes the first one's place.
    Replace,
    /// It comes beside the first.
    Add,
    /// It is refused before anything runs.
    Refuse,
}

/// Rolls a subject out from every start of a split and commits the tables. Blocks; call it from a
/// thread that is not the runtime's.
///
/// # Errors
/// [`Error::Patch`] and [`Error::Exists`] before anything runs; [`Error::Step`]; a rollout longer
/// than every trajectory is [`wellspring_store::Error::NoWindows`].
#[allow(
    clippy::too_many_arguments,
    reason = "each is a noun of its own; a struct would only rename them"
)]
pub fn evaluate(
    subject: &dyn Subject,
    name: &str,
    schedule: &Schedule,
    dataset: &Dataset,
    results: &Location,
    options: &EvalOptions,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<RunRecord> {
    let evaluation = Evaluation::begin(subject, name, schedule, dataset, options)?;
    let same = runtime.block_on(evaluation.same(results))?;
    if !same.is_empty() && options.existing == OnExisting::Refuse {
        return Err(Error::Exists {
            root: results.to_string(),
            name: name.to_owned(),
            schedule: evaluation.record.schedule,
            split: options.split.to_string(),
        });
    }
    let total = evaluation.plan.total() * options.rollout;
    reporter.begin(
        &format!("evaluating {name} {}", evaluation.record.schedule),
        Some(total as u64),
        "frames",
    );
    let answer = evaluation
        .run(runtime, reporter)
        .and_then(|tables| runtime.block_on(tables.commit(results)));
    reporter.end();
    let record = answer?;
    if options.existing == OnExisting::Replace {
        for run in same {
            runtime.block_on(tables::delete(results, &run))?;
        }
    }
    Ok(record)
}

/// One evaluation under way.
struct Evaluation<'a> {
    subject: &'a dyn Subject,
    dataset: &'a Dataset,
    options: &'a EvalOptions,
    channels: Vec<String>,
    affine: Affine,
    gauge: Gauge,
    plan: Plan,
    /// Patch size and tokens of every lead.
    leads: Vec<(Patch, usize)>,
    record: RunRecord,
}

impl<'a> Evaluation<'a> {
    fn begin(
        subject: &'a dyn Subject,
        name: &str,
        schedule: &Schedule,
        dataset: &'a Dataset,
        options: &'a EvalOptions,
    ) -> Result<Self> {
        let manifest = dataset.manifest();
        let space = manifest.schema.grid.shape();
        let spec = WindowSpec {
            length: subject.context() + options.rollout,
            every: options.every.unwrap_or(options.rollout).max(1),
        };
        let plan = Plan::new(
            manifest,
            options.split,
            spec,
            Order::Sequential,
            Share::WHOLE,
        )?;
        let leads = leads(subject, schedule, options.rollout, &space)?;
        let trajectories = &manifest.split(options.split)?.trajectories;
        let about = subject.description();
        let tokens: usize = leads.iter().map(|(_, tokens)| tokens).sum();
        let shown = if about.strategy == "baseline" {
            "-".to_owned()
        } else {
            schedule.to_string()
        };
        let record = RunRecord {
            run: run_id(name, &shown),
            table_version: TABLE_VERSION,
            name: name.to_owned(),
            strategy: about.strategy,
            parameters: about.parameters,
            dim: about.dim,
            blocks: about.blocks,
            train_steps: about.train_steps,
            train_dataset: about.train_dataset,
            dataset: manifest.schema.name.clone(),
            dataset_id: manifest.id(),
            split: options.split.to_string(),
            schedule: shown,
            context: subject.context() as u64,
            rollout: options.rollout as u64,
            trajectories: trajectories
                .iter()
                .filter(|held| spec.count(held.frames) > 0)
                .count() as u64,
            starts: plan.total() as u64,
            tokens: tokens as f64 / options.rollout.max(1) as f64,
            seconds_per_frame: 0.0,
            version: env!("CARGO_PKG_VERSION").into(),
            created: 0,
        };
        Ok(Self {
            subject,
            dataset,
            options,
            channels: manifest.schema.channels(),
            affine: manifest.affine(),
            gauge: Gauge::new(&space)?,
            plan,
            leads,
            record,
        })
    }

    /// Committed evaluations that this one does again.
    async fn same(&self, results: &Location) -> Result<Vec<String>> {
        let key = Key {
            name: self.record.name.clone(),
            dataset_id: self.record.dataset_id.clone(),
            split: self.record.split.clone(),
            schedule: self.record.schedule.clone(),
        };
        let held = tables::held(results).await?;
        Ok(held
            .into_iter()
            .filter(|held| held.key == key)
            .map(|held| held.run)
            .collect())
    }

    fn run(self, runtime: &Handle, reporter: &dyn Reporter) -> Result<Tables> {
        let windows: Vec<Window> = self.plan.iter().collect();
        let mut tables = Tables::new(self.record.clone())?;
        let mut spectra = SpectrumSums::default();
        let mut seconds = 0.0;
        for (batch, windows) in windows.chunks(self.options.batch.max(1)).enumerate() {
            let context = self.subject.context();
            let mut seen = runtime.block_on(self.read(windows, 0..context))?;
            for (index, (patch, _)) in self.leads.iter().enumerate() {
                let began = Instant::now();
                let prediction = self
                    .subject
                    .step(&seen, patch)
                    .map_err(|source| Error::Step {
                        name: self.record.name.clone(),
                        lead: index + 1,
                        split: self.record.split.clone(),
                        trajectory: windows[0].trajectory,
                        source,
                    })?;
                seconds += began.elapsed().as_secs_f64();
                seen.push_frame(&prediction)?;
                let truth =
                    runtime.block_on(self.read(windows, context + index..context + index + 1))?;
                let frames = self.in_units(truth, prediction);
                self.measure(windows, index, &frames, &mut tables, &mut spectra)?;
                let kept = self
                    .options
                    .keep
                    .saturating_sub(batch * self.options.batch)
                    .min(windows.len());
                if self.is_pictured(index + 1) {
                    tables
                        .pictures
                        .extend(self.pictures(&windows[..kept], index, &frames));
                }
                reporter.advance(windows.len() as u64);
            }
        }
        let steps = (windows.len() * self.options.rollout).max(1) as f64;
        tables.record.seconds_per_frame = seconds / steps;
        spectra.rows(&self, windows.len(), &mut tables)?;
        Ok(tables)
    }

    /// Frames of windows side by side, by their place in the window.
    async fn read(&self, windows: &[Window], places: std::ops::Range<usize>) -> Result<Frames> {
        let reads = windows.iter().map(|window| {
            let start = window.start as usize;
            let steps = start + places.start..start + places.end;
            self.dataset
                .read(self.options.split, window.trajectory as usize, steps)
        });
        let parts = futures::future::try_join_all(reads).await?;
        let space = self.dataset.schema().grid.shape();
        let mut frames = Frames::zeros(places.len(), windows.len(), self.channels.len(), space);
        for (batch, part) in parts.iter().enumerate() {
            for time in 0..places.len() {
                for channel in 0..self.channels.len() {
                    frames
                        .channel_mut(time, batch, channel)
                        .copy_from_slice(part.channel(time, 0, channel));
                }
            }
        }
        Ok(frames)
    }

    /// Truth and prediction in the fields' own units.
    fn in_units(&self, mut truth: Frames, mut prediction: Frames) -> [Frames; 2] {
        self.affine.denormalise(&mut truth);
        self.affine.denormalise(&mut prediction);
        [truth, prediction]
    }

    fn measure(
        &self,
        windows: &[Window],
        index: usize,
        [truth, prediction]: &[Frames; 2],
        tables: &mut Tables,
        spectra: &mut SpectrumSums,
    ) -> Result<()> {
        let (patch, tokens) = &self.leads[index];
        let patch = self.shown(patch);
        let places = (0..windows.len())
            .flat_map(|batch| (0..self.channels.len()).map(move |channel| (batch, channel)));
        let places: Vec<(usize, usize)> = places.collect();
        let pairs: Vec<(&[f32], &[f32])> = places
            .iter()
            .map(|&(b, c)| (truth.channel(0, b, c), prediction.channel(0, b, c)))
            .collect();
        let scores = self.gauge.scores(&pairs)?;
        let mut rows = Vec::new();
        for (&(batch, channel), score) in places.iter().zip(&scores) {
            spectra.add(index, channel, score);
            let row = MetricRow {
                run: &self.record.run,
                trajectory: windows[batch].trajectory,
                start: windows[batch].start,
                lead: index as u32 + 1,
                patch: &patch,
                tokens: *tokens as u64,
                field: &self.channels[channel],
                metric: "",
                band: None,
                value: 0.0,
            };
            let spatial = Spatial::NAMES.into_iter().zip(score.spatial.values());
            rows.extend(spatial.map(|(metric, value)| MetricRow {
                metric,
                value,
                ..row.clone()
            }));
            for (band, errors) in score.bands.iter().enumerate() {
                for (metric, value) in [("band_mse", errors.mse), ("band_nmse", errors.nmse)] {
                    rows.push(MetricRow {
                        metric,
                        band: Some(band as u32),
                        value,
                        ..row.clone()
                    });
                }
            }
        }
        tables.metrics.push(&rows)
    }

    /// A baseline has no patch size.
    fn shown(&self, patch: &Patch) -> String {
        if self.record.strategy == "baseline" {
            "-".into()
        } else {
            patch.to_string()
        }
    }

    /// First, middle and last lead.
    fn is_pictured(&self, lead: usize) -> bool {
        let last = self.options.rollout;
        [1, last.div_ceil(2), last].contains(&lead)
    }

    fn pictures(
        &self,
        windows: &[Window],
        index: usize,
        [truth, prediction]: &[Frames; 2],
    ) -> Vec<Picture> {
        let finite = |values: &[f32]| values.iter().map(|&x| x.is_finite().then_some(x)).collect();
        let mut pictures = Vec::new();
        for (batch, window) in windows.iter().enumerate() {
            for (channel, field) in self.channels.iter().enumerate() {
                pictures.push(Picture {
                    trajectory: window.trajectory,
                    start: window.start,
                    lead: index as u32 + 1,
                    patch: self.shown(&self.leads[index].0),
                    field: field.clone(),
                    shape: truth.space().iter().map(|&n| n as u32).collect(),
                    truth: finite(truth.channel(0, batch, channel)),
                    prediction: finite(prediction.channel(0, batch, channel)),
                });
            }
        }
        pictures
    }
}

/// Patch size and tokens of every lead, each checked.
fn leads(
    subject: &dyn Subject,
    schedule: &Schedule,
    rollout: usize,
    space: &[usize],
) -> Result<Vec<(Patch, usize)>> {
    let available = subject.patches();
    let refused = |source| Error::Patch {
        schedule: schedule.to_string(),
        source,
    };
    let lead = |step| {
        let patch = schedule
            .at(step, &available)
            .ok_or_else(|| refused("the model has no patch sizes".into()))?;
        let tokens = subject.tokens(&patch, space).map_err(refused)?;
        Ok((patch, tokens))
    };
    for patch in schedule.patches(&available) {
        subject.tokens(patch, space).map_err(refused)?;
    }
    (0..rollout).map(lead).collect()
}

/// A name for the files of an evaluation: readable, and of this one alone.
fn run_id(name: &str, schedule: &str) -> String {
    let text = format!("{name}-{schedule}");
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let text: String = text.chars().map(plain).collect();
    let unique: u64 = rand::random();
    format!("{text}-{unique:016x}")
}

/// The rows of an evaluation, not yet committed.
struct Tables {
    record: RunRecord,
    metrics: TableWriter,
    spectra: TableWriter,
    pictures: Vec<Picture>,
}

impl Tables {
    fn new(record: RunRecord) -> Result<Self> {
        Ok(Self {
            record,
            metrics: TableWriter::new(Table::Metrics)?,
            spectra: TableWriter::new(Table::Spectra)?,
            pictures: Vec::new(),
        })
    }

    /// Writes every file; the row in `runs` comes last and makes them count.
    async fn commit(self, results: &Location) -> Result<RunRecord> {
        let Self {
            mut record,
            metrics,
            spectra,
            pictures,
        } = self;
        record.created = tables::now();
        if !pictures.is_empty() {
            pictures::file(results, &record.run)
                .put(pictures::write(&pictures)?)
                .await?;
        }
        Table::Spectra
            .file(results, &record.run)
            .put(spectra.finish()?)
            .await?;
        Table::Metrics
            .file(results, &record.run)
            .put(metrics.finish()?)
            .await?;
        let mut runs = TableWriter::new(Table::Runs)?;
        runs.push(std::slice::from_ref(&record))?;
        Table::Runs
            .file(results, &record.run)
            .put(runs.finish()?)
            .await?;
        Ok(record)
    }
}

/// Sums of spectra over windows, by lead and channel.
#[derive(Default)]
struct SpectrumSums(std::collections::BTreeMap<(usize, usize), crate::metrics::Spectra>);

impl SpectrumSums {
    fn add(&mut self, lead: usize, channel: usize, score: &Score) {
        let Some(sum) = self.0.get_mut(&(lead, channel)) else {
            self.0.insert((lead, channel), score.spectra.clone());
            return;
        };
        let own = sum.axes.iter_mut().flatten().chain(&mut sum.isotropic);
        for (own, other) in own.zip(
            score
                .spectra
                .axes
                .iter()
                .flatten()
                .chain(&score.spectra.isotropic),
        ) {
            own.power
                .iter_mut()
                .zip(other.power)
                .for_each(|(own, other)| *own += other);
        }
    }

    /// Means over windows, as rows.
    fn rows(&self, evaluation: &Evaluation<'_>, windows: usize, tables: &mut Tables) -> Result<()> {
        let axes: Vec<String> = evaluation
            .dataset
            .schema()
            .grid
            .axes
            .iter()
            .map(|axis| axis.name.clone())
            .collect();
        for (&(lead, channel), sum) in &self.0 {
            let patch = evaluation.shown(&evaluation.leads[lead].0);
            let named = axes
                .iter()
                .map(String::as_str)
                .zip(&sum.axes)
                .chain([("isotropic", &sum.isotropic)]);
            let mut rows = Vec::new();
            for (axis, lines) in named {
                rows.extend(lines.iter().enumerate().map(|(bin, line): (usize, &Line)| {
                    SpectrumRow {
                        run: &evaluation.record.run,
                        lead: lead as u32 + 1,
                        patch: &patch,
                        field: &evaluation.channels[channel],
                        axis,
                        bin: bin as u32,
                        k_low: line.low,
                        k_high: line.high,
                        truth: line.power[0] / windows as f64,
                        prediction: line.power[1] / windows as f64,
                        residual: line.power[2] / windows as f64,
                    }
                }));
            }
            tables.spectra.push(&rows)?;
        }
        Ok(())
    }
}
