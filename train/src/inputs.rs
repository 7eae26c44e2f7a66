//! What a model sees beside the state of a simulation: constant fields, scalars, boundaries and the time step.
//!
//! `model.inputs` names the kinds. Each input has a column of its own in the field embedding, as a channel has, but
//! no row in the decoder and no part in the loss. [`Input`] says which there are:
//!
//! - `constant:mask`: a channel of a field that does not vary in time, at every frame;
//! - `scalar:Reynolds`: a parameter of the simulation, or a scalar that varies in time, at each frame of the
//!   context; the same value in every cell;
//! - `boundary:x-low:wall`: 1 where that side of the axis is of that type, else 0; six for each axis;
//! - `dt`: ln(Δt / Δt₀) with the time Δt from each frame to the next, so that a factor is a shift. Δt₀ is the time
//!   from the first frame of a window to the second, at the beginning of the training data.
//!
//! Constant fields and scalars are normalized by mean and standard deviation over the trajectories of all training
//! splits together, in their own units; one without a spread gives 0. Checkpoints keep these numbers, so a model
//! that is taken to another data set reads the same units. What a data set lacks is absent, as with channels.

mod column;
mod reader;
mod statistics;
mod values;

use std::fmt;

use serde::{Deserialize, Serialize};
use wellspring_store::Boundary;

pub use column::Column;
pub(crate) use column::{columns, pooled, scalars};
pub(crate) use reader::InputReader;
pub(crate) use statistics::measure;
pub use values::{Example, InputValues};

/// A kind of input, as `model.inputs` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Fields that do not vary in time.
    Constants,
    /// Parameters of the simulation, and scalars that vary in time.
    Scalars,
    /// The type of each side of each axis.
    Boundaries,
    /// The time from each frame to the next.
    Dt,
}

impl InputKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Constants, Self::Scalars, Self::Boundaries, Self::Dt];

    /// Its name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constants => "constants",
            Self::Scalars => "scalars",
            Self::Boundaries => "boundaries",
            Self::Dt => "dt",
        }
    }
}

/// An end of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where its coordinate begins.
    Low,
    /// Where it ends.
    High,
}

/// One input of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// A channel of a field that does not vary in time.
    Constant(String),
    /// A scalar.
    Scalar(String),
    /// Whether a side of an axis is of a type.
    Boundary {
        /// Name of the axis.
        axis: String,
        /// End of the axis.
        side: Side,
        /// The type.
        kind: Boundary,
    },
    /// The time from each frame to the next.
    Dt,
}

impl Input {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> InputKind {
        match self {
            Self::Constant(_) => InputKind::Constants,
            Self::Scalar(_) => InputKind::Scalars,
            Self::Boundary { .. } => InputKind::Boundaries,
            Self::Dt => InputKind::Dt,
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(name) => write!(f, "constant:{name}"),
            Self::Scalar(name) => write!(f, "scalar:{name}"),
            Self::Boundary { axis, side, kind } => {
                let side = match side {
                    Side::Low => "low",
                    Side::High => "high",
                };
                let kind = match kind {
                    Boundary::Wall => "wall",
                    Boundary::Open => "open",
                    Boundary::Periodic => "periodic",
                };
                write!(f, "boundary:{axis}-{side}:{kind}")
            }
            Self::Dt => f.write_str("dt"),
        }
    }
}
