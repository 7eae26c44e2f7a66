//! Windows: the runs of frames that training and evaluation read.

use serde::{Deserialize, Serialize};

/// A run of frames of one trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Index of the trajectory in its split.
    pub trajectory: u32,
    /// First frame of the window.
    pub start: u32,
}

/// Frames of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// This many frames, at least one: the context and what follows it.
    Frames(usize),
    /// All frames of the trajectory: one window for each trajectory, for rollouts to its end.
    Trajectory,
}

/// How windows are cut from trajectories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpec {
    /// Frames in a window.
    pub length: Length,
    /// Steps between two frames of a window.
    pub stride: usize,
    /// Steps between the starts of two windows of a trajectory.
    pub every: usize,
    /// The most windows of one trajectory, from its first step on.
    pub most: Option<usize>,
}

impl WindowSpec {
    /// Every window of `length` successive frames.
    #[must_use]
    pub fn of_length(length: usize) -> Self {
        Self {
            length: Length::Frames(length.max(1)),
            stride: 1,
            every: 1,
            most: None,
        }
    }

    /// Whole trajectories.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            length: Length::Trajectory,
            ..Self::of_length(1)
        }
    }

    /// Frames of a window in a trajectory of `trajectory` frames.
    #[must_use]
    pub fn frames(&self, trajectory: usize) -> usize {
        match self.length {
            Length::Frames(frames) => frames.max(1),
            Length::Trajectory => trajectory.div_ceil(self.stride.max(1)),
        }
    }

    /// Steps from the first frame of a window to its last, that included.
    #[must_use]
    pub fn span(&self, trajectory: usize) -> usize {
        let gaps = self.frames(trajectory).saturating_sub(1);
        gaps.saturating_mul(self.stride.max(1)).saturating_add(1)
    }

    /// Number of windows in a trajectory.
    #[must_use]
    pub fn count(&self, trajectory: usize) -> usize {
        let Some(last) = trajectory.checked_sub(self.span(trajectory)) else {
            return 0;
        };
        let count = last / self.every.max(1) + 1;
        let count = self.most.map_or(count, |most| count.min(most));
        match self.length {
            Length::Frames(_) => count,
            Length::Trajectory => count.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_their_trajectory() {
        let spec = WindowSpec {
            stride: 3,
            every: 2,
            ..WindowSpec::of_length(3)
        };
        // Frames 0 3 6, 2 5 8, 4 7 10.
        assert_eq!((spec.span(11), spec.count(11), spec.count(6)), (7, 3, 0));
        let few = WindowSpec {
            most: Some(2),
            ..spec
        };
        assert_eq!(few.count(11), 2);
    }

    #[test]
    fn a_whole_trajectory_is_one_window() {
        let spec = WindowSpec::whole();
        assert_eq!((spec.frames(9), spec.count(9), spec.count(0)), (9, 1, 0));
        let every_other = WindowSpec { stride: 2, ..spec };
        assert_eq!((every_other.frames(9), every_other.count(9)), (5, 1));
        assert_eq!(every_other.frames(8), 4);
    }
}
