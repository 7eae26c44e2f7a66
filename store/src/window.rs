//! Windows: the runs of frames that training and evaluation look at.

use serde::{Deserialize, Serialize};

/// A run of frames of one trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Index of the trajectory in its split.
    pub trajectory: u32,
    /// Its first frame.
    pub start: u32,
}

/// How windows are cut from trajectories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// Frames in a window: context and what follows it.
    pub length: usize,
    /// Frames between the starts of two windows of a trajectory.
    pub every: usize,
}

impl WindowSpec {
    /// Every window of so many frames.
    #[must_use]
    pub fn of_length(length: usize) -> Self {
        Self { length, every: 1 }
    }

    /// Windows in a trajectory of so many frames.
    #[must_use]
    pub fn count(&self, frames: usize) -> usize {
        match frames.checked_sub(self.length.max(1)) {
            Some(last) => last / self.every.max(1) + 1,
            None => 0,
        }
    }
}
