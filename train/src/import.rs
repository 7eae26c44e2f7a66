//! A run that begins with weights from elsewhere.

use std::sync::Arc;

use wellspring_store::{Dataset, Location, Reporter};

use crate::checkpoint::{self, Checkpoint, fresh};
use crate::claim::{RunClaim, refuse_held};
use crate::domain::{Domain, Domains};
use crate::optim::AdamW;
use crate::{Config, Error, Result, leftovers};

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
    (weights, object): (&[u8], &str),
    reporter: &dyn Reporter,
) -> Result<()> {
    config.validate()?;
    let domains = Domains::new(datasets.iter().map(|data| Domain::of(data)).collect())?;
    let mut claim = RunClaim::open(run, reporter).await?;
    refuse_held(run).await?;
    refuse_trained(run).await?;
    let model = fresh(config, &domains, &config.train.device.open()?)?;
    model.parameters().load_safetensors(weights, object)?;
    let optimizer = AdamW::new(model.parameters())?;
    claim.take(reporter).await?;
    leftovers::sweep(run).await?;
    let place = (0, None);
    Checkpoint::write(run, place, &domains, model.parameters(), &optimizer, &claim).await?;
    let config = config.to_toml()?.into_bytes();
    match run.join("config.toml").put_new(config).await? {
        true => Ok(()),
        false => Err(Error::RunExists {
            run: run.to_string(),
        }),
    }
}

/// Refuses a run that has lost its configuration: a stopped import has no checkpoint but that of step 0.
async fn refuse_trained(run: &Location) -> Result<()> {
    match checkpoint::steps(run).await?.iter().any(|&step| step > 0) {
        true => Config::load(run).await.map(drop),
        false => Ok(()),
    }
}
