//! The configuration of a run. Every key has a default but `data.root`.

use serde::{Deserialize, Serialize};
use wellspring_store::{CacheOptions, Location, Patch};

use crate::{DeviceChoice, Error, Precision, Result};

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data set: a folder or a URL; or several, which one model learns from by the names of
    /// their fields.
    pub root: Roots,
    /// Frames that the model sees.
    pub context: usize,
    /// Steps between the starts of two windows of a trajectory.
    pub every: usize,
    /// How often each data set is drawn, relative to the others; by its windows if not said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Where no weights are said, each data set is drawn by its windows to the power of one over this:
    /// 1 is by windows, a large number alike.
    pub temperature: f64,
    /// Shards whose windows are mixed at a time, for data sets in buckets; the whole split if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<usize>,
    /// Threads that gather batches.
    pub threads: usize,
    /// Memory, in MiB, for shards of each data set that are fetched or decompressed.
    pub memory_mib: u64,
    /// A folder for fetched shards, which processes may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// What the folder may take, in MiB.
    pub cache_mib: u64,
}

/// One data set or several: `root = "ds"` or `root = ["a", "b"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Roots {
    /// A folder or a URL; empty before one is named.
    One(String),
    /// All on grids of as many axes.
    Several(Vec<String>),
}

impl Roots {
    /// Each of them; none where the text is empty.
    #[must_use]
    pub fn list(&self) -> Vec<&str> {
        match self {
            Self::One(root) => Some(root.as_str()).into_iter().collect::<Vec<_>>(),
            Self::Several(roots) => roots.iter().map(String::as_str).collect(),
        }
        .into_iter()
        .filter(|root| !root.is_empty())
        .collect()
    }
}

impl From<String> for Roots {
    fn from(root: String) -> Self {
        Self::One(root)
    }
}

impl std::fmt::Display for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.list().join(" "))
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: Roots::One(String::new()),
            context: 6,
            every: 1,
            weights: Vec::new(),
            temperature: 1.0,
            lanes: None,
            threads: 1,
            memory_mib: 4096,
            cache: None,
            cache_mib: 65_536,
        }
    }
}

impl DataConfig {
    /// How much of a data set is held, and where.
    #[must_use]
    pub fn cache(&self) -> CacheOptions {
        let folder = self.cache.as_ref();
        CacheOptions {
            memory: self.memory_mib << 20,
            folder: folder.map(|folder| (folder.into(), self.cache_mib << 20)),
        }
    }

    /// Whether the same step sees the same windows.
    pub(crate) fn reads_alike(&self, other: &Self) -> bool {
        let drawn = |data: &Self| (data.context, data.every, data.temperature, data.lanes);
        drawn(self) == drawn(other) && self.weights == other.weights
    }

    fn validate(&self) -> Result<()> {
        need(
            self.context >= 2,
            "data.context",
            self.context,
            "at least 2 frames, to see a change",
        )?;
        let (roots, weights) = (self.root.list().len(), &self.weights);
        need(
            weights.is_empty()
                || weights.len() == roots && weights.iter().all(|w| w.is_finite() && *w > 0.0),
            "data.weights",
            format!("{weights:?}"),
            "one positive number for each data set of data.root",
        )?;
        let temperature = self.temperature;
        need(
            temperature.is_finite() && temperature > 0.0,
            "data.temperature",
            temperature,
            "a positive number",
        )?;
        need(self.every > 0, "data.every", self.every, "at least 1")?;
        let lanes = self.lanes.unwrap_or(1);
        need(lanes > 0, "data.lanes", lanes, "at least 1")?;
        need(self.threads > 0, "data.threads", self.threads, "at least 1")
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

/// The MLP of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mlp {
    /// SwiGLU beside the attention over space, in one residual: the released code.
    Swiglu,
    /// GELU after it, with a norm and a residual of its own: the paper's text.
    Gelu,
}

/// A patch size in a configuration: `16` along every axis, or `"16x8x8"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PatchSize {
    /// The same along every axis.
    Every(usize),
    /// One for each axis.
    Each(String),
}

impl PatchSize {
    /// On a grid of some number of axes.
    ///
    /// # Errors
    /// [`Error::Store`] where it names another number of axes.
    pub fn on(&self, ndim: usize) -> Result<Patch> {
        Ok(match self {
            Self::Every(size) => Patch::uniform(*size, ndim),
            Self::Each(text) => Patch::parse(text, ndim)?,
        })
    }

    /// Its sizes, as far as they are numbers.
    fn sizes(&self) -> Option<Vec<usize>> {
        match self {
            Self::Every(size) => Some(vec![*size]),
            Self::Each(text) => text.split('x').map(|size| size.parse().ok()).collect(),
        }
    }
}

impl From<usize> for PatchSize {
    fn from(size: usize) -> Self {
        Self::Every(size)
    }
}

impl std::fmt::Display for PatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Every(size) => write!(f, "{size}"),
            Self::Each(text) => f.write_str(text),
        }
    }
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// ckm, csm or fixed.
    pub strategy: Strategy,
    /// Patch sizes to train with; a fixed model has one.
    pub patches: Vec<PatchSize>,
    /// Base kernel of ckm and csm, by the patch size that it is natural for: 4, 8, 16 or 32.
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
    /// swiglu or gelu.
    pub mlp: Mlp,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Ckm,
            patches: [4, 8, 16].map(PatchSize::Every).to_vec(),
            base: 16,
            dim: 192,
            heads: 3,
            blocks: 12,
            groups: 12,
            causal: true,
            mlp: Mlp::Swiglu,
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
            Strategy::Fixed => match self.patches.first() {
                Some(PatchSize::Every(size)) => *size,
                _ => self.base,
            },
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
        let all_known = |patch: &PatchSize| patch.sizes().is_some_and(|p| p.iter().all(known));
        let patches: Vec<String> = self.patches.iter().map(PatchSize::to_string).collect();
        let patches = format!("[{}]", patches.join(", "));
        need(
            !self.patches.is_empty() && self.patches.iter().all(all_known),
            "model.patches",
            &patches,
            "any of 4, 8, 16 and 32",
        )?;
        need(
            self.strategy != Strategy::Fixed
                || matches!(self.patches.as_slice(), [PatchSize::Every(_)]),
            "model.patches",
            &patches,
            "one size, along every axis, for a fixed model",
        )?;
        need(
            known(&self.base) || self.strategy == Strategy::Fixed,
            "model.base",
            self.base,
            "4, 8, 16 or 32",
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
            ("[model]\nstrategy = \"csm\"\nbase = 8", "model.base"),
            ("[model]\npatches = [\"16x9\"]", "model.patches"),
            (
                "[data]\nroot = [\"a\", \"b\"]\nweights = [1.0]",
                "data.weights",
            ),
            ("[train]\ndrop_path = 1.0", "train.drop_path"),
            ("[data]\ntemperature = 0.0", "data.temperature"),
            ("[data]\nlanes = 0", "data.lanes"),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
