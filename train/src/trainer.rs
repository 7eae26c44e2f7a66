//! The run: windows in, steps, checkpoints out.
//!
//! What a step does is a pure function of (configuration, data set, step): which windows it sees,
//! which patch size it draws, its learning rate. So a run that goes on from a checkpoint ends with
//! the same bytes as one that was never stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use wellspring_store::{
    Dataset, Frames, Loader, LoaderOptions, Location, Order, Patch, Plan, Reporter, Share, Split,
    WindowSpec,
};

use crate::checkpoint::{self, Checkpoint, Domain};
use crate::log::{Event, Log};
use crate::model::Surrogate;
use crate::optim::{AdamW, learning_rate};
use crate::{Config, Error, Result, training_loss};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Steps taken in all.
    pub step: u64,
    /// Mean loss of the last steps, at most a hundred.
    pub loss: f32,
    /// Numbers that the model has learned.
    pub parameters: usize,
    /// Whether it was asked to stop before its end.
    pub stopped: bool,
}

/// Trains a model and leaves it in `run`. Blocks; call it from a thread that is not the runtime's.
///
/// With `resume` it goes on from the last whole checkpoint. When `stop` becomes true it writes a
/// checkpoint after the current step and returns.
///
/// # Errors
/// [`Error::RunExists`] without `resume` where a run is, [`Error::Resume`] when the run is of another
/// model or data set, [`Error::Diverged`], and what reading and writing may give. Checkpoints that
/// were written stay.
pub fn train(
    config: &Config,
    dataset: Arc<Dataset>,
    run: &Location,
    resume: bool,
    stop: &AtomicBool,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Outcome> {
    config.validate()?;
    let mut trainer = Trainer::begin(config, dataset, run, resume, runtime)?;
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
    dataset: Arc<Dataset>,
    domain: Domain,
    device: Device,
    model: Surrogate,
    optimizer: AdamW,
    patches: Vec<Patch>,
    plan: Plan,
    log: Log,
    /// Steps taken, and in all.
    step: u64,
    steps: u64,
}

impl<'a> Trainer<'a> {
    fn begin(
        config: &'a Config,
        dataset: Arc<Dataset>,
        run: &'a Location,
        resume: bool,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let domain = Domain::of(&dataset);
        let device = config.train.device.open()?;
        let found = runtime.block_on(previous(config, run, &domain, resume))?;
        let model = match &found {
            Some(checkpoint) => runtime.block_on(checkpoint.model(config, config.train.device))?,
            None => Surrogate::new(
                &config.model,
                domain.channels.len(),
                domain.boundaries.clone(),
                config.train.seed,
                &device,
            )?,
        };
        let patches = patches(config, &model, &domain.space)?;
        let order = Order::Sequential;
        let spec = WindowSpec::of_length(config.data.context + 1);
        let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, Share::WHOLE)?;
        let step = found.as_ref().map_or(0, |checkpoint| checkpoint.state.step);
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
        let mut trainer = Self {
            config,
            run,
            runtime,
            dataset,
            domain,
            device,
            model,
            optimizer,
            patches,
            plan,
            log,
            step,
            steps: 0,
        };
        trainer.steps = config
            .train
            .epochs
            .map_or(config.train.steps, |epochs| epochs * trainer.epoch_steps());
        trainer.log.push(Event::Start {
            step,
            version: env!("CARGO_PKG_VERSION").into(),
            device: config.train.device.to_string(),
        });
        Ok(trainer)
    }

    /// Steps that see every window once.
    fn epoch_steps(&self) -> u64 {
        self.plan.len().div_ceil(self.config.train.batch) as u64
    }

    /// The rest of the epoch that a step lies in.
    fn loader(&self, step: u64) -> Loader {
        let order = Order::Shuffled {
            seed: self.config.train.seed,
            epoch: step / self.epoch_steps(),
        };
        let batch = self.config.train.batch;
        let options = LoaderOptions {
            batch,
            skip: (step % self.epoch_steps()) as usize * batch,
            ..LoaderOptions::default()
        };
        Loader::spawn(
            Arc::clone(&self.dataset),
            self.plan.with_order(order),
            options,
            self.runtime,
        )
    }

    /// The patch size of a step, the same on every machine.
    fn patch(&self, step: u64) -> &Patch {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.train.seed);
        rng.set_stream(step + 1);
        &self.patches[rng.random_range(0..self.patches.len())]
    }

    fn run(&mut self, stop: &AtomicBool, reporter: &dyn Reporter) -> Result<Outcome> {
        let mut recent = Vec::new();
        let mut loader = self.loader(self.step);
        let mut written = None;
        while self.step < self.steps && !stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            let batch = match loader.next() {
                Some(batch) => batch?,
                None => {
                    loader = self.loader(self.step);
                    continue;
                }
            };
            let waited = began.elapsed().as_secs_f64();
            let loss = self.learn(&batch.frames)?;
            self.log.push(Event::Step {
                step: self.step,
                loss,
                patch: self.patch(self.step - 1).to_string(),
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
            loss: last.iter().sum::<f32>() / last.len() as f32,
            parameters: self.model.parameters().count(),
            stopped: self.step < self.steps,
        })
    }

    fn learn(&mut self, frames: &Frames) -> Result<f32> {
        let patch = self.patch(self.step).clone();
        let loss = training_loss(&self.model, frames, &patch, &self.device)?;
        let value: f32 = loss.to_scalar()?;
        if !value.is_finite() {
            return Err(Error::Diverged {
                step: self.step + 1,
                patch: patch.to_string(),
                loss: value,
            });
        }
        let optim = &self.config.optim;
        let lr = learning_rate(optim, self.step, self.steps);
        self.optimizer.step(
            self.model.parameters(),
            &loss.backward()?,
            lr,
            optim.weight_decay,
        )?;
        self.step += 1;
        Ok(value)
    }

    fn save(&self, loss: Option<f32>) -> Result<()> {
        self.runtime.block_on(async {
            self.log.write(self.run).await?;
            let place = (self.step, loss);
            Checkpoint::write(
                self.run,
                place,
                &self.domain,
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
    domain: &Domain,
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
    if before.data.context != config.data.context {
        return Err(differs("data.context"));
    }
    if (before.train.seed, before.train.batch) != (config.train.seed, config.train.batch) {
        return Err(differs("train.seed or train.batch"));
    }
    if checkpoint.state.domain != *domain {
        return Err(differs(&format!("the data set {}", config.data.root)));
    }
    Ok(Some(checkpoint))
}

/// The configured patch sizes on this grid, each checked.
fn patches(config: &Config, model: &Surrogate, space: &[usize]) -> Result<Vec<Patch>> {
    let of = |&size: &usize| {
        let patch = Patch::uniform(size, space.len());
        model.tokens(&patch, space).map(|_| patch)
    };
    config.model.patches.iter().map(of).collect()
}

/// Begins a run with weights from elsewhere: a checkpoint of step 0.
///
/// # Errors
/// [`Error::RunExists`], [`Error::Weights`], and what reading and writing may give.
pub async fn import(
    config: &Config,
    dataset: &Dataset,
    run: &Location,
    weights: &[u8],
    object: &str,
) -> Result<()> {
    config.validate()?;
    let domain = Domain::of(dataset);
    previous(config, run, &domain, false).await?;
    let device = config.train.device.open()?;
    let model = Surrogate::new(
        &config.model,
        domain.channels.len(),
        domain.boundaries.clone(),
        config.train.seed,
        &device,
    )?;
    model.parameters().load_safetensors(weights, object)?;
    run.join("config.toml")
        .put(config.to_toml()?.into_bytes())
        .await?;
    let optimizer = AdamW::new(model.parameters())?;
    Checkpoint::write(run, (0, None), &domain, model.parameters(), &optimizer).await?;
    Ok(())
}
