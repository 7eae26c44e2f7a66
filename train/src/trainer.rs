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
use crate::domain::{Domain, Domains};
use crate::log::{Event, Log};
use crate::model::{Perturbation, Surrogate};
use crate::optim::{AdamW, learning_rate};
use crate::source::Sources;
use crate::{Config, Error, Result, training_gradients};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Steps taken in all.
    pub step: u64,
    /// Steps taken before it went on.
    pub begun: u64,
    /// Mean loss of the last steps, at most a hundred.
    pub loss: f32,
    /// Numbers that the model has learned.
    pub parameters: usize,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

/// Trains a model on one data set or several and leaves it in `run`. Blocks; call it from a thread that is not the runtime's.
///
/// With `resume` it goes on from the last whole checkpoint. When `stop` becomes true it writes a
/// checkpoint after the current step and returns.
///
/// # Errors
/// [`Error::RunExists`] without `resume` where a run is, [`Error::Resume`] when the run is of another
/// model or other data sets, [`Error::Diverged`], and what reading and writing may give. Checkpoints that
/// were written stay.
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
    let mut trainer = Trainer::begin(config, datasets, run, resume, runtime)?;
    reporter.begin("training", Some(trainer.steps), "steps");
    reporter.advance(trainer.step);
    let outcome = trainer.run(stop, reporter);
    reporter.end();
    outcome
}

struct Trainer<'a> {
    config: &'a Config,
    run: &'a Location,
    runtime: &'a Handle,
    domains: Domains,
    device: Device,
    model: Surrogate,
    optimizer: AdamW,
    sources: Sources,
    log: Log,
    /// Steps taken, and in all.
    step: u64,
    steps: u64,
}

impl<'a> Trainer<'a> {
    fn begin(
        config: &'a Config,
        datasets: Vec<Arc<Dataset>>,
        run: &'a Location,
        resume: bool,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let domains = Domains::new(datasets.iter().map(|data| Domain::of(data)).collect())?;
        let device = config.train.device.open()?;
        let found = runtime.block_on(previous(config, run, &datasets, resume))?;
        let model = match &found {
            Some(checkpoint) => runtime.block_on(checkpoint.model(config, config.train.device))?,
            None => fresh(config, &domains, &device)?,
        };
        let step = found.as_ref().map_or(0, |checkpoint| checkpoint.state.step);
        let sources = Sources::new(config, datasets, &domains, &model)?.after(step);
        let (optimizer, log) = match &found {
            Some(checkpoint) => runtime.block_on(async {
                Ok::<_, Error>((
                    checkpoint.optimizer(model.parameters()).await?,
                    Log::load(run, step).await?,
                ))
            })?,
            None => (AdamW::new(model.parameters())?, Log::default()),
        };
        runtime.block_on(run.join("config.toml").put(config.to_toml()?.into_bytes()))?;
        let epochs = config.train.epochs;
        let mut trainer = Self {
            config,
            run,
            runtime,
            domains,
            device,
            model,
            optimizer,
            steps: epochs.map_or(config.train.steps, |epochs| epochs * sources.epoch_steps()),
            sources,
            log,
            step,
        };
        trainer.log.push(Event::Start {
            step,
            version: env!("CARGO_PKG_VERSION").into(),
            device: config.train.device.to_string(),
        });
        Ok(trainer)
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
        let mut written = None;
        while self.step < self.steps && !stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let source = self.sources.of_mut(self.step);
            let data = source.domain.name.clone();
            let batch = source.next(self.runtime)?;
            let waited = began.elapsed().as_secs_f64();
            let (patch, perturbation) = self.draw(self.step, batch.frames.batch());
            let loss = self.learn(&batch.frames, &patch, &perturbation)?;
            self.log.push(Event::Step {
                step: self.step,
                loss,
                data,
                patch: patch.to_string(),
                lr: learning_rate(&self.config.optim, self.step - 1, self.steps),
                seconds: began.elapsed().as_secs_f64(),
                waited,
            });
            recent.push(loss);
            reporter.advance(1);
            if self.step.is_multiple_of(self.config.train.checkpoint_every) {
                self.save(Some(loss))?;
                written = Some(self.step);
            }
        }
        if written != Some(self.step) {
            self.save(recent.last().copied())?;
        }
        let last = &recent[recent.len().saturating_sub(100)..];
        Ok(Outcome {
            step: self.step,
            begun,
            loss: last.iter().sum::<f32>() / last.len() as f32,
            parameters: self.model.parameters().count(),
            stopped: self.step < self.steps,
        })
    }

    fn learn(
        &mut self,
        frames: &Frames,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<f32> {
        let model = &self.sources.of(self.step).model;
        let limit = self.config.train.activations_mib << 20;
        let (value, gradients) =
            training_gradients(model, frames, patch, perturbation, limit, &self.device)?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                step: self.step + 1,
                patch: patch.to_string(),
                loss: value,
            });
        }
        let optim = &self.config.optim;
        let lr = learning_rate(optim, self.step, self.steps);
        self.optimizer
            .step(self.model.parameters(), &gradients, lr, optim.weight_decay)?;
        self.step += 1;
        Ok(value)
    }

    fn save(&mut self, loss: Option<f32>) -> Result<()> {
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
            checkpoint::retain(self.run, self.config.train.keep).await
        })
    }
}

/// The checkpoint to go on from, if there is one and it fits.
async fn previous(
    config: &Config,
    run: &Location,
    datasets: &[Arc<Dataset>],
    resume: bool,
) -> Result<Option<Checkpoint>> {
    let held = !checkpoint::steps(run).await?.is_empty();
    if !resume && (held || run.join("config.toml").exists().await?) {
        return Err(Error::RunExists {
            run: run.to_string(),
        });
    }
    if !held {
        return Ok(None);
    }
    let checkpoint = Checkpoint::find(run, None).await?;
    let before = Config::load(run).await?;
    let differs = |what: &str| Error::Resume {
        run: run.to_string(),
        reason: format!("{what} is not the one that it began with"),
    };
    if before.model != config.model {
        return Err(differs("[model]"));
    }
    if !before.data.reads_alike(&config.data) {
        return Err(differs(
            "data.context, stride, every, starts, weights, temperature or lanes",
        ));
    }
    let drawn = |config: &Config| {
        let train = &config.train;
        (train.seed, train.batch, train.jitter, train.drop_path)
    };
    if drawn(&before) != drawn(config) {
        return Err(differs("train.seed, batch, jitter or drop_path"));
    }
    if !checkpoint.state.domains.are_of(datasets) {
        return Err(differs(&format!("the data set {}", config.data.root)));
    }
    Ok(Some(checkpoint))
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
    previous(config, run, datasets, false).await?;
    let model = fresh(config, &domains, &config.train.device.open()?)?;
    model.parameters().load_safetensors(weights, object)?;
    run.join("config.toml")
        .put(config.to_toml()?.into_bytes())
        .await?;
    let optimizer = AdamW::new(model.parameters())?;
    Checkpoint::write(run, (0, None), &domains, model.parameters(), &optimizer).await?;
    Ok(())
}
