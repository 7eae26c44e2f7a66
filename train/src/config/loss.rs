//! The `loss` section of a configuration: what the optimizer makes small.

use std::collections::BTreeMap;

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::need;
use crate::Result;

/// The error of a predicted change x against the true one y, both normalized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Mean of (x − y)².
    #[default]
    Mse,
    /// Mean of |x − y|.
    Mae,
    /// Mean over frames and channels of ‖x − y‖ / ‖y‖ over space.
    RelativeL2,
    /// Mean of (x − y)² / 2 up to |x − y| = δ, and of δ (|x − y| − δ / 2) beyond (Huber 1964).
    Huber,
}

/// `[loss]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// mse, mae, relative-l2 or huber.
    pub kind: LossKind,
    /// Where huber turns from a square into a line.
    pub delta: f64,
    /// Weights of fields by their names, of all their components; 1 where nothing is said. They are divided by
    /// their mean over the channels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, f64>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            kind: LossKind::default(),
            delta: 1.0,
            weights: BTreeMap::new(),
        }
    }
}

impl LossConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let positive = self.delta.is_finite() && self.delta > 0.0;
        need(positive, "loss.delta", self.delta, "a positive number")?;
        for (field, weight) in &self.weights {
            need(
                (0.0..=1e9).contains(weight),
                "loss.weights",
                format!("{{ {field} = {weight} }}"),
                "numbers from 0 to 1e9",
            )?;
        }
        Ok(())
    }
}
