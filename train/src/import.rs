//! Starts a run from weights of a PyTorch state dict, or of another run whose channels have the same names.

mod matched;

use std::sync::Arc;

use wellspring_store::{Dataset, Location, Reporter, Share};

use crate::checkpoint::{self, Checkpoint, CheckpointChoice, TrainingState, fresh};
use crate::claim::{RunClaim, refuse_held};
use crate::domain::Domains;
use crate::model::Surrogate;
use crate::optim::AdamW;
use crate::progress::Progress;
use crate::{Config, Error, ModelChoice, Result, leftovers};
pub use matched::NameMatch;

/// Weights from elsewhere: a PyTorch state dict with the model's names and shapes, as safetensors.
#[derive(Debug, Clone, Copy)]
pub struct StateDict<'a> {
    /// The file's bytes.
    pub bytes: &'a [u8],
    /// The file's name, for errors.
    pub object: &'a str,
}

/// Begins a run with weights from elsewhere: a checkpoint of step 0. The configuration, without which there
/// is no run, is written last; so one that was stopped can be done again, and never trains other weights.
///
/// # Errors
/// [`Error::RunExists`], [`Error::Busy`], [`Error::Weights`] or [`Error::NotFinite`] for weights that are
/// not the model's, and what reading and writing may give.
pub async fn import(
    config: &Config,
    datasets: &[Arc<Dataset>],
    run: &Location,
    weights: StateDict<'_>,
    reporter: &dyn Reporter,
) -> Result<()> {
    config.validate()?;
    let domains = Domains::of_run(datasets, config).await?;
    let model = fresh(config, &domains, &config.train.device.open()?)?;
    model
        .parameters()
        .load_safetensors(weights.bytes, weights.object)?;
    begin(config, &domains, &model, run, reporter).await
}

/// Begins a run with the weights of one of another run's checkpoints: a
/// checkpoint of step 0. Channels and inputs are matched by name; those that the other run does not have begin
/// afresh. Says which.
///
/// # Errors
/// As [`import`], and [`Checkpoint::find`].
pub async fn fine_tune(
    config: &Config,
    datasets: &[Arc<Dataset>],
    run: &Location,
    (source, choice): (&Location, ModelChoice),
    reporter: &dyn Reporter,
) -> Result<NameMatch> {
    config.validate()?;
    let checkpoint = Checkpoint::find(source, choice, reporter).await?;
    let domains = Domains::of_run(datasets, config).await?;
    let matched = NameMatch::of(&domains, &checkpoint.state.domains);
    let model = fresh(config, &domains, &config.train.device.open()?)?;
    let object = source.to_string();
    let weights = matched.carried(checkpoint.weights(), &object, &model)?;
    model.parameters().load_safetensors(&weights, &object)?;
    begin(config, &domains, &model, run, reporter).await?;
    Ok(matched)
}

/// Writes a run that has learned nothing since its weights were made.
async fn begin(
    config: &Config,
    domains: &Domains,
    model: &Surrogate,
    run: &Location,
    reporter: &dyn Reporter,
) -> Result<()> {
    let mut claim = RunClaim::open(run, reporter).await?;
    let text = config.to_toml()?.into_bytes();
    if is_made(run, &text, model, reporter).await? {
        claim.take(reporter).await?;
        return leftovers::sweep(run).await.map(drop);
    }
    refuse_held(run).await?;
    refuse_trained(run).await?;
    let learned = TrainingState {
        domains,
        parameters: model.parameters(),
        optimizer: &AdamW::new(model.parameters())?,
        average: None,
        share: Share::WHOLE,
    };
    let snapshot = learned.snapshot(0, None, Progress::default())?;
    claim.take(reporter).await?;
    leftovers::sweep(run).await?;
    snapshot.write(run, &claim).await?;
    match run.join("config.toml").put_new(text).await? {
        true => Ok(()),
        false => Err(Error::RunExists {
            run: run.to_string(),
        }),
    }
}

/// Whether a run is what this import makes, with nothing trained since: one that was stopped at its very end
/// is done again without harm.
async fn is_made(
    run: &Location,
    config: &[u8],
    model: &Surrogate,
    reporter: &dyn Reporter,
) -> Result<bool> {
    let held = run.join("config.toml").get_opt().await?;
    if held.is_none_or(|held| *held != *config) || checkpoint::steps(run).await? != [0] {
        return Ok(false);
    }
    let weights = model.parameters().to_safetensors()?;
    let there = Checkpoint::find(run, CheckpointChoice::Step(0).into(), reporter).await;
    Ok(there.is_ok_and(|there| there.weights() == weights))
}

/// Refuses a run that has lost its configuration: a stopped import has no checkpoint but that of step 0.
async fn refuse_trained(run: &Location) -> Result<()> {
    match checkpoint::steps(run).await?.iter().any(|&step| step > 0) {
        true => Config::load(run).await.map(drop),
        false => Ok(()),
    }
}
