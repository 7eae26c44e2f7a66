//! The configuration of a run. Every key has a default but `data.root`.

mod data;
mod model;

use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::{DeviceChoice, Error, Precision, Result};

pub use data::{DataConfig, Roots};
pub use model::{Mlp, ModelConfig, PatchSize, Strategy};

/// Everything that makes a run; written into it, it starts the same run again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What it learns from.
    pub data: DataConfig,
    /// What learns.
    pub model: ModelConfig,
    /// How it learns.
    pub optim: OptimConfig,
    /// For how long.
    pub train: TrainConfig,
}

/// `[optim]`: AdamW, a linear warm-up and a cosine to zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// Highest learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Steps of warm-up.
    pub warmup: u64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 1e-4,
            warmup: 500,
        }
    }
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Steps in all.
    pub steps: u64,
    /// Passes over the data in all, instead of `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Windows in a step.
    pub batch: usize,
    /// Seed of the weights, the order of windows and the drawing of patch sizes.
    pub seed: u64,
    /// Moves the grid under the patches at random: rolls periodic axes, and pads others of a csm
    /// model by one patch more, split at random.
    pub jitter: bool,
    /// Stochastic depth: how often the last block's residuals are left out of a sample; the first
    /// block's never, those between in proportion.
    pub drop_path: f64,
    /// Memory, in MiB, for what blocks keep until their backward pass. Where all blocks need more,
    /// the first are computed again instead.
    pub activations_mib: u64,
    /// cpu or cuda.
    pub device: DeviceChoice,
    /// f32 or bf16.
    pub precision: Precision,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 20_000,
            epochs: None,
            batch: 2,
            seed: 0,
            jitter: false,
            drop_path: 0.0,
            activations_mib: 512,
            device: DeviceChoice::Cpu,
            precision: Precision::F32,
            checkpoint_every: 500,
            keep: 2,
        }
    }
}

impl Config {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown key or a wrong type, [`Error::Value`] for a value that
    /// cannot be.
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| Error::Config {
            reason: error.to_string().trim_end().to_owned(),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The configuration of a run.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] when there is no run.
    pub async fn load(run: &Location) -> Result<Self> {
        match run.join("config.toml").get_opt().await? {
            Some(bytes) => Self::from_toml(&String::from_utf8_lossy(&bytes)),
            None => Err(Error::NoCheckpoint {
                run: run.to_string(),
                which: String::new(),
            }),
        }
    }

    /// All keys with their values.
    ///
    /// # Errors
    /// [`Error::Config`] when a number is larger than TOML's.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config {
            reason: error.to_string(),
        })
    }

    /// Checks that the numbers fit one another.
    ///
    /// # Errors
    /// [`Error::Value`] or [`Error::LongContext`].
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        let positive = |key, value: usize| need(value > 0, key, value, "at least 1");
        self.data.validate()?;
        positive("train.batch", self.train.batch)?;
        positive("train.keep", self.train.keep)?;
        positive(
            "train.checkpoint_every",
            self.train.checkpoint_every as usize,
        )?;
        let lr = self.optim.lr;
        need(
            lr.is_finite() && lr > 0.0,
            "optim.lr",
            lr,
            "a positive number",
        )?;
        let decay = self.optim.weight_decay;
        need(
            (0.0..1.0).contains(&decay),
            "optim.weight_decay",
            decay,
            "a number from 0 to 1",
        )?;
        let drop = self.train.drop_path;
        need(
            (0.0..1.0).contains(&drop),
            "train.drop_path",
            drop,
            "from 0 to less than 1",
        )?;
        let base = self.model.base;
        let beyond = |patch: &PatchSize| patch.sizes().is_some_and(|p| p.iter().any(|&p| p > base));
        need(
            self.model.strategy != Strategy::Csm || !self.model.patches.iter().any(beyond),
            "model.base",
            base,
            "no smaller than the patches of a csm model: a stride beyond the kernel skips cells",
        )?;
        let limit = self.model.context_limit();
        if self.data.context > limit {
            return Err(Error::LongContext {
                context: self.data.context,
                limit,
            });
        }
        Ok(())
    }
}

fn need(holds: bool, key: &'static str, value: impl ToString, expected: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Value {
        key,
        value: value.to_string(),
        expected: format!("must be {expected}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_the_way_to_text_and_back() {
        let config = Config::default();
        assert_eq!(
            Config::from_toml(&config.to_toml().unwrap()).unwrap(),
            config
        );
        assert_eq!(Config::from_toml("").unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (text, key) in [
            ("[optim]\nspeed = 1", "speed"),
            ("[model]\nheads = 5", "model.heads"),
            ("[model]\npatches = [5]", "model.patches"),
            ("[model]\nstrategy = \"fixed\"", "model.patches"),
            ("[data]\ncontext = 17", "17 frames"),
            ("[train]\nbatch = 0", "train.batch"),
            ("[optim]\nlr = nan", "optim.lr"),
            ("[model]\nstrategy = \"csm\"\nbase = 8", "model.base"),
            ("[model]\npatches = [\"16x9\"]", "model.patches"),
            (
                "[data]\nroot = [\"a\", \"b\"]\nweights = [1.0]",
                "data.weights",
            ),
            ("[train]\ndrop_path = 1.0", "train.drop_path"),
            ("[data]\ntemperature = 0.0", "data.temperature"),
            ("[data]\nlanes = 0", "data.lanes"),
            ("[data]\nstarts = 0", "data.starts"),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
