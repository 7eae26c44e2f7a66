//! Fields that do not vary in time.

use std::ops::Range;
use std::sync::Arc;

use crate::shard::ShardData;
use crate::{Error, Frames, Result, Schema, Split};

/// The fields of a split that do not vary in time, in an open file.
#[derive(Debug)]
pub(crate) struct ConstantFields {
    split: Split,
    shard: Arc<ShardData>,
    channels: usize,
    space: Vec<usize>,
}

impl ConstantFields {
    pub(super) fn new(split: Split, shard: Arc<ShardData>, schema: &Schema) -> Self {
        Self {
            split,
            shard,
            channels: schema.constant_channels().len(),
            space: schema.grid.shape(),
        }
    }

    /// Those of one trajectory: (1, 1, C, *space).
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`].
    pub(crate) fn of(&self, trajectory: usize) -> Result<Frames> {
        if trajectory >= self.shard.rows() {
            return Err(out_of_range(self.split, trajectory, 0..1, 0));
        }
        let mut frame = Frames::zeros(1, 1, self.channels, self.space.clone());
        let rows = trajectory..trajectory + 1;
        self.shard.copy(rows, 1, &mut frame, 0, 0);
        Ok(frame)
    }
}

/// The error of frames that a trajectory does not have.
pub(crate) fn out_of_range(
    split: Split,
    trajectory: usize,
    steps: Range<usize>,
    frames: usize,
) -> Error {
    Error::OutOfRange {
        split: split.to_string(),
        trajectory,
        start: steps.start,
        end: steps.end,
        frames,
    }
}
