//! The cost of carrying out plans, computed beforehand by the rules that reading follows.

use std::collections::VecDeque;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::manifest::ShardId;
use crate::read::cache::ledger::{CacheLedger, WhenFull};
use crate::read::fetch::requests;
use crate::{Conditioning, Dataset, LoaderOptions, Plan, Result, Split};

/// What reading some windows will cost with an empty cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCost {
    /// Windows that are read.
    pub windows: u64,
    /// Bytes of their batches.
    pub bytes: u64,
    /// Shards that are opened, again and again where they are not held.
    pub opened: u64,
    /// Requests for bytes of shards; none where they are on a local disk.
    pub requests: u64,
    /// Bytes that are fetched.
    pub fetched: u64,
    /// Bytes of shards held at once, at most.
    pub peak: u64,
}

impl AddAssign for ReadCost {
    /// Adds the cost of windows that are read side by side with these.
    fn add_assign(&mut self, other: Self) {
        self.windows += other.windows;
        self.bytes += other.bytes;
        self.opened += other.opened;
        self.requests += other.requests;
        self.fetched += other.fetched;
        self.peak += other.peak;
    }
}

impl Dataset {
    /// The cost of the first `windows` windows of some passes, one after another.
    ///
    /// # Errors
    /// [`crate::Error::Budget`] where what is needed at once may not be held.
    pub fn read_cost(
        &self,
        passes: impl IntoIterator<Item = Plan>,
        windows: u64,
        options: LoaderOptions,
    ) -> Result<ReadCost> {
        let mut simulation = CostSimulation {
            dataset: self,
            frame_bytes: self.frame_bytes(),
            options,
            ledger: CacheLedger::new(self.cache().limit()),
            leases: VecDeque::new(),
            cost: ReadCost::default(),
        };
        for plan in passes {
            let left = windows - simulation.cost.windows;
            if left == 0 || plan.is_empty() {
                break;
            }
            if simulation.cost.windows == 0 {
                simulation.constants(plan.split())?;
            }
            simulation.pass(&plan, left)?;
        }
        simulation.cost.peak = simulation.ledger.peak();
        Ok(simulation.cost)
    }
}

struct CostSimulation<'a> {
    dataset: &'a Dataset,
    frame_bytes: u64,
    options: LoaderOptions,
    ledger: CacheLedger<()>,
    /// What is leased, the oldest first: stages or batches.
    leases: VecDeque<(usize, Vec<ShardId>)>,
    cost: ReadCost,
}

impl CostSimulation<'_> {
    /// Opens the fields that do not vary in time, once.
    fn constants(&mut self, split: Split) -> Result<()> {
        let there = self.dataset.manifest().split(split)?.constants.is_some();
        if there && self.options.conditions == Conditioning::Everything {
            self.lease(0, vec![ShardId { split, index: None }], WhenFull::Take)?;
            self.release();
        }
        Ok(())
    }

    fn pass(&mut self, plan: &Plan, most: u64) -> Result<()> {
        let places = plan.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let (split, batch) = (plan.split(), self.options.batch.max(1));
        let mut stages = None;
        for first in (0..places).step_by(batch) {
            let last = first.saturating_add(batch).min(places) - 1;
            for place in first..=last {
                let Some(window) = plan.get(place) else { break };
                let frames = self.dataset.frames(split, window.trajectory as usize)?;
                let bytes = (plan.spec().frames(frames) as u64).saturating_mul(self.frame_bytes);
                self.cost.bytes = self.cost.bytes.saturating_add(bytes);
            }
            match plan.stages(first, last) {
                Some(of) => {
                    let next = stages.unwrap_or(*of.start());
                    stages = Some(self.stages(plan, next, *of.start(), *of.end())?);
                }
                None => self.batch(plan, first, last)?,
            }
        }
        self.cost.windows += places as u64;
        while !self.leases.is_empty() {
            self.release();
        }
        Ok(())
    }

    /// Holds the stages of a batch and, where there is room, those after them.
    fn stages(&mut self, plan: &Plan, mut next: usize, first: usize, last: usize) -> Result<usize> {
        while self.leases.front().is_some_and(|(stage, _)| *stage < first) {
            self.release();
        }
        let ahead = crate::loader::AHEAD;
        while next < plan.stage_count() && self.leases.len() < ahead + last - first + 1 {
            let both = plan.shards(next.saturating_sub(1)..next + 1);
            self.dataset.cache().costs(&both)?;
            let ids = plan.shards(next..next + 1);
            let room = if next <= last {
                WhenFull::Take
            } else {
                WhenFull::Wait
            };
            if !self.lease(next, ids, room)? {
                break;
            }
            next += 1;
        }
        Ok(next)
    }

    /// Holds the shards of a batch, and those of batches that are not gathered yet.
    fn batch(&mut self, plan: &Plan, first: usize, last: usize) -> Result<()> {
        let mut ids = Vec::new();
        for window in (first..=last).filter_map(|place| plan.get(place)) {
            let pieces = self.dataset.pieces(plan.split(), plan.spec(), window)?;
            ids.extend(pieces.iter().map(|piece| piece.shard));
        }
        ids.sort_unstable();
        ids.dedup();
        if self.leases.len() > self.options.prefetch {
            self.release();
        }
        while !self.lease(first, ids.clone(), WhenFull::Wait)? {
            self.release();
        }
        Ok(())
    }

    fn lease(&mut self, name: usize, ids: Vec<ShardId>, room: WhenFull) -> Result<bool> {
        let wanted = self.dataset.cache().costs(&ids)?;
        let Some(grant) = self.ledger.lease(&wanted, room) else {
            return Ok(false);
        };
        self.cost.opened += grant.missing.len() as u64;
        if !self.dataset.cache().maps() {
            for id in grant.missing {
                let bytes = self.dataset.cache().file(id)?.bytes;
                self.cost.fetched = self.cost.fetched.saturating_add(bytes);
                self.cost.requests += requests(bytes);
            }
        }
        self.leases.push_back((name, ids));
        Ok(true)
    }

    fn release(&mut self) {
        if let Some((_, ids)) = self.leases.pop_front() {
            self.ledger.release(ids.into_iter());
        }
    }
}
