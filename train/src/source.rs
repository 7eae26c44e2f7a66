//! The data sets of a run: which one a step sees, and the windows that it reads there.
//!
//! Which source a step draws is a pure function of (seed, step), so how many steps each has had is
//! too, and a resumed run finds its place in every source.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use wellspring_store::{
    Batch, Dataset, Loader, LoaderOptions, Order, Patch, Plan, Share, Split, WindowSpec,
};

use crate::domain::{Domain, Domains};
use crate::model::Surrogate;
use crate::{Config, Result};

/// One data set of a run.
pub(crate) struct Source {
    dataset: Arc<Dataset>,
    pub(crate) domain: Domain,
    /// The model's weights for its channels and boundaries.
    pub(crate) model: Surrogate,
    /// The configured patch sizes, each checked on its grid.
    pub(crate) patches: Vec<Patch>,
    plan: Plan,
    batch: usize,
    seed: u64,
    weight: f64,
    /// Steps that it has given, and the rest of the epoch that the next one lies in.
    given: u64,
    loader: Option<Loader>,
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
        let spec = WindowSpec::of_length(config.data.context + 1);
        let order = Order::Sequential;
        let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, Share::WHOLE)?;
        Ok(Self {
            weight: plan.len() as f64,
            dataset,
            domain,
            model,
            patches,
            plan,
            batch: config.train.batch,
            seed: config.train.seed,
            given: 0,
            loader: None,
        })
    }

    /// Steps that see every window once.
    fn epoch_steps(&self) -> u64 {
        self.plan.len().div_ceil(self.batch) as u64
    }

    /// The rest of the epoch that the next step lies in.
    fn open(&self, runtime: &Handle) -> Loader {
        let order = Order::Shuffled {
            seed: self.seed,
            epoch: self.given / self.epoch_steps(),
        };
        let options = LoaderOptions {
            batch: self.batch,
            skip: (self.given % self.epoch_steps()) as usize * self.batch,
            ..LoaderOptions::default()
        };
        let plan = self.plan.with_order(order);
        Loader::spawn(Arc::clone(&self.dataset), plan, options, runtime)
    }

    /// The next batch, of this epoch or the one after.
    pub(crate) fn next(&mut self, runtime: &Handle) -> Result<Batch> {
        loop {
            let mut loader = match self.loader.take() {
                Some(loader) => loader,
                None => self.open(runtime),
            };
            if let Some(batch) = loader.next() {
                self.loader = Some(loader);
                self.given += 1;
                return Ok(batch?);
            }
        }
    }
}

/// All data sets of a run.
pub(crate) struct Sources {
    list: Vec<Source>,
    seed: u64,
}

impl Sources {
    pub(crate) fn new(
        config: &Config,
        datasets: Vec<Arc<Dataset>>,
        domains: &Domains,
        model: &Surrogate,
    ) -> Result<Self> {
        let open = |dataset| Source::new(config, dataset, domains, model);
        let mut list = datasets
            .into_iter()
            .map(open)
            .collect::<Result<Vec<Source>>>()?;
        for (source, weight) in list.iter_mut().zip(&config.data.weights) {
            source.weight = *weight;
        }
        Ok(Self {
            list,
            seed: config.train.seed,
        })
    }

    /// Goes to where a run stands after some steps.
    pub(crate) fn after(mut self, steps: u64) -> Self {
        for step in 0..steps {
            let drawn = self.drawn(step);
            self.list[drawn].given += 1;
        }
        self
    }

    /// Steps in which each source has on average seen all its windows once.
    pub(crate) fn epoch_steps(&self) -> u64 {
        self.list.iter().map(Source::epoch_steps).sum()
    }

    fn drawn(&self, step: u64) -> usize {
        if self.list.len() == 1 {
            return 0;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5eed);
        rng.set_stream(step);
        let total: f64 = self.list.iter().map(|source| source.weight).sum();
        let mut at = rng.random_range(0.0..total);
        for (index, source) in self.list.iter().enumerate() {
            at -= source.weight;
            if at < 0.0 {
                return index;
            }
        }
        self.list.len() - 1
    }

    /// The source of a step.
    pub(crate) fn of(&self, step: u64) -> &Source {
        &self.list[self.drawn(step)]
    }

    /// The same, to read from.
    pub(crate) fn of_mut(&mut self, step: u64) -> &mut Source {
        let drawn = self.drawn(step);
        &mut self.list[drawn]
    }
}
