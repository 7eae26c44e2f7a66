//! The state of a run that is resumed: its newest sound checkpoint and its configuration.

use std::sync::Arc;

use wellspring_store::{Dataset, Location, Manifest, Reporter};

use crate::checkpoint::{self, Checkpoint};
use crate::domain::{Domain, training};
use crate::{Config, Error, Result};

/// A run that goes on.
pub(crate) struct ResumedRun {
    pub(crate) checkpoint: Checkpoint,
    /// The data sets, each in a generation of which training reads what it read before.
    pub(crate) datasets: Vec<Arc<Dataset>>,
    config: Config,
}

impl ResumedRun {
    /// What a run of this configuration on these data sets goes on from: the checkpoint after a step, or
    /// the newest; nothing where none was ever whole.
    ///
    /// # Errors
    /// [`Error::Resume`] where it began as another run, and as [`Checkpoint::resumable`] and
    /// [`Config::load`].
    pub(crate) async fn find(
        config: &Config,
        run: &Location,
        step: Option<u64>,
        datasets: &[Arc<Dataset>],
        reporter: &dyn Reporter,
    ) -> Result<Option<Self>> {
        let Some(checkpoint) = Checkpoint::resumable(run, step, reporter).await? else {
            return refuse_unfinished(run).await.map(|()| None);
        };
        let before = Config::load(run).await?;
        let differs = |what: &str| Error::Resume {
            run: run.to_string(),
            reason: format!("{what} is not the one that it began with"),
        };
        if let Some(reason) = difference(&before, config)? {
            let run = run.to_string();
            return Err(Error::Resume { run, reason });
        }
        let domains: Vec<&Domain> = checkpoint.state.domains.iter().collect();
        if domains.len() != datasets.len() {
            return Err(differs("data.root"));
        }
        let mut begun = Vec::new();
        for (domain, dataset) in domains.into_iter().zip(datasets) {
            let found = as_begun(domain, dataset, reporter).await?;
            begun.push(found.ok_or_else(|| {
                let root = dataset.location();
                differs(&format!(
                    "the data set {root} (or it was changed and the generation that the run reads is not \
                     kept: a purge deletes it)"
                ))
            })?);
        }
        Ok(Some(Self {
            checkpoint,
            datasets: begun,
            config: before,
        }))
    }

    /// The configuration with the horizon that its schedule has had, where an epoch has so many steps.
    /// Runs that began before there was a horizon ended their schedule with their steps; one that has
    /// not taken any has none yet.
    pub(crate) fn scheduled(&self, epoch: u64) -> Result<Config> {
        let mut config = self.config.clone();
        if config.optim.horizon.is_none() && self.checkpoint.state.step > 0 {
            config.optim.horizon = Some(config.steps(epoch)?.max(1));
        }
        Ok(config)
    }
}

/// Settings that are fixed when a run begins: sections, and keys of others.
const FIXED: [&str; 13] = [
    "model",
    "augment",
    "data.context",
    "data.stride",
    "data.every",
    "data.starts",
    "data.weights",
    "data.temperature",
    "data.lanes",
    "train.seed",
    "train.batch",
    "train.jitter",
    "train.drop_path",
];

/// What of a configuration makes it another run, if anything does.
fn difference(before: &Config, now: &Config) -> Result<Option<String>> {
    let is_fixed = |change: &String| {
        let key = change.split(" = ").next().unwrap_or(change);
        let section = key.split('.').next().unwrap_or(key);
        FIXED.contains(&key) || FIXED.contains(&section)
    };
    let mut changes = now.changes(before)?;
    changes.retain(is_fixed);
    let said = changes.join(", ");
    let refusal = || format!("{said}: fixed when a run begins; begin another run for it");
    Ok((!changes.is_empty()).then(refusal))
}

/// Refuses a place with checkpoints and without a configuration, as an import leaves it that was stopped: it
/// is not trained on from other weights.
pub(crate) async fn refuse_unfinished(run: &Location) -> Result<()> {
    match checkpoint::folders(run).await?.is_empty() {
        true => Ok(()),
        false => Config::load(run).await.map(drop),
    }
}

/// The data set with what a run has read of it: as it is, where that is unchanged, else in the earlier
/// generation; nothing where that is not kept.
async fn as_begun(
    domain: &Domain,
    dataset: &Arc<Dataset>,
    reporter: &dyn Reporter,
) -> Result<Option<Arc<Dataset>>> {
    let (now, root) = (dataset.manifest(), dataset.location());
    if domain.is_of(now) {
        return Ok(Some(Arc::clone(dataset)));
    }
    let unchanged = || {
        reporter.note(&format!(
            "{root} has changed, but not what training reads of it"
        ));
        Some(Arc::clone(dataset))
    };
    if domain.reads(now) {
        return Ok(unchanged());
    }
    let began = |earlier: &Manifest| domain.is_of(earlier) || domain.reads(earlier);
    let Some(earlier) = dataset.earlier(began).await? else {
        return Ok(None);
    };
    // Older checkpoints do not say what they read.
    if training(earlier.manifest()) == training(now) {
        return Ok(unchanged());
    }
    let generation = earlier.manifest().generation;
    reporter.note(&format!(
        "{root} has changed; training goes on with generation {generation}, which it began with"
    ));
    Ok(Some(Arc::new(earlier)))
}
