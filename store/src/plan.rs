//! The order of windows: a pure function of (manifest, seed, epoch), and of (rank, world) for a
//! rank's share. Nothing is stored: the shuffle is a permutation computed index by index.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Error, Manifest, Result, Split, Window, WindowSpec};

/// In which order windows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By trajectory and start.
    Sequential,
    /// Every window once, anywhere in the split.
    Shuffled {
        /// Of the run.
        seed: u64,
        /// Of the pass over the data.
        epoch: u64,
    },
}

/// A rank's share of the work: rank `rank` of `world`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub rank: usize,
    /// How many there are.
    pub world: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { rank: 0, world: 1 };
}

/// Which windows come, one after another.
#[derive(Debug, Clone)]
pub struct Plan {
    split: Split,
    spec: WindowSpec,
    /// Windows before each trajectory, and in all.
    before: Vec<usize>,
    order: Order,
    share: Share,
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
        if share.rank >= share.world {
            return Err(Error::Choice {
                text: share.rank.to_string(),
                what: "rank",
                choices: format!("0 to {}", share.world.saturating_sub(1)),
            });
        }
        let mut before = vec![0];
        let mut total = 0;
        let trajectories = &manifest.split(split)?.trajectories;
        for trajectory in trajectories {
            total += spec.count(trajectory.frames);
            before.push(total);
        }
        if total == 0 {
            return Err(Error::NoWindows {
                split: split.to_string(),
                length: spec.length,
                longest: trajectories.iter().map(|t| t.frames).max().unwrap_or(0),
            });
        }
        Ok(Self {
            split,
            spec,
            before,
            order,
            share,
        })
    }

    /// The same windows in another order, such as that of the next epoch.
    #[must_use]
    pub fn with_order(&self, order: Order) -> Self {
        Self {
            order,
            ..self.clone()
        }
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
        self.before.last().copied().unwrap_or(0)
    }

    /// Windows of this rank's share.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.total() + self.share.world - 1 - self.share.rank) / self.share.world
    }

    /// Whether this rank has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The window at a place of this rank's order.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Window> {
        let place = place
            .checked_mul(self.share.world)?
            .checked_add(self.share.rank)?;
        if place >= self.total() {
            return None;
        }
        let index = match self.order {
            Order::Sequential => place,
            Order::Shuffled { seed, epoch } => {
                shuffled(place as u64, self.total() as u64, seed, epoch) as usize
            }
        };
        let trajectory = self.before.partition_point(|&before| before <= index) - 1;
        let start = (index - self.before[trajectory]) * self.spec.every.max(1);
        Some(Window {
            trajectory: trajectory as u32,
            start: start as u32,
        })
    }

    /// This rank's windows in order.
    pub fn iter(&self) -> impl Iterator<Item = Window> + '_ {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}

/// Where a permutation of 0..n puts `place`: four Feistel rounds over the next power of four,
/// repeated until the result lies below n. The rounds' keys are frozen: seeds keep their meaning.
fn shuffled(place: u64, n: u64, seed: u64, epoch: u64) -> u64 {
    let half = (64 - (n.max(2) - 1).leading_zeros()).div_ceil(2);
    let mask = (1_u64 << half) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4_u8 {
            let mut key = [0; 17];
            key[..8].copy_from_slice(&right.to_le_bytes());
            key[8..16].copy_from_slice(&epoch.to_le_bytes());
            key[16] = round;
            (left, right) = (right, left ^ (xxh3_64_with_seed(&key, seed) & mask));
        }
        at = left << half | right;
        if at < n {
            return at;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    fn plan(frames: &[usize], length: usize, order: Order, share: Share) -> Plan {
        let manifest = sample::manifest(Split::Train, frames);
        Plan::new(
            &manifest,
            Split::Train,
            WindowSpec::of_length(length),
            order,
            share,
        )
        .unwrap()
    }

    proptest! {
        #[test]
        fn every_window_comes_once_for_any_world(
            frames in prop::collection::vec(1..40_usize, 1..6),
            length in 1..5_usize, world in 1..5_usize, seed: u64, epoch in 0..3_u64,
        ) {
            prop_assume!(frames.iter().any(|&n| n >= length));
            let order = Order::Shuffled { seed, epoch };
            let mut seen = Vec::new();
            for rank in 0..world {
                let share = plan(&frames, length, order, Share { rank, world });
                prop_assert_eq!(share.iter().count(), share.len());
                seen.extend(share.iter());
            }
            let once: BTreeSet<_> = seen.iter().copied().collect();
            let expected: usize = frames.iter().map(|&n| (n + 1).saturating_sub(length)).sum();
            prop_assert_eq!(once.len(), expected);
            prop_assert_eq!(seen.len(), expected);
            for window in once {
                prop_assert!(window.start as usize + length <= frames[window.trajectory as usize]);
            }
        }
    }

    /// Frozen: a change of this order would change every trained model's history.
    #[test]
    fn the_order_of_a_seed_is_for_ever() {
        let order = Order::Shuffled { seed: 7, epoch: 1 };
        let first: Vec<_> = plan(&[10, 20], 4, order, Share::WHOLE)
            .iter()
            .take(6)
            .map(|window| (window.trajectory, window.start))
            .collect();
        assert_eq!(first, GOLDEN);
    }
    const GOLDEN: [(u32, u32); 6] = [(0, 1), (1, 16), (1, 15), (0, 5), (1, 6), (0, 2)];

    #[test]
    fn epochs_differ() {
        let of = |epoch| plan(&[40], 2, Order::Shuffled { seed: 1, epoch }, Share::WHOLE);
        assert_ne!(
            of(0).iter().collect::<Vec<_>>(),
            of(1).iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn starts_are_spaced() {
        let manifest = sample::manifest(Split::Test, &[10]);
        let spec = WindowSpec {
            length: 4,
            every: 3,
        };
        let plan = Plan::new(
            &manifest,
            Split::Test,
            spec,
            Order::Sequential,
            Share::WHOLE,
        )
        .unwrap();
        assert_eq!(plan.iter().map(|w| w.start).collect::<Vec<_>>(), [0, 3, 6]);
    }

    #[test]
    fn a_window_longer_than_every_trajectory_is_refused() {
        let manifest = sample::manifest(Split::Test, &[10]);
        let spec = WindowSpec::of_length(11);
        let error = Plan::new(
            &manifest,
            Split::Test,
            spec,
            Order::Sequential,
            Share::WHOLE,
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("11 frames (the longest has 10)"),
            "{error}"
        );
    }
}
