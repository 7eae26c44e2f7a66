//! Which checkpoint of a run is used, and which of its weights.

use std::fmt;
use std::str::FromStr;

/// A checkpoint of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckpointChoice {
    /// The newest sound one.
    #[default]
    Newest,
    /// The one with the best validation.
    Best,
    /// The one after a step.
    Step(u64),
}

impl FromStr for CheckpointChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "newest" => Ok(Self::Newest),
            "best" => Ok(Self::Best),
            step => step
                .parse()
                .map(Self::Step)
                .map_err(|_| format!("{text}: expected a step, \"best\" or \"newest\"")),
        }
    }
}

/// Weights of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightChoice {
    /// Their moving average where the run has one (`optim.ema`), else as they were trained.
    #[default]
    Average,
    /// As they were trained.
    Trained,
}

impl FromStr for WeightChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "average" => Ok(Self::Average),
            "trained" => Ok(Self::Trained),
            _ => Err(format!("{text}: expected \"average\" or \"trained\"")),
        }
    }
}

impl fmt::Display for WeightChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Average => "average",
            Self::Trained => "trained",
        })
    }
}

/// A model of a run: a checkpoint, and which of its weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModelChoice {
    /// The checkpoint.
    pub checkpoint: CheckpointChoice,
    /// The weights.
    pub weights: WeightChoice,
}

impl From<CheckpointChoice> for ModelChoice {
    fn from(checkpoint: CheckpointChoice) -> Self {
        Self {
            checkpoint,
            ..Self::default()
        }
    }
}
