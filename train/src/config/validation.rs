//! The `validation` section of a configuration: measurements of the model while it is trained.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{counted, need};
use crate::Result;

/// `[validation]`: the same windows of the data sets' split `valid` every time. Nothing that is learned depends on
/// it, but when the run ends if `patience` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations; 0 for none, not even at the end.
    pub every: u64,
    /// Windows of each data set for which the next frame is predicted, at every patch size.
    pub windows: usize,
    /// Steps between two validations by rollouts; 0 for none.
    pub rollout_every: u64,
    /// Frames of a rollout, in which the patch sizes take turns.
    pub rollout: usize,
    /// Windows of each data set from which a rollout begins.
    pub rollouts: usize,
    /// Seed of the choice of windows.
    pub seed: u64,
    /// Validations in a row without a new best one before the run ends; by default it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self {
            every: 500,
            windows: 32,
            rollout_every: 2500,
            rollout: 12,
            rollouts: 4,
            seed: 0,
            patience: None,
        }
    }
}

impl ValidationConfig {
    /// Whether the model is to be validated after a step, the last one or another.
    pub(crate) fn is_due(&self, step: u64, is_last: bool) -> bool {
        self.every > 0 && step > 0 && (is_last || step.is_multiple_of(self.every))
    }

    /// Whether a validation after a step has rollouts too.
    pub(crate) fn rolls_out(&self, step: u64, is_last: bool) -> bool {
        let every = self.rollout_every;
        every > 0 && (is_last || step.is_multiple_of(every))
    }

    pub(super) fn validate(&self) -> Result<()> {
        const MANY: u64 = 1_000_000;
        counted("validation.windows", self.windows as u64, MANY)?;
        counted("validation.rollout", self.rollout as u64, MANY)?;
        counted("validation.rollouts", self.rollouts as u64, MANY)?;
        if let Some(patience) = self.patience {
            need(
                patience > 0 && self.every > 0,
                "validation.patience",
                patience,
                "at least 1, with validation.every above 0",
            )?;
        }
        Ok(())
    }
}
