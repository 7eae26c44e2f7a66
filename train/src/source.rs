//! The data sets of a run, each with the model's weights for its channels and grid.

use std::sync::Arc;

use tokio::runtime::Handle;
use wellspring_store::{Batch, Dataset, IoStatistics, Patch};

use crate::augment::Augment;
use crate::domain::{Domain, Domains, Unseen};
use crate::feed::{Feeds, Mix};
use crate::loss::{Loss, check_fields};
use crate::model::Surrogate;
use crate::{Config, Result, Stop};

/// A data set of a run, with the model for its channels and grid.
pub(crate) struct Source {
    pub(crate) domain: Domain,
    /// The model's weights for its channels and boundaries.
    pub(crate) model: Surrogate,
    /// Random changes of its batches.
    augment: Option<Augment>,
    /// What is made small of its channels' errors.
    pub(crate) loss: Loss,
    /// The configured patch sizes, each checked on its grid.
    pub(crate) patches: Vec<Patch>,
    feeds: Feeds,
}

impl Source {
    fn new(
        config: &Config,
        dataset: Arc<Dataset>,
        domains: &Domains,
        model: &Surrogate,
    ) -> Result<Self> {
        let domain = Domain::of(&dataset);
        let model = model.view(domains.places(&domain)?, domain.boundaries.clone())?;
        let mut patches = Vec::new();
        for size in &config.model.patches {
            let patch = size.on(domain.space.len())?;
            model.tokens(&patch, &domain.space)?;
            patches.push(patch);
        }
        Ok(Self {
            domain,
            augment: match config.augment.changes_values() {
                false => None,
                true => Some(Augment::new(&config.augment, &dataset, config.train.seed)?),
            },
            loss: Loss::new(&config.loss, dataset.schema(), &model.device())?,
            model,
            patches,
            feeds: Feeds::new(config, dataset)?,
        })
    }

    /// The batch of a step, of this epoch or the one after; nothing where it was asked to stop meanwhile.
    pub(crate) fn next(
        &mut self,
        step: u64,
        runtime: &Handle,
        stop: &Stop,
    ) -> Result<Option<Batch>> {
        let mut batch = self.feeds.of_mut(step).next(runtime, stop)?;
        if let (Some(batch), Some(augment)) = (&mut batch, &self.augment) {
            augment.apply(&mut batch.frames, step);
        }
        Ok(batch)
    }

    /// What it holds that the model does not see.
    pub(crate) fn unseen(&self) -> Unseen {
        Unseen::of(self.feeds.dataset())
    }

    /// What reading it has cost.
    pub(crate) fn io_statistics(&self) -> IoStatistics {
        self.feeds.dataset().io_statistics()
    }
}

/// All data sets of a run.
pub(crate) struct Sources {
    list: Vec<Source>,
    mix: Mix,
}

impl Sources {
    pub(crate) fn new(
        config: &Config,
        datasets: Vec<Arc<Dataset>>,
        domains: &Domains,
        model: &Surrogate,
    ) -> Result<Self> {
        check_fields(&config.loss, datasets.iter().map(|data| data.schema()))?;
        let open = |dataset| Source::new(config, dataset, domains, model);
        let list = datasets
            .into_iter()
            .map(open)
            .collect::<Result<Vec<Source>>>()?;
        let feeds: Vec<&Feeds> = list.iter().map(|source| &source.feeds).collect();
        Ok(Self {
            mix: Mix::new(config, &feeds),
            list,
        })
    }

    /// Goes to where a run stands after some steps.
    pub(crate) fn after(mut self, steps: u64) -> Self {
        for step in 0..steps {
            self.of_mut(step).feeds.of_mut(step).given += 1;
        }
        self
    }

    /// Steps in which each source has on average seen all its windows once.
    pub(crate) fn epoch_steps(&self) -> u64 {
        self.list
            .iter()
            .map(|source| source.feeds.epoch_steps())
            .sum()
    }

    /// The source of a step.
    pub(crate) fn of(&self, step: u64) -> &Source {
        &self.list[self.mix.drawn(step)]
    }

    /// The source of a step, to read from it.
    pub(crate) fn of_mut(&mut self, step: u64) -> &mut Source {
        let drawn = self.mix.drawn(step);
        &mut self.list[drawn]
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }
}
