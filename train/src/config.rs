//! The configuration of a run. Every key has a default but `data.root`.

use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::{DeviceChoice, Error, Result};

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

/// `[data]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data set: a folder or a URL.
    pub root: String,
    /// Frames that the model sees.
    pub context: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: String::new(),
            context: 6,
        }
    }
}

/// How a model's patch size can vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Convolutional kernel modulation: the kernel is resized, the stride follows (Algorithm 1).
    Ckm,
    /// Convolutional stride modulation: the kernel stays, the stride changes (Algorithm 2).
    Csm,
    /// One patch size for ever: the baseline.
    Fixed,
}

impl Strategy {
    /// Its name in configurations and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ckm => "ckm",
            Self::Csm => "csm",
            Self::Fixed => "fixed",
        }
    }
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// ckm, csm or fixed.
    pub strategy: Strategy,
    /// Patch sizes to train with, the same along every axis; a fixed model has one.
    pub patches: Vec<usize>,
    /// Base kernel of ckm and csm, by the patch size that it is natural for: 16 or 32.
    pub base: usize,
    /// Features of a token.
    pub dim: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Blocks of attention over time and space.
    pub blocks: usize,
    /// Groups of the encoder's GroupNorm.
    pub groups: usize,
    /// Whether every context frame predicts its next, not only the last.
    pub causal: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Ckm,
            patches: vec![4, 8, 16],
            base: 16,
            dim: 192,
            heads: 3,
            blocks: 12,
            groups: 12,
            causal: true,
        }
    }
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
    /// cpu or cuda.
    pub device: DeviceChoice,
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
            device: DeviceChoice::Cpu,
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
        positive("data.context", self.data.context)?;
        need(
            self.data.context >= 2,
            "data.context",
            self.data.context,
            "at least 2 frames, to see a change",
        )?;
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

impl ModelConfig {
    /// Frames that the attention over time can tell apart.
    #[must_use]
    pub fn context_limit(&self) -> usize {
        if self.causal { 16 } else { 8 }
    }

    /// Patch size that the base kernel is natural for.
    #[must_use]
    pub fn base_patch(&self) -> usize {
        match self.strategy {
            Strategy::Fixed => self.patches.first().copied().unwrap_or(self.base),
            _ => self.base,
        }
    }

    /// Checks that the numbers fit one another.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn validate(&self) -> Result<()> {
        let (dim, heads, groups) = (self.dim, self.heads, self.groups);
        need(
            dim > 0 && dim.is_multiple_of(4),
            "model.dim",
            dim,
            "a multiple of 4",
        )?;
        need(
            heads > 0 && dim.is_multiple_of(heads),
            "model.heads",
            heads,
            "a divisor of model.dim",
        )?;
        let width = dim / heads;
        need(
            width >= 8 && width.is_multiple_of(2),
            "model.heads",
            heads,
            "heads of at least 8 features, an even number",
        )?;
        need(
            groups > 0 && dim.is_multiple_of(groups) && (dim / 4).is_multiple_of(groups),
            "model.groups",
            groups,
            "a divisor of model.dim / 4",
        )?;
        need(self.blocks > 0, "model.blocks", self.blocks, "at least 1")?;
        let known = |size: &usize| [4, 8, 16, 32].contains(size);
        let patches = format!("{:?}", self.patches);
        need(
            !self.patches.is_empty() && self.patches.iter().all(known),
            "model.patches",
            &patches,
            "any of 4, 8, 16 and 32",
        )?;
        need(
            self.strategy != Strategy::Fixed || self.patches.len() == 1,
            "model.patches",
            &patches,
            "one size for a fixed model",
        )?;
        need(
            [16, 32].contains(&self.base) || self.strategy == Strategy::Fixed,
            "model.base",
            self.base,
            "16 or 32",
        )
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
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
