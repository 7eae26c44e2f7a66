//! What a run that goes on has been: its newest sound checkpoint and its configuration.

use std::sync::Arc;

use wellspring_store::{Dataset, Location, Reporter};

use crate::checkpoint::Checkpoint;
use crate::{Config, Error, Result};

/// A run that goes on.
pub(crate) struct Previous {
    pub(crate) checkpoint: Checkpoint,
    config: Config,
}

impl Previous {
    /// What a run of this configuration on these data sets goes on from; nothing where no checkpoint
    /// was ever whole.
    ///
    /// # Errors
    /// [`Error::Resume`] where it began as another run, and as [`Checkpoint::resumable`] and
    /// [`Config::load`].
    pub(crate) async fn find(
        config: &Config,
        run: &Location,
        datasets: &[Arc<Dataset>],
        reporter: &dyn Reporter,
    ) -> Result<Option<Self>> {
        let Some(checkpoint) = Checkpoint::resumable(run, reporter).await? else {
            return Ok(None);
        };
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
        Ok(Some(Self {
            checkpoint,
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
