//! The run: windows in, steps, checkpoints out.
//!
//! What a step does is a pure function of (configuration, data sets, step): which windows it
//! sees, which patch size it draws, its learning rate. So a run that goes on from a checkpoint ends with
//! the same bytes as one that was never stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use wellspring_store::{Dataset, Frames, Location, Patch, Reporter};

use crate::checkpoint::{self, Checkpoint, fresh};
use crate::config::mebibytes;
use crate::device;
use crate::domain::{Domain, Domains};
use crate::log::{Event, Log};
use crate::model::{Perturbation, Surrogate};
use crate::optim::{AdamW, Descent, Pace, learning_rate};
use crate::previous::Previous;
use crate::source::Sources;
use crate::{Config, Error, Result, training_gradients};

/// How a run ended.
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

/// Trains a model on one data set or several and leaves it in `run`. Blocks; call it from a thread that is not the runtime's.
///
/// With `resume` it goes on from the newest sound checkpoint; a run that has all its steps is left as
/// it is. What differs from how the run began is told, and so is what of the data no model sees. When
/// `stop` becomes true it writes a checkpoint after the current step and returns.
///
/// # Errors
/// [`Error::RunExists`] without `resume` where a run is, [`Error::Resume`] when the run is of another
/// model or other data sets, [`Error::NoSoundCheckpoint`], [`Error::Diverged`], and what reading and
/// writing may give. Checkpoints that were written stay.
pub fn train(
    config: &Config,
    datasets: Vec<Arc<Dataset>>,
    run: &Location,
    resume: bool,
    stop: &AtomicBool,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Outcome> {
    config.validate()?;
    let before = runtime.block_on(async {
        match resume {
            true => Previous::find(config, run, &datasets, reporter).await,
            false => refuse_held(run).await.map(|()| None),
        }
    })?;
    let mut trainer = Trainer::new(config, datasets, run, before.as_ref(), runtime)?;
    if let Some(before) = before {
        if trainer.step >= trainer.steps {
            return Ok(trainer.outcome(trainer.step, before.checkpoint.state.loss, false));
        }
        trainer.go_on(&before, reporter)?;
    }
    trainer.start(reporter)?;
    reporter.begin("training", Some(trainer.steps), "steps");
    reporter.advance(trainer.step);
    let outcome = trainer.run(stop, reporter);
    reporter.end();
    outcome
}

struct Trainer<'a> {
    /// What was asked for, with the schedule's horizon.
    config: Config,
    run: &'a Location,
    runtime: &'a Handle,
    domains: Domains,
    device: Device,
    /// Bytes for what blocks keep until their backward pass.
    activations: u64,
    model: Surrogate,
    optimizer: AdamW,
    sources: Sources,
    log: Log,
    /// Steps taken, and in all.
    step: u64,
    steps: u64,
    /// The step of the newest checkpoint.
    kept: Option<u64>,
}

impl<'a> Trainer<'a> {
    /// Writes nothing yet.
    fn new(
        config: &Config,
        datasets: Vec<Arc<Dataset>>,
        run: &'a Location,
        before: Option<&Previous>,
        runtime: &'a Handle,
    ) -> Result<Self> {
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
            runtime,
            domains,
            device,
            activations,
            model,
            optimizer,
            sources: sources.after(step),
            log: Log::default(),
            step,
            steps,
            kept,
        })
    }

    /// Takes over what a run has beside its checkpoint: its log and, unless another was typed, its
    /// schedule's horizon. Says what has changed.
    fn go_on(&mut self, before: &Previous, reporter: &dyn Reporter) -> Result<()> {
        self.log = self
            .runtime
            .block_on(Log::load(self.run, self.step, reporter))?;
        let was = before.scheduled(self.sources.epoch_steps())?;
        let optim = &mut self.config.optim;
        optim.horizon = optim.horizon.or(was.optim.horizon);
        let changes = self.config.changes(&was)?;
        if !changes.is_empty() {
            let changes = changes.join(", ");
            reporter.note(&format!("from step {} on {changes}", self.step));
        }
        Ok(())
    }

    /// Writes what is needed to resume, and says once what a person should know of the run.
    fn start(&mut self, reporter: &dyn Reporter) -> Result<()> {
        self.config.optim.horizon.get_or_insert(self.steps.max(1));
        for source in self.sources.iter() {
            let unseen = source.unseen();
            if !unseen.is_empty() {
                reporter.note(&format!("{}: {unseen}", source.domain.name));
            }
        }
        let horizon = self.horizon();
        if self.steps > horizon {
            reporter.note(&format!(
                "warning: the learning rate is {} from step {horizon} on, where its schedule ends, and there \
                 are {} steps; --set optim.horizon={} stretches the schedule, and changes the rate at once",
                self.rate(horizon),
                self.steps,
                self.steps
            ));
        }
        let config = self.config.to_toml()?.into_bytes();
        self.runtime
            .block_on(self.run.join("config.toml").put(config))?;
        self.log.push(Event::Start {
            step: self.step,
            version: env!("CARGO_PKG_VERSION").into(),
            device: self.config.train.device.to_string(),
        });
        Ok(())
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
            let extent = (self.config.model.blocks, batch);
            perturbation = perturbation.drop_path(train.drop_path, extent, &mut rng);
        }
        (patch, perturbation)
    }

    fn run(&mut self, stop: &AtomicBool, reporter: &dyn Reporter) -> Result<Outcome> {
        let begun = self.step;
        let mut recent = Vec::new();
        while self.step < self.steps && !stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let source = self.sources.of_mut(self.step);
            let data = source.domain.name.clone();
            let batch = source.next(self.runtime)?;
            let waited = began.elapsed().as_secs_f64();
            let (patch, perturbation) = self.draw(self.step, batch.frames.batch());
            let Descent { loss, norm } = match self.learn(&batch.frames, &patch, &perturbation) {
                Ok(learned) => learned,
                Err(error) => {
                    self.leave_log(reporter);
                    return Err(error);
                }
            };
            self.log.push(Event::Step {
                step: self.step,
                loss,
                data,
                patch: patch.to_string(),
                lr: self.rate(self.step - 1),
                norm: Some(norm),
                seconds: began.elapsed().as_secs_f64(),
                waited,
            });
            recent.push(loss);
            reporter.advance(1);
            if self.step.is_multiple_of(self.config.train.checkpoint_every) {
                self.save(Some(loss))?;
            }
        }
        if self.kept != Some(self.step) {
            self.save(recent.last().copied())?;
        }
        let last = &recent[recent.len().saturating_sub(100)..];
        let mean = (!last.is_empty()).then(|| last.iter().sum::<f32>() / last.len() as f32);
        Ok(self.outcome(begun, mean, self.step < self.steps))
    }

    /// One step. The loss and its gradient's norm are looked at after all of it was asked of the device.
    fn learn(
        &mut self,
        frames: &Frames,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<Descent> {
        let model = &self.sources.of(self.step).model;
        let (loss, gradients) = training_gradients(
            model,
            frames,
            patch,
            perturbation,
            self.activations,
            &self.device,
        )?;
        let optim = &self.config.optim;
        let pace = Pace {
            lr: self.rate(self.step),
            decay: optim.weight_decay,
            clip: optim.clip,
        };
        let parameters = self.model.parameters();
        let found = self.optimizer.step(parameters, (&loss, &gradients), pace)?;
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

    /// Leaves the losses that led to an error.
    fn leave_log(&self, reporter: &dyn Reporter) {
        if let Err(error) = self.runtime.block_on(self.log.write(self.run)) {
            reporter.note(&format!("warning: the log could not be written: {error}"));
        }
    }

    fn save(&mut self, loss: Option<f32>) -> Result<()> {
        if let Some(name) = self.model.parameters().not_finite()? {
            return Err(self.diverged(self.step, format!("{name} is no longer a number")));
        }
        for source in self.sources.iter() {
            self.log.push(Event::Read {
                step: self.step,
                data: source.domain.name.clone(),
                traffic: source.traffic(),
            });
        }
        self.runtime.block_on(async {
            self.log.write(self.run).await?;
            let place = (self.step, loss);
            Checkpoint::write(
                self.run,
                place,
                &self.domains,
                self.model.parameters(),
                &self.optimizer,
            )
            .await?;
            checkpoint::retain(self.run, self.config.train.keep, self.step).await
        })?;
        self.kept = Some(self.step);
        Ok(())
    }
}

/// Refuses a place where a run is.
async fn refuse_held(run: &Location) -> Result<()> {
    let held = !checkpoint::steps(run).await?.is_empty();
    if held || run.join("config.toml").exists().await? {
        return Err(Error::RunExists {
            run: run.to_string(),
        });
    }
    Ok(())
}

/// Begins a run with weights from elsewhere: a checkpoint of step 0.
///
/// # Errors
/// [`Error::RunExists`], [`Error::Weights`], and what reading and writing may give.
pub async fn import(
    config: &Config,
    datasets: &[Arc<Dataset>],
    run: &Location,
    weights: &[u8],
    object: &str,
) -> Result<()> {
    config.validate()?;
    let domains = Domains::new(datasets.iter().map(|data| Domain::of(data)).collect())?;
    refuse_held(run).await?;
    let model = fresh(config, &domains, &config.train.device.open()?)?;
    model.parameters().load_safetensors(weights, object)?;
    run.join("config.toml")
        .put(config.to_toml()?.into_bytes())
        .await?;
    let optimizer = AdamW::new(model.parameters())?;
    Checkpoint::write(run, (0, None), &domains, model.parameters(), &optimizer).await
}
