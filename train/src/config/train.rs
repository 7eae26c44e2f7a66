//! The `train` section of a configuration: length and course of the training.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{MOST_STEPS, counted, need};
use crate::{DeviceChoice, Precision, Result, Wire};

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Total number of steps.
    pub steps: u64,
    /// Total number of passes over the data, instead of `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Time that the run takes in all, in hours, instead of `steps`; that of resumed parts is added up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<f64>,
    /// Windows of a step.
    pub batch: usize,
    /// Seed of the weights, the order of windows and the drawing of patch sizes.
    pub seed: u64,
    /// Whether to shift the grid under the patches at random: periodic axes are rolled, and other axes of
    /// a csm model are padded by one patch more, split at random.
    pub jitter: bool,
    /// Stochastic depth: the probability with which the last block's residuals are left out of a sample.
    /// It is zero for the first block, and linear in between.
    pub drop_path: f64,
    /// Memory in MiB for tensors that blocks keep until their backward pass. If all blocks need more, the
    /// first ones are computed again instead. By default 512 on a CPU, and three quarters of the free
    /// memory on a GPU when training begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations_mib: Option<u64>,
    /// Device to train on: cpu or cuda.
    pub device: DeviceChoice,
    /// Precision of products: f32, tf32 or bf16.
    pub precision: Precision,
    /// Numbers in which ranks send gradients to one another: f32 or bf16. They are summed in f32.
    pub wire: Wire,
    /// Number of steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Number of newest checkpoints that are kept. The one with the best validation is kept beside them.
    pub keep: usize,
    /// Checkpoints whose step is a multiple of this are kept for ever; by default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// Steps in a row whose loss or gradient is not finite before the run ends. Such a step changes no weight.
    pub max_skipped: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            epochs: None,
            hours: None,
            batch: 2,
            seed: 0,
            jitter: false,
            drop_path: 0.0,
            activations_mib: None,
            device: DeviceChoice::Cpu,
            precision: Precision::F32,
            wire: Wire::F32,
            checkpoint_every: 500,
            keep: 2,
            keep_every: None,
            max_skipped: 10,
        }
    }
}

impl TrainConfig {
    pub(super) fn validate(&self) -> Result<()> {
        let steps = format!("at most {MOST_STEPS}");
        need(self.steps <= MOST_STEPS, "train.steps", self.steps, &steps)?;
        if let Some(hours) = self.hours {
            let sound = hours > 0.0 && hours <= 1e6;
            need(sound, "train.hours", hours, "more than 0 and at most 1e6")?;
        }
        counted("train.batch", self.batch as u64, 1_000_000)?;
        need(self.keep > 0, "train.keep", self.keep, "at least 1")?;
        let every = self.checkpoint_every;
        need(every > 0, "train.checkpoint_every", every, "at least 1")?;
        if let Some(every) = self.keep_every {
            need(every > 0, "train.keep_every", every, "at least 1")?;
        }
        let drop = self.drop_path;
        need(
            (0.0..1.0).contains(&drop),
            "train.drop_path",
            drop,
            "from 0 to less than 1",
        )
    }
}
