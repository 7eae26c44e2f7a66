//! What an experiment takes, before it is done: its runs, their memory, and their time by a few steps and predictions of
//! each.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use tempfile::TempDir;
use wellspring_eval::FieldMetrics;
use wellspring_ingest::{IngestOptions, SimulateOptions};
use wellspring_store::{Dataset, Location, Silent, Split, WindowSpec};
use wellspring_train::{Config, SingleProcess, Start, Stop, TrainFigure, TrainOptions};

use super::Work;
use super::file::{DataSection, SimulateSection};
use super::training::TrainingRun;
use crate::commands::print;
use crate::progress::line;

const MIB: f64 = (1_u64 << 20) as f64;

/// Prints a line for each model on each data set, and the sum.
pub fn run(work: &Work<'_>) -> Result<()> {
    print(format!(
        "{:<36} {:>5} {:>11} {:>9} {:>9} {:>9} {:>9} {:>10}\n",
        "run", "seeds", "parameters", "steps", "MiB", "hours", "to eval", "of data"
    ))?;
    let runs = work.experiment.runs();
    let (mut hours, mut evaluation, mut count) = (0.0, 0.0, 0);
    for (name, section) in &work.experiment.data {
        let Some(trial) = TrialData::of(work, name, section)? else {
            line(&format!(
                "{name} is not there yet, so nothing can be said of its runs; ingest it first"
            ));
            continue;
        };
        let metrics = metrics_seconds(&trial)?;
        for model in work.experiment.models.keys() {
            let same: Vec<&TrainingRun> = runs
                .iter()
                .filter(|run| run.data == *name && run.model == *model)
                .collect();
            if let Some(first) = same.first() {
                let config = work.experiment.config(first, "")?;
                let needs = Needs::of(work, &config, &trial, metrics)?;
                print(needs.row(&format!("{name}/{model}"), same.len()))?;
                hours += needs.hours * same.len() as f64;
                evaluation += needs.evaluation * same.len() as f64;
                count += same.len();
            }
        }
    }
    print(format!(
        "\n{count} trainings, {hours:.2} hours one after another on this machine, and {evaluation:.2} of evaluations\n"
    ))
}

/// A data set to take a few steps on: the experiment's own or, where that is still to be simulated, a short one like it.
struct TrialData {
    dataset: Arc<Dataset>,
    /// What the experiment's own will be, where this is a short one.
    simulation: Option<SimulateOptions>,
    _folder: Option<TempDir>,
}

impl TrialData {
    /// Nothing where a source is not ingested yet.
    fn of(work: &Work<'_>, name: &str, section: &DataSection) -> Result<Option<Self>> {
        let root = work.session.locate(&work.root(name)?)?;
        match (work.session.wait(Dataset::open(&root)), section) {
            (Ok(dataset), _) => Ok(Some(Self {
                dataset: Arc::new(dataset),
                simulation: None,
                _folder: None,
            })),
            (Err(_), DataSection::Simulate(section)) => Self::short(work, section).map(Some),
            (Err(_), DataSection::Ingest(_)) => Ok(None),
            (Err(error), DataSection::Root(_)) => Err(error.into()),
        }
    }

    /// One window for each place of the largest batch.
    fn short(work: &Work<'_>, section: &SimulateSection) -> Result<Self> {
        let whole = section.options()?;
        let (mut frames, mut batch) = (0, 0);
        for run in work.experiment.runs() {
            let config = work.experiment.config(&run, "")?;
            frames = frames.max(config.data.context * config.data.stride + 1);
            batch = batch.max(config.train.batch);
        }
        let options = SimulateOptions {
            frames: frames.min(whole.frames),
            train: batch,
            valid: 0,
            test: 0,
            ..whole.clone()
        };
        let folder = tempfile::tempdir()?;
        wellspring_ingest::simulate(section.equation()?, folder.path(), &options, &Silent)?;
        let source = Location::parse(&folder.path().to_string_lossy())?;
        let root = source.join("ds");
        let plain = IngestOptions::default();
        let made = wellspring_ingest::ingest(&source, &root, &plain, &Silent);
        work.session.wait(made)?;
        Ok(Self {
            dataset: Arc::new(work.session.wait(Dataset::open(&root))?),
            simulation: Some(whole),
            _folder: Some(folder),
        })
    }

    /// Frames of each trajectory of a split of the experiment's own data.
    fn trajectories(&self, split: Split) -> Result<impl Iterator<Item = usize>> {
        let frames = match &self.simulation {
            Some(options) => {
                let count = match split {
                    Split::Train => options.train,
                    Split::Valid => options.valid,
                    Split::Test => options.test,
                };
                vec![options.frames; count]
            }
            None => {
                let held = &self.dataset.manifest().split(split)?.trajectories;
                held.iter().map(|one| one.frames).collect()
            }
        };
        Ok(frames.into_iter())
    }

    /// Steps of a pass over the data.
    fn epoch_steps(&self, config: &Config) -> Result<u64> {
        let spec = WindowSpec {
            stride: config.data.stride,
            ..WindowSpec::of_length(config.data.context + 1)
        };
        let windows: usize = self
            .trajectories(Split::Train)?
            .map(|n| spec.count(n))
            .sum();
        Ok((windows / config.train.batch.max(1)) as u64)
    }

    /// Bytes of all values of the training data in single precision.
    fn bytes(&self) -> Result<u64> {
        let schema = self.dataset.schema();
        let frames: usize = self.trajectories(Split::Train)?.sum();
        Ok((4 * frames * schema.channels().len() * schema.grid.cells()) as u64)
    }
}

/// What a run takes.
struct Needs {
    parameters: usize,
    steps: u64,
    /// Bytes at the peak of its largest step.
    peak: u64,
    hours: f64,
    /// Hours of its evaluations.
    evaluation: f64,
    /// Bytes of its training data.
    data: u64,
}

impl Needs {
    /// `metrics` is the time that all metrics of a frame take.
    fn of(work: &Work<'_>, config: &Config, trial: &TrialData, metrics: f64) -> Result<Self> {
        let datasets = [Arc::clone(&trial.dataset)];
        let memory = wellspring_train::estimate(config, &datasets, 1, u64::MAX)?;
        let (mut seconds, mut prediction) = (0.0, 0.0);
        let patches = config.model.patches();
        for patch in &patches {
            let mut alone = config.clone();
            alone.model = config.model.with_patch(patch.clone());
            let figure = some_steps(work, &alone, trial)?;
            seconds += figure.loop_seconds / patches.len() as f64;
            prediction += figure.prediction_seconds / patches.len() as f64;
        }
        let (steps, hours) = match config.train.hours {
            Some(hours) => ((hours * 3600.0 / seconds) as u64, hours),
            None => {
                let epochs = config.train.epochs.unwrap_or(0);
                let steps = match epochs {
                    0 => config.train.steps,
                    epochs => epochs * trial.epoch_steps(config)?,
                };
                (steps, steps as f64 * seconds / 3600.0)
            }
        };
        Ok(Self {
            parameters: memory.parameters,
            steps,
            peak: memory.steps.iter().map(|step| step.peak).max().unwrap_or(0),
            hours,
            evaluation: frames_to_predict(work, config, trial)? as f64 * (prediction + metrics)
                / 3600.0,
            data: trial.bytes()?,
        })
    }

    fn row(&self, name: &str, seeds: usize) -> String {
        format!(
            "{name:<36} {seeds:>5} {:>11} {:>9} {:>9.0} {:>9.2} {:>9.2} {:>7.2} GB\n",
            self.parameters,
            self.steps,
            self.peak as f64 / MIB,
            self.hours,
            self.evaluation,
            self.data as f64 / 1e9,
        )
    }
}

/// Times of a step and of a prediction, from a few.
fn some_steps(work: &Work<'_>, config: &Config, trial: &TrialData) -> Result<TrainFigure> {
    let options = TrainOptions {
        config,
        datasets: vec![Arc::clone(&trial.dataset)],
        start: Start::New,
        validator: None,
        stop: &Stop::default(),
        collective: &SingleProcess,
    };
    Ok(wellspring_train::bench_train(
        options,
        1,
        work.session.handle(),
    )?)
}

/// Frames that all evaluations of a run predict, from each start by each schedule.
fn frames_to_predict(work: &Work<'_>, config: &Config, trial: &TrialData) -> Result<usize> {
    let section = &work.experiment.evaluation;
    let stride = config.data.stride;
    let spec = WindowSpec {
        stride,
        every: section.every.unwrap_or(section.rollout * stride).max(1),
        ..WindowSpec::of_length(config.data.context + section.rollout)
    };
    let trajectories = trial.trajectories(section.split()?)?;
    let starts: usize = trajectories.map(|frames| spec.count(frames)).sum();
    Ok(starts * section.rollout * work.experiment.schedules(config).len())
}

/// Time that all metrics of a frame take.
fn metrics_seconds(trial: &TrialData) -> Result<f64> {
    let schema = trial.dataset.schema();
    let wave: Vec<f32> = (0..schema.grid.cells())
        .map(|cell| (cell as f32).sin())
        .collect();
    let metrics = FieldMetrics::new(&schema.grid.shape())?;
    let fields = vec![(wave.as_slice(), wave.as_slice()); 4 * schema.channels().len()];
    metrics.scores(&fields)?;
    let began = Instant::now();
    metrics.scores(&fields)?;
    Ok(began.elapsed().as_secs_f64() / 4.0)
}
