//! [`train()`]: a whole run, from windows through steps to checkpoints.
//!
//! A checkpoint is written while the next steps are taken. One that cannot be written does not end the run: it is
//! reported, and the next one is tried. If data cannot be read any longer, a checkpoint of the last step is written
//! before the run ends with the error.
//!
//! A step is a pure function of (configuration, data sets, step): its windows, its patch size and its learning
//! rate. So a run that is resumed from a checkpoint ends with the same bytes as one that was never stopped. Only
//! the schedule of a run that the clock ends (`train.hours`) depends on the time.

mod agreement;
mod bench;
mod clock;
mod data_wait;
mod description;
mod learning;
mod options;
mod rank_times;
mod saving;
mod start;
mod status;
mod together;
mod validating;

use tokio::runtime::Handle;
use wellspring_store::{Location, Reporter};

use crate::checkpoint::fresh;
use crate::claim::{RunClaim, refuse_held};
use crate::device;
use crate::domain::Domains;
use crate::log::Log;
use crate::memory::mebibytes;
use crate::model::Surrogate;
use crate::optim::{AdamW, Average, Owners};
use crate::progress::{Best, Progress};
use crate::resumed::{ResumedRun, refuse_unfinished};
use crate::source::Sources;
use crate::validation::Validate;
use crate::{Collective, Config, Error, Result, Stop};
use agreement::Agreement;
pub use bench::{TrainFigure, bench_train};
use clock::Clock;
use data_wait::DataWait;
pub use options::{Start, TrainOptions};
use rank_times::RankTimes;
use saving::PendingCheckpoint;
use status::Status;

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Steps taken in all.
    pub step: u64,
    /// Steps taken before it went on.
    pub begun: u64,
    /// Mean loss of the last steps, at most a hundred; of a finished run, that of its last. None where
    /// no step was taken.
    pub loss: Option<f32>,
    /// The best validation, where there was one.
    pub best: Option<Best>,
    /// Numbers that the model has learned.
    pub parameters: usize,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

/// Trains a model on one data set or several and writes it to `run`. This blocks: call it from a thread that
/// is not the runtime's.
///
/// A resumed run that has reached its end is not changed. Differences from the run's first configuration are
/// reported, and so are parts of the data that no model sees. When `stop` is requested, it writes a checkpoint
/// after the current step and returns.
///
/// # Errors
/// [`Error::RunExists`] for a new run where one exists, [`Error::Busy`] and [`Error::Overtaken`] if another
/// process writes it, [`Error::Resume`] when the run is of another model or other data sets,
/// [`Error::NoSoundCheckpoint`], [`Error::Diverged`], [`Error::Unsaved`], and what reading and writing may
/// give. Checkpoints that were written stay.
pub fn train(
    run: &Location,
    mut options: TrainOptions<'_>,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Outcome> {
    options.config.validate()?;
    let share = options.collective.share();
    options.config.check_ranks(share.world)?;
    let (claim, before) = runtime.block_on(async {
        let claim = match share.rank {
            0 => Some(RunClaim::open(run, reporter).await?),
            _ => None,
        };
        let before = previous(run, &options, reporter).await?;
        Ok::<_, Error>((claim, before))
    })?;
    if let Some(before) = &before {
        options.datasets = before.datasets.clone();
    }
    let (start, stop) = (options.start, options.stop);
    let mut trainer = Trainer::new(run, options, claim, before.as_ref(), runtime)?;
    trainer.agree_to_begin()?;
    if let Some(before) = before {
        if trainer.is_done() {
            trainer.tidy(reporter);
            return Ok(trainer.outcome(trainer.step, before.checkpoint.state.loss, false));
        }
        trainer.go_on(&before, reporter)?;
    }
    trainer.start(start, reporter)?;
    let total = trainer
        .config
        .train
        .hours
        .is_none()
        .then_some(trainer.steps);
    reporter.begin("training", total, "steps");
    reporter.advance(trainer.step);
    let outcome = trainer.run(stop, reporter);
    trainer.end(&outcome, reporter);
    reporter.end();
    outcome
}

/// What the run has been, where it goes on from something.
async fn previous(
    run: &Location,
    options: &TrainOptions<'_>,
    reporter: &dyn Reporter,
) -> Result<Option<ResumedRun>> {
    let TrainOptions {
        config, datasets, ..
    } = options;
    let find = |step| ResumedRun::find(config, run, step, datasets, reporter);
    match options.start {
        Start::New => {
            refuse_held(run).await?;
            refuse_unfinished(run).await.map(|()| None)
        }
        Start::Resume => find(None).await,
        Start::From(step) => find(Some(step)).await,
    }
}

struct Trainer<'a> {
    /// What was asked for, with the schedule's horizon.
    config: Config,
    run: &'a Location,
    /// Held by the first rank, which writes what there is once.
    claim: Option<RunClaim>,
    collective: &'a dyn Collective,
    /// Which rank moves which weights.
    owners: Owners,
    /// What the ranks said of the last step, and how they spend their time.
    agreement: Agreement,
    rank_times: RankTimes,
    runtime: &'a Handle,
    validator: Option<&'a dyn Validate>,
    domains: Domains,
    /// Bytes for what blocks keep until their backward pass.
    activations: u64,
    model: Surrogate,
    optimizer: AdamW,
    average: Option<Average>,
    sources: Sources,
    log: Log,
    wait: DataWait,
    clock: Clock,
    status: Status,
    /// Steps taken, and in all.
    step: u64,
    steps: u64,
    progress: Progress,
    /// Losses of the last steps, at most a hundred.
    losses: Vec<f32>,
    /// Whether weights and moments are those after `step` steps, and not between two.
    whole: bool,
    /// The step of the newest checkpoint, and the one that is being written.
    kept: Option<u64>,
    writing: Option<PendingCheckpoint>,
}

impl<'a> Trainer<'a> {
    /// Writes nothing yet.
    fn new(
        run: &'a Location,
        options: TrainOptions<'a>,
        claim: Option<RunClaim>,
        before: Option<&ResumedRun>,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let TrainOptions {
            config,
            datasets,
            validator,
            collective,
            ..
        } = options;
        let share = collective.share();
        let domains = runtime.block_on(Domains::of_run(&datasets, config))?;
        let device = config.train.device.open()?;
        let checkpoint = before.map(|before| &before.checkpoint);
        let model = match checkpoint {
            Some(checkpoint) => checkpoint.model(config, config.train.device)?,
            None => fresh(config, &domains, &device)?,
        };
        let optim = &config.optim;
        optim.check_frozen(model.parameters().iter().map(|(name, _)| name))?;
        let is_frozen = |name: &str| optim.freezes(name);
        let owners = Owners::new(&model, is_frozen, share.world)?;
        let mut optimizer =
            AdamW::except(model.parameters(), |name| !owners.owns(share.rank, name))?;
        let average = |decay| Average::of(model.parameters(), decay);
        let mut average = optim.ema.map(average).transpose()?;
        if let Some(checkpoint) = checkpoint {
            checkpoint.restore(&mut optimizer, average.as_mut())?;
        }
        let activations = match config.train.activations_mib {
            Some(mib) => mebibytes(mib),
            None => device::activation_bytes(&device)?,
        };
        let kept = checkpoint.map(|checkpoint| checkpoint.state.step);
        let progress = checkpoint.map(|checkpoint| checkpoint.state.progress);
        let mut progress = progress.unwrap_or_default();
        if share.world > 1 {
            progress.ranks = progress.ranks.max(share.world);
        }
        let step = kept.unwrap_or(0);
        let sources = Sources::new(config, datasets, &domains, &model, share)?;
        let steps = config.steps(sources.epoch_steps())?;
        Ok(Self {
            config: config.clone(),
            run,
            claim,
            owners,
            agreement: Agreement::default(),
            rank_times: RankTimes::default(),
            runtime,
            validator,
            domains,
            activations,
            model,
            optimizer,
            average,
            sources: sources.after(step),
            log: match share.rank {
                0 => Log::new(run, step),
                _ => Log::none(),
            },
            collective,
            wait: DataWait::default(),
            clock: Clock::new(config.train.hours, progress.seconds),
            status: Status::default(),
            step,
            steps,
            progress,
            losses: Vec::new(),
            whole: true,
            kept,
            writing: None,
        })
    }

    fn outcome(&self, begun: u64, loss: Option<f32>, stopped: bool) -> Outcome {
        Outcome {
            step: self.step,
            begun,
            loss,
            best: self.progress.best,
            parameters: self.model.parameters().count(),
            stopped,
        }
    }

    /// Whether the run has reached its end: its steps, its time, or a model that gets no better.
    fn is_done(&self) -> bool {
        let patience = self.config.validation.patience;
        let gets_no_better = patience.is_some_and(|patience| self.progress.stale >= patience);
        self.step >= self.steps || self.clock.is_over() || gets_no_better
    }

    fn run(&mut self, stop: &Stop, reporter: &dyn Reporter) -> Result<Outcome> {
        let begun = self.step;
        let _heed = stop.heed();
        while !self.is_done() && !self.stops(stop) {
            match self.advance(stop, reporter) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.leave(&error, reporter);
                    return Err(error);
                }
            }
        }
        self.finish(reporter)?;
        let sum: f32 = self.losses.iter().sum();
        let mean = (!self.losses.is_empty()).then(|| sum / self.losses.len() as f32);
        Ok(self.outcome(begun, mean, !self.is_done()))
    }

    /// Whether it was asked to stop. Several ranks stop after the same step.
    fn stops(&self, stop: &Stop) -> bool {
        match self.collective.is_alone() {
            true => stop.asked(),
            false => self.agreement.stops,
        }
    }

    /// One step, with a validation and a checkpoint after it where they are due. False where it was asked to stop
    /// while it waited for data.
    fn advance(&mut self, stop: &Stop, reporter: &dyn Reporter) -> Result<bool> {
        if !self.learn(stop, reporter)? {
            return Ok(false);
        }
        reporter.advance(1);
        let is_best = self.validate_if_due(reporter);
        self.progress.seconds = self.clock.used();
        if is_best || self.step.is_multiple_of(self.config.train.checkpoint_every) {
            self.save(reporter)?;
        }
        self.settle_if_written(reporter)?;
        self.say_status(reporter);
        Ok(true)
    }
}
