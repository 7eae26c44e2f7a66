//! [`Conditions`]: what a simulation is given beside its state. Models may see them, and never predict them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Frames, Window};

/// What goes with the frames of one window: fields that do not vary in time, scalars and times.
///
/// Scalars and times have one value for each frame of the window. They are of the data, in a rollout too: what
/// is given to a simulation is known for its future.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions {
    /// The window, to name it in errors.
    pub window: Window,
    /// Fields that do not vary in time, as stored (normalized): (1, 1, C, *space), with the channels of
    /// [`Schema::constant_channels`](crate::Schema::constant_channels); none where they were not asked for, or
    /// there are none.
    pub constants: Option<Arc<Frames>>,
    /// Scalars by name, one value for each frame; NaN where a series in time is too short.
    pub scalars: BTreeMap<String, Vec<f64>>,
    /// Times of the frames, in the simulation's units.
    pub times: Vec<f64>,
}

/// Which conditions are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Conditioning {
    /// None: frames alone.
    #[default]
    Nothing,
    /// Scalars and times, which cost nothing to read.
    Numbers,
    /// Fields that do not vary in time too. Those of a split are held in memory, beside the cache's limit.
    Everything,
}

/// What a prediction begins with: frames, and what goes with them.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Stored (normalized) values: (T, B, C, *space).
    pub frames: &'a Frames,
    /// Conditions of each of the B windows, at the T frames and at the one after them; empty for a model that
    /// sees none.
    pub conditions: &'a [Conditions],
}

impl<'a> From<&'a Frames> for Context<'a> {
    /// Frames without conditions.
    fn from(frames: &'a Frames) -> Self {
        Self {
            frames,
            conditions: &[],
        }
    }
}
