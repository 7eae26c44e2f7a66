//! Which rows of a source go into which shard.

use std::collections::BTreeMap;

use wellspring_store::{DatasetWriter, Offsets, ShardId, Split};

use crate::catalogue::{Catalogue, Row};

/// The rows of every shard of a source, computed once and borrowed by all who need them.
pub(crate) struct ShardLayout {
    splits: BTreeMap<Split, SplitLayout>,
    has_constants: bool,
}

struct SplitLayout {
    /// What the data set calls the first trajectory: the number of those that it has already.
    first: usize,
    /// The rows of each trajectory.
    trajectories: Offsets,
    /// The rows of each shard.
    shards: Offsets,
}

impl ShardLayout {
    /// The layout of all that a source has, its trajectories numbered from a start on in each split, or from 0.
    pub(crate) fn new(
        catalogue: &Catalogue,
        writer: &DatasetWriter,
        starts: &BTreeMap<Split, usize>,
    ) -> Self {
        let splits = catalogue.splits.iter().map(|(&split, entries)| {
            let frames = entries.iter().map(|entry| entry.trajectory.frames);
            let layout = SplitLayout {
                first: starts.get(&split).copied().unwrap_or(0),
                trajectories: Offsets::of(frames.clone()),
                shards: writer.shards(frames),
            };
            (split, layout)
        });
        Self {
            splits: splits.collect(),
            has_constants: !catalogue.schema.constant_channels().is_empty(),
        }
    }

    /// The shards of all splits, in order.
    pub(crate) fn shards(&self) -> Vec<ShardId> {
        let splits = self.splits.iter();
        let ids = splits.flat_map(|(&split, layout)| {
            (0..layout.shards.len()).map(move |index| ShardId {
                split,
                index: Some(index),
            })
        });
        ids.collect()
    }

    /// The files of the constants of all splits, if there are any.
    pub(crate) fn constants(&self) -> Vec<ShardId> {
        let splits = self.splits.keys().filter(|_| self.has_constants);
        splits
            .map(|&split| ShardId { split, index: None })
            .collect()
    }

    /// All files: the shards, then the constants.
    pub(crate) fn files(&self) -> Vec<ShardId> {
        [self.shards(), self.constants()].concat()
    }

    /// The number of a split's first trajectory.
    pub(crate) fn first(&self, split: Split) -> usize {
        self.splits.get(&split).map_or(0, |layout| layout.first)
    }

    /// How many rows a shard has; of constants, how many trajectories.
    pub(crate) fn row_count(&self, id: ShardId) -> usize {
        let layout = self.splits.get(&id.split);
        let count = layout.and_then(|layout| match id.index {
            Some(index) => layout.shards.get(index).map(|rows| rows.len()),
            None => Some(layout.trajectories.len()),
        });
        count.unwrap_or(0)
    }

    /// The rows of a shard of frames.
    pub(crate) fn rows(&self, split: Split, index: usize) -> Vec<Row> {
        let Some(layout) = self.splits.get(&split) else {
            return Vec::new();
        };
        let rows = layout.shards.get(index).unwrap_or(0..0);
        let row = |entry, step| Row {
            entry,
            trajectory: layout.first + entry,
            step,
        };
        let runs = layout.trajectories.cut(rows);
        runs.flat_map(|(entry, steps)| steps.map(move |step| row(entry, step)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_may_begin_within_a_trajectory_and_hold_several() {
        let split = SplitLayout {
            first: 3,
            trajectories: Offsets::of([2, 0, 5]),
            shards: Offsets::of([4, 3]),
        };
        let layout = ShardLayout {
            splits: BTreeMap::from([(Split::Train, split)]),
            has_constants: true,
        };
        let rows = |index| {
            let rows = layout.rows(Split::Train, index).into_iter();
            let rows = rows.map(|row| (row.entry, row.trajectory, row.step));
            rows.collect::<Vec<_>>()
        };
        assert_eq!(rows(0), [(0, 3, 0), (0, 3, 1), (2, 5, 0), (2, 5, 1)]);
        assert_eq!(rows(1), [(2, 5, 2), (2, 5, 3), (2, 5, 4)]);
        assert_eq!((rows(2), layout.rows(Split::Test, 0)), (vec![], vec![]));
        let files = layout.files().into_iter();
        let counts: Vec<usize> = files.map(|id| layout.row_count(id)).collect();
        assert_eq!(counts, [4, 3, 3]);
    }
}
