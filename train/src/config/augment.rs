//! The `augment` section of a configuration: changes of the data that leave the physics as it is.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{counted, need};
use crate::Result;

/// `[augment]`: each sample of a step is changed in a way that is drawn for it. Vectors and tensors turn with space.
/// Whether an equation has a symmetry is for who sets it to know: gravity, for example, breaks that of its axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Axes that are reversed in half of the samples, by name: `["x", "y"]`. The two ends of each have the same
    /// boundary.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flip: Vec<String>,
    /// Two axes, alike in points, spacing and boundaries, of a plane that is turned by none to three quarters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turn: Vec<String>,
    /// Standard deviation of noise that is added to the frames of the context, in units of the stored values'.
    pub noise: f64,
    /// Largest factor of `data.stride`: each step draws one from 1 to it, so that the model sees the same flow in slower
    /// and faster motion.
    pub stride: usize,
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            flip: Vec::new(),
            turn: Vec::new(),
            noise: 0.0,
            stride: 1,
        }
    }
}

impl AugmentConfig {
    /// Whether the values of samples stay as they are.
    pub(crate) fn changes_values(&self) -> bool {
        self.noise > 0.0 || !self.flip.is_empty() || !self.turn.is_empty()
    }

    pub(super) fn validate(&self) -> Result<()> {
        let turn = format!("{:?}", self.turn);
        let two = match self.turn.as_slice() {
            [] => true,
            [a, b] => a != b,
            _ => false,
        };
        need(two, "augment.turn", turn, "two axes")?;
        let positive = (0.0..=1e6).contains(&self.noise);
        need(positive, "augment.noise", self.noise, "from 0 to 1e6")?;
        counted("augment.stride", self.stride as u64, 64)
    }
}
