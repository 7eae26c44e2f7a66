//! The data of a run: windows of one data set, epoch after epoch, and the data set and the stride that each step
//! draws.
//!
//! All are pure functions of (configuration, data sets, step), so a resumed run finds its place in
//! every data set by counting.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use wellspring_store::{
    Batch, Conditioning, Dataset, Loader, LoaderOptions, Order, Plan, ReadCost, Share, Split,
    WindowSpec,
};

use crate::domain::{Domain, Domains};
use crate::inputs::InputReader;
use crate::{Config, Result, Stop};

/// A data set of a run: a feed for each factor of its stride that steps draw.
pub(crate) struct Feeds {
    /// Factors 1, 2, …
    by_factor: Vec<Feed>,
    seed: u64,
}

impl Feeds {
    /// What batches have beside frames is what the model sees.
    pub(crate) fn new(
        config: &Config,
        dataset: Arc<Dataset>,
        conditions: Conditioning,
        share: Share,
    ) -> Result<Self> {
        let factors = 1..=config.augment.stride;
        let feed = |factor| Feed::new(config, Arc::clone(&dataset), conditions, factor, share);
        Ok(Self {
            by_factor: factors.map(feed).collect::<Result<_>>()?,
            seed: config.train.seed,
        })
    }

    pub(crate) fn dataset(&self) -> &Dataset {
        &self.by_factor[0].dataset
    }

    /// Windows of an epoch, at the configured stride.
    fn windows(&self) -> usize {
        self.by_factor[0].windows()
    }

    /// Steps that see each of them once.
    pub(crate) fn epoch_steps(&self) -> u64 {
        self.by_factor[0].epoch_steps()
    }

    /// The place of the factor that a step draws.
    fn drawn(&self, step: u64) -> usize {
        if self.by_factor.len() == 1 {
            return 0;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x571d);
        rng.set_stream(step);
        rng.random_range(0..self.by_factor.len())
    }

    /// The feed of a step.
    pub(crate) fn of_mut(&mut self, step: u64) -> &mut Feed {
        let drawn = self.drawn(step);
        &mut self.by_factor[drawn]
    }

    /// What some steps will cost.
    fn cost(&self, steps: impl Iterator<Item = u64>) -> Result<ReadCost> {
        let mut counts = vec![0; self.by_factor.len()];
        steps.for_each(|step| counts[self.drawn(step)] += 1);
        let mut sum = ReadCost::default();
        for (feed, count) in self.by_factor.iter().zip(counts) {
            sum += feed.cost(count)?;
        }
        Ok(sum)
    }
}

/// Windows of a data set at one stride, with their order and their loader.
pub(crate) struct Feed {
    dataset: Arc<Dataset>,
    plan: Plan,
    /// What this rank reads of each batch.
    share: Share,
    /// Windows of a step, over all ranks.
    batch: usize,
    options: LoaderOptions,
    seed: u64,
    /// Shards whose windows are mixed; those of the whole split if not said.
    lanes: Option<usize>,
    /// Steps that it has given, and the rest of the epoch that the next one lies in.
    pub(crate) given: u64,
    loader: Option<Loader>,
}

impl Feed {
    /// What batches have beside frames is what the model sees.
    fn new(
        config: &Config,
        dataset: Arc<Dataset>,
        conditions: Conditioning,
        factor: usize,
        share: Share,
    ) -> Result<Self> {
        let spec = WindowSpec {
            stride: config.data.stride.saturating_mul(factor),
            every: config.data.every,
            most: config.data.starts,
            ..WindowSpec::of_length(config.data.context + 1)
        };
        let order = Order::Sequential;
        let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, share)?;
        Ok(Self {
            dataset,
            plan,
            share,
            batch: config.train.batch,
            options: LoaderOptions {
                batch: config.train.batch / share.world,
                threads: config.data.threads,
                conditions,
                ..LoaderOptions::default()
            },
            seed: config.train.seed,
            lanes: config.data.lanes,
            given: 0,
            loader: None,
        })
    }

    /// Windows of an epoch.
    fn windows(&self) -> usize {
        self.plan.total()
    }

    /// Steps that see every window once.
    fn epoch_steps(&self) -> u64 {
        self.windows().div_ceil(self.batch) as u64
    }

    /// An epoch's windows in its order.
    fn epoch(&self, epoch: u64) -> Plan {
        let seed = self.seed;
        self.plan.with_order(match self.lanes {
            None => Order::Shuffled { seed, epoch },
            Some(lanes) => Order::Streamed { seed, epoch, lanes },
        })
    }

    /// What is left of the epoch that step `given` lies in.
    fn rest(&self, given: u64) -> Result<Plan> {
        let epoch = self.epoch(given / self.epoch_steps());
        Ok(epoch.after(self.seen(given), self.share)?)
    }

    /// Windows of its epoch that come before a step.
    fn seen(&self, given: u64) -> usize {
        (given % self.epoch_steps()) as usize * self.batch
    }

    /// The next batch, of this epoch or the one after; nothing where it was asked to stop meanwhile.
    pub(crate) fn next(&mut self, runtime: &Handle, stop: &Stop) -> Result<Option<StepBatch>> {
        let windows = self.batch.min(self.windows() - self.seen(self.given));
        if self.share.count(windows) == 0 {
            (self.given, self.loader) = (self.given + 1, None);
            return Ok(Some(StepBatch { own: None, windows }));
        }
        loop {
            let mut loader = match self.loader.take() {
                Some(loader) => loader,
                None => self.open(runtime)?,
            };
            // Data that was waited for in vain may take minutes to be an error.
            let batch = runtime.block_on(async {
                tokio::select! {
                    biased;
                    batch = loader.next_batch() => Some(batch),
                    () = asked(stop) => None,
                }
            });
            match batch {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(batch)) => {
                    self.loader = Some(loader);
                    self.given += 1;
                    let own = Some(batch?);
                    return Ok(Some(StepBatch { own, windows }));
                }
            }
        }
    }

    /// A loader of the rest of the epoch.
    fn open(&self, runtime: &Handle) -> Result<Loader> {
        let plan = self.rest(self.given)?;
        Ok(Loader::spawn(
            Arc::clone(&self.dataset),
            plan,
            self.options,
            runtime,
        ))
    }

    /// What the next steps will cost.
    fn cost(&self, steps: u64) -> Result<ReadCost> {
        let (epoch_steps, end) = (self.epoch_steps(), self.given + steps);
        let epoch_windows = self.share.count(self.windows());
        let before = |step: u64| {
            let seen = self.seen(step) / self.share.world;
            (step / epoch_steps) as usize * epoch_windows + seen
        };
        let windows = (before(end) - before(self.given)) as u64;
        let later = self.given / epoch_steps + 1..;
        let passes = std::iter::once(self.rest(self.given)?);
        let passes = passes.chain(later.map(|epoch| self.epoch(epoch)));
        Ok(self.dataset.read_cost(passes, windows, self.options)?)
    }
}

/// The windows of a step.
pub(crate) struct StepBatch {
    /// Those of this rank; none where there are fewer than ranks.
    pub(crate) own: Option<Batch>,
    /// How many there are over all ranks.
    pub(crate) windows: usize,
}

/// Ends when it is asked to stop.
async fn asked(stop: &Stop) {
    while !stop.asked() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Relative weights with which data sets are drawn, and the seed of the draws.
pub(crate) struct Mix {
    weights: Vec<f64>,
    seed: u64,
}

impl Mix {
    /// The configured weights; else windows to the power of 1 / temperature.
    pub(crate) fn new(config: &Config, feeds: &[&Feeds]) -> Self {
        let by_windows =
            |feed: &&Feeds| (feed.windows() as f64).powf(1.0 / config.data.temperature);
        let weights = match config.data.weights.is_empty() {
            true => feeds.iter().map(by_windows).collect(),
            false => config.data.weights.clone(),
        };
        Self {
            weights,
            seed: config.train.seed,
        }
    }

    /// The data set of a step.
    pub(crate) fn drawn(&self, step: u64) -> usize {
        if self.weights.len() == 1 {
            return 0;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5eed);
        rng.set_stream(step);
        let mut at = rng.random_range(0.0..self.weights.iter().sum::<f64>());
        for (index, weight) in self.weights.iter().enumerate() {
            at -= weight;
            if at < 0.0 {
                return index;
            }
        }
        self.weights.len() - 1
    }
}

/// What a run will read of one data set.
pub struct ReadEstimate {
    /// Steps that draw it.
    pub steps: u64,
    /// Steps in which all its windows are seen once.
    pub epoch_steps: u64,
    /// What they cost.
    pub cost: ReadCost,
    feeds: Feeds,
}

impl ReadEstimate {
    /// A loader of what comes first, to measure with.
    ///
    /// # Errors
    /// As [`Loader`].
    pub fn loader(&self, runtime: &Handle) -> Result<Loader> {
        self.feeds.by_factor[0].open(runtime)
    }
}

/// What a rank of a run reads from a step on, data set by data set in the configuration's order; an epoch of it where the clock ends
/// the run.
///
/// # Errors
/// [`crate::Error::Store`] for data sets without long enough trajectories, or more shards at once than
/// may be held.
pub fn read_estimates(
    config: &Config,
    datasets: &[Arc<Dataset>],
    from: u64,
    share: Share,
) -> Result<Vec<ReadEstimate>> {
    let mut feeds = Vec::new();
    for dataset in datasets {
        let domain = Domain::of(dataset, &config.model.inputs)?;
        let domains = Domains::new(vec![domain.clone()])?;
        let conditions = InputReader::new(&domain, &domains)?.conditioning();
        let dataset = Arc::clone(dataset);
        feeds.push(Feeds::new(config, dataset, conditions, share)?);
    }
    let mix = Mix::new(config, &feeds.iter().collect::<Vec<_>>());
    let epoch: u64 = feeds.iter().map(Feeds::epoch_steps).sum();
    let total = match config.train.hours {
        Some(_) => from + epoch,
        None => config.steps(epoch)?,
    };
    (0..from).for_each(|step| feeds[mix.drawn(step)].of_mut(step).given += 1);
    let read_estimates = feeds.into_iter().enumerate().map(|(place, feeds)| {
        let steps = || (from..total).filter(|&step| mix.drawn(step) == place);
        Ok(ReadEstimate {
            steps: steps().count() as u64,
            epoch_steps: feeds.epoch_steps(),
            cost: feeds.cost(steps())?,
            feeds,
        })
    });
    read_estimates.collect()
}
