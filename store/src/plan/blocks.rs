//! Groups windows by the shard that holds their first frame.

use std::ops::Range;

use crate::plan::rows::RowIndex;
use crate::{Split, SplitManifest, WindowSpec};

/// A block is the windows that begin in one shard. A window may end in a later one, so a block needs
/// its own shard and those that its last window reaches into.
#[derive(Debug)]
pub(super) struct ShardBlocks {
    /// Windows before each block, and in all.
    before: Vec<usize>,
    /// One past the last shard that each block needs.
    reach: Vec<usize>,
}

impl ShardBlocks {
    pub(super) fn of(
        split: Split,
        held: &SplitManifest,
        spec: WindowSpec,
        windows: &[usize],
    ) -> Self {
        let cut = Cut {
            held,
            spec,
            windows,
            rows: RowIndex::of(split, held),
        };
        let shards = &cut.rows.shards;
        let before: Vec<usize> = shards.iter().map(|&row| cut.windows_before(row)).collect();
        let reach = (0..held.shards.len()).map(|shard| match before[shard + 1] {
            // No window begins here.
            end if end == before[shard] => shard + 1,
            end => shards.partition_point(|&first| first < cut.end(end - 1)),
        });
        Self {
            reach: reach.collect(),
            before,
        }
    }

    /// Number of blocks, which is that of shards.
    pub(super) fn len(&self) -> usize {
        self.reach.len()
    }

    /// The windows of a block, by their index in the sequential order.
    pub(super) fn windows(&self, block: usize) -> Range<usize> {
        self.before[block]..self.before[block + 1]
    }

    /// The shards that a block needs; none where no window begins in it.
    pub(super) fn shards(&self, block: usize) -> Range<usize> {
        match self.windows(block).is_empty() {
            true => block..block,
            false => block..self.reach[block],
        }
    }

    /// The block of a window.
    pub(super) fn holding(&self, window: usize) -> usize {
        self.before.partition_point(|&before| before <= window) - 1
    }
}

/// Windows and the rows that they are cut from.
struct Cut<'a> {
    held: &'a SplitManifest,
    spec: WindowSpec,
    /// Windows before each trajectory, and in all.
    windows: &'a [usize],
    rows: RowIndex,
}

impl Cut<'_> {
    /// Windows whose first row comes before a row.
    fn windows_before(&self, row: usize) -> usize {
        let first = &self.rows.trajectories;
        let trajectory = first.partition_point(|&first| first <= row) - 1;
        if trajectory == self.held.trajectories.len() {
            return self.windows[trajectory];
        }
        let starts = (row - first[trajectory]).div_ceil(self.spec.every.max(1));
        (self.windows[trajectory] + starts).min(self.windows[trajectory + 1])
    }

    /// One past the last row of a window.
    fn end(&self, window: usize) -> usize {
        let trajectory = self.windows.partition_point(|&before| before <= window) - 1;
        let start = (window - self.windows[trajectory]) * self.spec.every.max(1);
        let frames = self.held.trajectories[trajectory].frames;
        self.rows.trajectories[trajectory] + start + self.spec.span(frames)
    }
}
