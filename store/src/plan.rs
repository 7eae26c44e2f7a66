//! [`Plan`]: the order of windows, a pure function of (manifest, seed, epoch), and of (rank, world) for
//! a rank's share. Nothing is stored: a shuffle is a permutation computed index by index. A run that
//! resumes needs only its place in the plan, one number with the same meaning at any world size.

mod blocks;
mod order;
pub(crate) mod rows;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::manifest::ShardId;
use crate::{Error, Manifest, Offsets, Result, Split, SplitManifest, Window, WindowSpec};

use blocks::ShardBlocks;
pub use order::Order;
use order::{Lanes, shuffled};

/// A rank's share of the work: rank `rank` of `world`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Number of the rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub world: usize,
}

impl Share {
    /// The share of a single rank, which is everything.
    pub const WHOLE: Self = Self { rank: 0, world: 1 };

    /// The place in the whole of the n-th piece of this share, where pieces are dealt out in turn.
    #[must_use]
    pub fn place(self, n: usize) -> usize {
        self.rank + n * self.world
    }

    /// Whether the piece at a place of the whole is of this share, where pieces are dealt out in turn.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        place % self.world == self.rank
    }

    /// Pieces of this share, of so many in all.
    #[must_use]
    pub fn count(self, pieces: usize) -> usize {
        pieces.saturating_sub(self.rank).div_ceil(self.world)
    }

    fn check(self) -> Result<()> {
        if self.rank < self.world {
            return Ok(());
        }
        Err(Error::Choice {
            text: self.rank.to_string(),
            what: "rank",
            choices: format!("0 to {}", self.world.saturating_sub(1)),
        })
    }
}

/// The windows of a run, in order.
#[derive(Debug, Clone)]
pub struct Plan {
    split: Split,
    spec: WindowSpec,
    /// The windows of each trajectory, by their index in the sequential order.
    windows: Arc<Offsets>,
    blocks: Arc<ShardBlocks>,
    order: Order,
    lanes: Option<Arc<Lanes>>,
    share: Share,
    /// Places of the order that have been seen.
    seen: usize,
}

impl Plan {
    /// Plans one pass over a split. Rank `r` of `w` gets the places r, r + w, r + 2w, ... of the
    /// global order, so a change of `world` changes no order.
    ///
    /// # Errors
    /// [`Error::NoSplit`], [`Error::NoWindows`], or [`Error::Choice`] when there is no such rank.
    pub fn new(
        manifest: &Manifest,
        split: Split,
        spec: WindowSpec,
        order: Order,
        share: Share,
    ) -> Result<Self> {
        share.check()?;
        let held = manifest.split(split)?;
        let windows = windows(held, split, spec)?;
        let plan = Self {
            split,
            spec,
            blocks: Arc::new(ShardBlocks::of(split, held, spec, &windows)),
            windows: Arc::new(windows),
            order,
            lanes: None,
            share,
            seen: 0,
        };
        Ok(plan.with_order(order))
    }

    /// A plan with equal windows in another order, such as that of the next epoch.
    #[must_use]
    pub fn with_order(&self, order: Order) -> Self {
        Self {
            order,
            lanes: Lanes::of(order, &self.blocks).map(Arc::new),
            seen: 0,
            ..self.clone()
        }
    }

    /// What is left of it after the first `seen` windows of the global order, for a rank of any
    /// world: n batches of B windows on each of w ranks have seen n × B × w.
    ///
    /// # Errors
    /// [`Error::Choice`] when there is no such rank.
    pub fn after(&self, seen: usize, share: Share) -> Result<Self> {
        share.check()?;
        Ok(Self {
            seen: seen.min(self.total()),
            share,
            ..self.clone()
        })
    }

    /// The split that the windows are of.
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }

    /// How windows are cut.
    #[must_use]
    pub fn spec(&self) -> WindowSpec {
        self.spec
    }

    /// Windows of the whole split, over all ranks.
    #[must_use]
    pub fn total(&self) -> usize {
        self.windows.total()
    }

    /// Windows that are left of this rank's share.
    #[must_use]
    pub fn len(&self) -> usize {
        self.share.count(self.total() - self.seen)
    }

    /// Whether this rank has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The window at a place of what is left to this rank.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Window> {
        let place = self.global(place)?;
        let index = match (self.order, &self.lanes) {
            (Order::Shuffled { seed, epoch }, _) => {
                shuffled(place as u64, self.total() as u64, seed, epoch) as usize
            }
            (_, Some(lanes)) => lanes.get(place, &self.blocks)?,
            (_, None) => place,
        };
        let trajectory = self.windows.find(index);
        let start = (index - self.windows.start(trajectory)) * self.spec.every.max(1);
        Some(Window {
            trajectory: trajectory as u32,
            start: start as u32,
        })
    }

    /// This rank's windows in order.
    pub fn iter(&self) -> impl Iterator<Item = Window> + '_ {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// The stages of the order that some places lie in. During a stage a known set of shards is
    /// enough; the global shuffle has no stages.
    pub(crate) fn stages(&self, first: usize, last: usize) -> Option<RangeInclusive<usize>> {
        let (first, last) = (self.global(first)?, self.global(last)?);
        match (self.order, &self.lanes) {
            (Order::Shuffled { .. }, _) => None,
            (_, Some(lanes)) => Some(lanes.stage(first)..=lanes.stage(last)),
            (_, None) => Some(self.blocks.holding(first)..=self.blocks.holding(last)),
        }
    }

    /// The shards that some stages need, each once.
    pub(crate) fn shards(&self, stages: Range<usize>) -> Vec<ShardId> {
        let of = |stage| match &self.lanes {
            Some(lanes) => lanes.shards(stage, &self.blocks),
            None => self.blocks.shards(stage).collect(),
        };
        let mut shards: Vec<usize> = stages.flat_map(of).collect();
        shards.sort_unstable();
        shards.dedup();
        let id = |shard| ShardId {
            split: self.split,
            index: Some(shard),
        };
        shards.into_iter().map(id).collect()
    }

    /// How many stages there are.
    pub(crate) fn stage_count(&self) -> usize {
        match &self.lanes {
            Some(lanes) => lanes.stages(),
            None => self.blocks.len(),
        }
    }

    fn global(&self, place: usize) -> Option<usize> {
        let place = place
            .checked_mul(self.share.world)?
            .checked_add(self.share.rank)?
            .checked_add(self.seen)?;
        (place < self.total()).then_some(place)
    }
}

/// The windows of each trajectory.
fn windows(held: &SplitManifest, split: Split, spec: WindowSpec) -> Result<Offsets> {
    let frames = held.trajectories.iter().map(|held| held.frames);
    let windows = Offsets::of(frames.clone().map(|frames| spec.count(frames)));
    if windows.total() > 0 {
        return Ok(windows);
    }
    let longest = frames.max().unwrap_or(0);
    Err(Error::NoWindows {
        split: split.to_string(),
        length: spec.span(longest),
        longest,
    })
}

#[cfg(test)]
mod quality;
#[cfg(test)]
mod tests;
