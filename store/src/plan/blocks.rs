//! Groups windows by the shard that holds their first frame.

use std::ops::Range;

use crate::plan::rows::RowIndex;
use crate::{Offsets, Split, SplitManifest, WindowSpec};

/// A block is the windows that begin in one shard. A window may end in a later one, so a block needs
/// its own shard and those that its last window reaches into.
#[derive(Debug)]
pub(super) struct ShardBlocks {
    /// The windows of each block, by their index in the sequential order.
    windows: Offsets,
    /// One past the last shard that each block needs.
    reach: Vec<usize>,
}

impl ShardBlocks {
    pub(super) fn of(
        split: Split,
        held: &SplitManifest,
        spec: WindowSpec,
        windows: &Offsets,
    ) -> Self {
        let cut = Cut {
            spec,
            windows,
            rows: RowIndex::of(split, held),
        };
        let shards = &cut.rows.shards;
        let begun =
            |rows: Range<usize>| cut.windows_before(rows.end) - cut.windows_before(rows.start);
        let windows = Offsets::of(shards.ranges().map(begun));
        let reach = windows
            .ranges()
            .enumerate()
            .map(|(shard, own)| match own.is_empty() {
                true => shard + 1,
                false => shards.find(cut.last_row(own.end - 1)) + 1,
            });
        Self {
            reach: reach.collect(),
            windows,
        }
    }

    /// Number of blocks, which is that of shards.
    pub(super) fn len(&self) -> usize {
        self.reach.len()
    }

    /// The windows of a block, by their index in the sequential order.
    pub(super) fn windows(&self, block: usize) -> Range<usize> {
        self.windows.range(block)
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
        self.windows.find(window)
    }
}

/// Windows and the rows that they are cut from.
struct Cut<'a> {
    spec: WindowSpec,
    /// The windows of each trajectory.
    windows: &'a Offsets,
    rows: RowIndex,
}

impl Cut<'_> {
    /// Windows whose first row comes before a row.
    fn windows_before(&self, row: usize) -> usize {
        let trajectory = self.rows.trajectories.find(row);
        let Some(rows) = self.rows.trajectories.get(trajectory) else {
            return self.windows.total();
        };
        let starts = (row - rows.start).div_ceil(self.spec.every.max(1));
        let windows = self.windows.range(trajectory);
        (windows.start + starts).min(windows.end)
    }

    /// The last row of a window.
    fn last_row(&self, window: usize) -> usize {
        let trajectory = self.windows.find(window);
        let start = (window - self.windows.start(trajectory)) * self.spec.every.max(1);
        let rows = self.rows.trajectories.range(trajectory);
        rows.start + start + self.spec.span(rows.len()) - 1
    }
}
