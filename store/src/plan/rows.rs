//! Locates rows: a split's rows (frames) are numbered by (trajectory, step).

use std::ops::Range;

use crate::manifest::ShardId;
use crate::{Offsets, Split, SplitManifest};

/// Rows of one shard that are frames of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowRows {
    pub(crate) shard: ShardId,
    /// Rows of the shard, of which every `stride`-th counts.
    pub(crate) rows: Range<usize>,
    pub(crate) stride: usize,
    /// The frame of the window that the first of them is.
    pub(crate) time: usize,
}

#[derive(Debug)]
pub(crate) struct RowIndex {
    split: Split,
    /// The rows of each trajectory.
    pub(crate) trajectories: Offsets,
    /// The rows of each shard.
    pub(crate) shards: Offsets,
}

impl RowIndex {
    pub(crate) fn of(split: Split, held: &SplitManifest) -> Self {
        Self {
            split,
            trajectories: Offsets::of(held.trajectories.iter().map(|held| held.frames)),
            shards: Offsets::of(held.shards.iter().map(|shard| shard.rows)),
        }
    }

    /// Every `stride`-th of some steps of a trajectory, shard by shard.
    pub(crate) fn pieces(
        &self,
        trajectory: usize,
        steps: Range<usize>,
        stride: usize,
    ) -> Vec<WindowRows> {
        let stride = stride.max(1);
        let base = self.trajectories.start(trajectory);
        let (mut row, end) = (base + steps.start, base + steps.end);
        let mut pieces = Vec::new();
        let mut time = 0;
        while row < end {
            let shard = self.shards.find(row);
            let held = self.shards.range(shard);
            let (low, high) = (held.start, held.end.min(end));
            let count = (high - row).div_ceil(stride);
            pieces.push(WindowRows {
                shard: ShardId {
                    split: self.split,
                    index: Some(shard),
                },
                rows: row - low..high - low,
                stride,
                time,
            });
            time += count;
            row = row.saturating_add(count.saturating_mul(stride));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_goes_on_across_shards() {
        let index = RowIndex {
            split: Split::Train,
            trajectories: Offsets::of([4, 12]),
            shards: Offsets::of([5, 1, 10]),
        };
        let found = index.pieces(1, 0..10, 3);
        // Rows 4, 7, 10, 13: the first in shard 0, none in shard 1, three in shard 2.
        let expected = [(Some(0), 4..5, 0), (Some(2), 1..8, 1)];
        let found: Vec<_> = found
            .into_iter()
            .map(|p| (p.shard.index, p.rows, p.time))
            .collect();
        assert_eq!(found, expected);
        let found = index.pieces(1, 0..10, usize::MAX);
        assert_eq!(found.len(), 1);
    }
}
