//! [`train()`]: a whole run, from windows through steps to checkpoints.
//!
//! A checkpoint that cannot be written does not end the run: it is reported, and the next one is tried. If data
//! cannot be read any longer, a checkpoint of the last step is written before the run ends with the error.
//!
//! A step is a pure function of (configuration, data sets, step): its windows, its patch size and its learning
//! rate. So a run that is resumed from a checkpoint ends with the same bytes as one that was never stopped.

mod data_wait;
mod options;
mod saving;
mod start;

use std::time::Instant;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use wellspring_store::{Batch, Location, Patch, Reporter};

use crate::checkpoint::fresh;
use crate::claim::{RunClaim, refuse_held};
use crate::config::mebibytes;
use crate::device;
use crate::domain::{Domain, Domains};
use crate::log::{Event, Log};
use crate::model::{Perturbation, Surrogate};
use crate::optim::{AdamW, Descent, Pace, learning_rate};
use crate::previous::{Previous, refuse_unfinished};
use crate::source::Sources;
use crate::{Config, Error, Result, Stop, training_gradients};
use data_wait::DataWait;
pub use options::{Start, TrainOptions};

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
    /// Numbers that the model has learned.
    pub parameters: usize,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

/// Trains a model on one data set or several and writes it to `run`. This blocks: call it from a thread that
/// is not the runtime's.
///
/// A resumed run that has all its steps is not changed. Differences from the run's first configuration are
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
    let (claim, before) = runtime.block_on(async {
        let claim = RunClaim::open(run, reporter).await?;
        let before = previous(run, &options, reporter).await?;
        Ok::<_, Error>((claim, before))
    })?;
    if let Some(before) = &before {
        options.datasets = before.datasets.clone();
    }
    let (start, stop) = (options.start, options.stop);
    let mut trainer = Trainer::new(run, options, claim, before.as_ref(), runtime)?;
    if let Some(before) = before {
        if trainer.step >= trainer.steps {
            trainer.tidy(reporter);
            return Ok(trainer.outcome(trainer.step, before.checkpoint.state.loss, false));
        }
        trainer.go_on(&before, reporter)?;
    }
    trainer.start(start, reporter)?;
    reporter.begin("training", Some(trainer.steps), "steps");
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
) -> Result<Option<Previous>> {
    let TrainOptions {
        config, datasets, ..
    } = options;
    let find = |step| Previous::find(config, run, step, datasets, reporter);
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
    claim: RunClaim,
    runtime: &'a Handle,
    domains: Domains,
    /// Bytes for what blocks keep until their backward pass.
    activations: u64,
    model: Surrogate,
    optimizer: AdamW,
    sources: Sources,
    log: Log,
    wait: DataWait,
    /// Steps taken, and in all.
    step: u64,
    steps: u64,
    /// Whether weights and moments are those after `step` steps, and not between two.
    whole: bool,
    /// The step of the newest checkpoint.
    kept: Option<u64>,
}

impl<'a> Trainer<'a> {
    /// Writes nothing yet.
    fn new(
        run: &'a Location,
        options: TrainOptions<'_>,
        claim: RunClaim,
        before: Option<&Previous>,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let TrainOptions {
            config, datasets, ..
        } = options;
        let domains = Domains::new(datasets.iter().map(|data| Domain::of(data)).collect())?;
        let device = config.train.device.open()?;
        let (model, optimizer) = match before {
            Some(Previous { checkpoint, .. }) => {
                let model = checkpoint.model(config, config.train.device)?;
                let optimizer = checkpoint.optimizer(model.parameters())?;
                (model, optimizer)
            }
            None => {
                let model = fresh(config, &domains, &device)?;
                let optimizer = AdamW::new(model.parameters())?;
                (model, optimizer)
            }
        };
        let activations = match config.train.activations_mib {
            Some(mib) => mebibytes(mib),
            None => device::activation_bytes(&device)?,
        };
        let kept = before.map(|before| before.checkpoint.state.step);
        let step = kept.unwrap_or(0);
        let sources = Sources::new(config, datasets, &domains, &model)?;
        let steps = config.steps(sources.epoch_steps())?;
        Ok(Self {
            config: config.clone(),
            run,
            claim,
            runtime,
            domains,
            activations,
            model,
            optimizer,
            sources: sources.after(step),
            log: Log::new(run, step),
            wait: DataWait::default(),
            step,
            steps,
            whole: true,
            kept,
        })
    }

    /// The step at which the schedule of the learning rate ends.
    fn horizon(&self) -> u64 {
        self.config.optim.horizon.unwrap_or(self.steps)
    }

    fn rate(&self, step: u64) -> f64 {
        learning_rate(&self.config.optim, step, self.horizon())
    }

    fn outcome(&self, begun: u64, loss: Option<f32>, stopped: bool) -> Outcome {
        Outcome {
            step: self.step,
            begun,
            loss,
            parameters: self.model.parameters().count(),
            stopped,
        }
    }

    /// The patch size of a step, the same on every machine, and what it adds at random.
    fn draw(&self, step: u64, batch: usize) -> (Patch, Perturbation) {
        let train = &self.config.train;
        let mut rng = ChaCha8Rng::seed_from_u64(train.seed);
        rng.set_stream(step + 1);
        let patches = &self.sources.of(step).patches;
        let patch = patches[rng.random_range(0..patches.len())].clone();
        let mut perturbation = Perturbation::none();
        if train.jitter {
            perturbation = perturbation.jitter(&patch, &mut rng);
        }
        if train.drop_path > 0.0 {
            let blocks = self.config.model.blocks;
            perturbation = perturbation.drop_path(train.drop_path, blocks, batch, &mut rng);
        }
        (patch, perturbation)
    }

    fn run(&mut self, stop: &Stop, reporter: &dyn Reporter) -> Result<Outcome> {
        let begun = self.step;
        let mut recent = Vec::new();
        let _heed = stop.heed();
        while self.step < self.steps && !stop.asked() {
            match self.advance(stop, reporter) {
                Ok(Some(loss)) => recent.push(loss),
                Ok(None) => break,
                Err(error) => {
                    self.leave(recent.last().copied(), &error, reporter);
                    return Err(error);
                }
            }
        }
        if self.kept != Some(self.step) {
            let (step, kept) = (self.step, self.kept);
            self.save(recent.last().copied(), reporter)
                .map_err(|error| match error {
                    Error::Store(_) => Error::Unsaved {
                        step,
                        kept,
                        source: Box::new(error),
                    },
                    error => error,
                })?;
        }
        let last = &recent[recent.len().saturating_sub(100)..];
        let mean = (!last.is_empty()).then(|| last.iter().sum::<f32>() / last.len() as f32);
        Ok(self.outcome(begun, mean, self.step < self.steps))
    }

    /// One step, and a checkpoint after it where one is due; gives the loss, or nothing where it was asked
    /// to stop while it waited for data.
    fn advance(&mut self, stop: &Stop, reporter: &dyn Reporter) -> Result<Option<f32>> {
        let began = Instant::now();
        let source = self.sources.of_mut(self.step);
        let data = source.domain.name.clone();
        let Some(batch) = source.next(self.runtime, stop)? else {
            return Ok(None);
        };
        let waited = began.elapsed().as_secs_f64();
        let (patch, perturbation) = self.draw(self.step, batch.frames.batch());
        let Descent { loss, norm } = self.learn(batch, &patch, &perturbation)?;
        let seconds = began.elapsed().as_secs_f64();
        tracing::debug!(step = self.step, loss, %patch, seconds, waited, "step");
        self.wait.add(waited, seconds);
        self.log.push(Event::Step {
            step: self.step,
            loss,
            data,
            patch: patch.to_string(),
            lr: self.rate(self.step - 1),
            norm: Some(norm),
            seconds,
            waited,
        });
        self.log.write_when_due(self.runtime, reporter);
        reporter.advance(1);
        if self.step.is_multiple_of(self.config.train.checkpoint_every) {
            self.save_or_tell(loss, reporter)?;
        }
        Ok(Some(loss))
    }

    /// The loss and its gradient's norm are looked at after all of a step was asked of the device.
    fn learn(
        &mut self,
        batch: Batch,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<Descent> {
        let model = &self.sources.of(self.step).model;
        let (loss, gradients) =
            training_gradients(model, &batch.frames, patch, perturbation, self.activations)?;
        let optim = &self.config.optim;
        let pace = Pace {
            lr: self.rate(self.step),
            decay: optim.weight_decay,
            clip: optim.clip,
        };
        let parameters = self.model.parameters();
        self.whole = false;
        let found = self.optimizer.step(parameters, &loss, &gradients, pace)?;
        self.whole = true;
        if !found.is_finite() {
            let Descent { loss, norm } = found;
            let what = format!(
                "with patches of {patch} the loss is {loss} and its gradient's norm {norm}"
            );
            return Err(self.diverged(self.step + 1, what));
        }
        self.step += 1;
        Ok(found)
    }

    fn diverged(&self, step: u64, what: String) -> Error {
        let kept = self.kept;
        Error::Diverged { step, what, kept }
    }
}
