//! The data sets of a run, each with the model's weights for its channels and grid.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::runtime::Handle;
use wellspring_store::{Conditions, Dataset, Frames, IoStatistics, Patch, Share};

use crate::augment::Augment;
use crate::domain::{Domain, Domains, UnusedInputs};
use crate::feed::{Feeds, Mix, StepBatch};
use crate::inputs::{InputReader, InputValues};
use crate::loss::{Loss, check_fields};
use crate::model::Surrogate;
use crate::{Config, InputKind, Result, Stop};

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
    inputs: InputReader,
    feeds: Feeds,
    /// What this rank reads of each batch.
    share: Share,
}

impl Source {
    fn new(
        config: &Config,
        (dataset, domain): (Arc<Dataset>, &Domain),
        domains: &Domains,
        model: &Surrogate,
        share: Share,
    ) -> Result<Self> {
        let inputs = InputReader::new(domain, domains)?;
        let model = model.view(domains.places(domain)?, domain.boundaries.clone())?;
        let model = model.seeing(inputs.places())?;
        let mut patches = Vec::new();
        for size in config.model.patches() {
            let patch = size.on(domain.space.len())?;
            model.tokens(&patch, &domain.space)?;
            patches.push(patch);
        }
        Ok(Self {
            domain: domain.clone(),
            augment: match config.augment.changes_values() {
                false => None,
                true => Some(Augment::new(&config.augment, &dataset, config.train.seed)?),
            },
            loss: Loss::new(&config.loss, dataset.schema(), &model.device())?,
            model,
            patches,
            feeds: Feeds::new(config, dataset, inputs.conditioning(), share)?,
            inputs,
            share,
        })
    }

    /// What the model sees beside the frames of a context, which are all but the last.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for a value that is missing or not finite.
    pub(crate) fn inputs(
        &self,
        conditions: &[Conditions],
        frames: &Frames,
    ) -> Result<Option<InputValues>> {
        let time = frames.time().saturating_sub(1);
        self.inputs.values(conditions, frames, time)
    }

    /// The batch of a step, of this epoch or the one after; nothing where it was asked to stop meanwhile.
    pub(crate) fn next(
        &mut self,
        step: u64,
        runtime: &Handle,
        stop: &Stop,
    ) -> Result<Option<StepBatch>> {
        let mut found = self.feeds.of_mut(step).next(runtime, stop)?;
        let own = found.as_mut().and_then(|found| found.own.as_mut());
        if let (Some(own), Some(augment)) = (own, &self.augment) {
            augment.apply(&mut own.frames, &mut own.conditions, step, self.share);
        }
        Ok(found)
    }

    /// What a person should know of what the model sees of it.
    pub(crate) fn remarks(&self, kinds: &BTreeSet<InputKind>) -> Vec<String> {
        let (name, unseen) = (
            &self.domain.name,
            UnusedInputs::of(self.feeds.dataset(), kinds),
        );
        let unseen = (!unseen.is_empty()).then(|| {
            format!(
                "{name}: {unseen}; {} makes them inputs",
                unseen.remedy(kinds)
            )
        });
        let lacking = self.domain.lacks(kinds).into_iter();
        let lacking = lacking.map(|kind| format!("{name} has no {kind} for model.inputs"));
        unseen.into_iter().chain(lacking).collect()
    }

    /// Identity of the data set as it is.
    pub(crate) fn manifest_id(&self) -> String {
        self.feeds.dataset().manifest().id()
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
        share: Share,
    ) -> Result<Self> {
        check_fields(&config.loss, datasets.iter().map(|data| data.schema()))?;
        let open = |known| Source::new(config, known, domains, model, share);
        let list = datasets
            .into_iter()
            .zip(domains.iter())
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
