//! The settings of the transformer: strategy, sizes and patches.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};
use wellspring_store::Patch;

use super::{counted, need};
use crate::Result;

/// How a model's patch size can vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Convolutional kernel modulation: the kernel is resized, the stride follows (Algorithm 1).
    Ckm,
    /// Convolutional stride modulation: the kernel stays, the stride changes (Algorithm 2).
    Csm,
    /// A fixed patch size: the baseline.
    Fixed,
}

impl Strategy {
    /// Name of the strategy in configurations and tables.
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
    /// One size for every axis, in cells.
    Every(usize),
    /// A size for each axis: `"16x8x8"`.
    Each(String),
}

impl PatchSize {
    /// The patch on a grid of `ndim` axes.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it names another number of axes.
    pub fn on(&self, ndim: usize) -> Result<Patch> {
        Ok(match self {
            Self::Every(size) => Patch::uniform(*size, ndim),
            Self::Each(text) => Patch::parse(text, ndim)?,
        })
    }

    /// Sizes along the axes, if all are numbers.
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

/// `[model]` of a transformer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Strategy for patch sizes: ckm, csm or fixed.
    pub strategy: Strategy,
    /// Patch sizes to train with; a fixed model has one.
    pub patches: Vec<PatchSize>,
    /// Natural patch size of the base kernel of ckm and csm: 4, 8, 16 or 32.
    pub base: usize,
    /// Features of a token.
    pub dim: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Number of blocks of attention over time and space.
    pub blocks: usize,
    /// Number of groups of the encoder's GroupNorm.
    pub groups: usize,
    /// Whether every frame of the context predicts the next one, and not only the last.
    pub causal: bool,
    /// MLP of a block: swiglu or gelu.
    pub mlp: Mlp,
}

impl Default for TransformerConfig {
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

impl TransformerConfig {
    /// Maximum number of frames of the context, for the attention over time.
    #[must_use]
    pub fn context_limit(&self) -> usize {
        if self.causal { 16 } else { 8 }
    }

    /// Natural patch size of the base kernel.
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

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`crate::Error::Value`].
    pub fn validate(&self) -> Result<()> {
        let (dim, heads, groups) = (self.dim, self.heads, self.groups);
        need(
            (4..=65_536).contains(&dim) && dim.is_multiple_of(4),
            "model.dim",
            dim,
            "a multiple of 4, at most 65536",
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
        counted("model.blocks", self.blocks as u64, 4096)?;
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
        )?;
        let base = self.base;
        let beyond = |patch: &PatchSize| patch.sizes().is_some_and(|p| p.iter().any(|&p| p > base));
        need(
            self.strategy != Strategy::Csm || !self.patches.iter().any(beyond),
            "model.base",
            base,
            "no smaller than the patches of a csm model: a stride beyond the kernel skips cells",
        )
    }
}
