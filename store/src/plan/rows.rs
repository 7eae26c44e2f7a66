//! Locates rows: a split's rows (frames) are numbered by (trajectory, step).

use std::ops::Range;

use crate::manifest::ShardId;
use crate::{Split, SplitManifest};

/// Rows of one shard that are frames of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
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
    /// Rows before each trajectory, and in all.
    pub(crate) trajectories: Vec<usize>,
    /// Rows before each shard, and in all.
    pub(crate) shards: Vec<usize>,
}

impl RowIndex {
    pub(crate) fn of(split: Split, held: &SplitManifest) -> Self {
        Self {
            split,
            trajectories: sums(held.trajectories.iter().map(|trajectory| trajectory.frames)),
            shards: sums(held.shards.iter().map(|shard| shard.rows)),
        }
    }

    /// Every `stride`-th of some steps of a trajectory, shard by shard.
    pub(crate) fn pieces(
        &self,
        trajectory: usize,
        steps: Range<usize>,
        stride: usize,
    ) -> Vec<Piece> {
        let stride = stride.max(1);
        let base = self.trajectories[trajectory];
        let (mut row, end) = (base + steps.start, base + steps.end);
        let mut pieces = Vec::new();
        let mut time = 0;
        while row < end {
            let shard = self.shards.partition_point(|&before| before <= row) - 1;
            let (low, high) = (self.shards[shard], self.shards[shard + 1].min(end));
            let count = (high - row).div_ceil(stride);
            pieces.push(Piece {
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

fn sums(counts: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sums = vec![0];
    sums.extend(counts.scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    }));
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_goes_on_across_shards() {
        let index = RowIndex {
            split: Split::Train,
            trajectories: vec![0, 4, 16],
            shards: vec![0, 5, 6, 16],
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
