//! The settings of The Well's baseline models, with the values of its benchmark as defaults (Ohana et al., "The Well",
//! NeurIPS 2024, and the configurations of the package `the-well`).

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};

use super::{counted, need};
use crate::Result;

/// Beyond this many features a typing error is likelier than a machine with the memory.
const MOST_FEATURES: u64 = 65_536;

/// A baseline and its settings, which are the keys of `[model]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "architecture", rename_all = "lowercase")]
pub enum BaselineConfig {
    /// The U-net.
    Unet(UnetConfig),
    /// The U-net of ConvNeXt blocks.
    CnextUnet(CnextUnetConfig),
    /// The Fourier neural operator.
    Fno(FnoConfig),
    /// The Fourier neural operator with its weights in Tucker factors.
    Tfno(FnoConfig),
}

impl BaselineConfig {
    /// What `model.architecture` calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unet(_) => "unet",
            Self::CnextUnet(_) => "cnextunet",
            Self::Fno(_) => "fno",
            Self::Tfno(_) => "tfno",
        }
    }

    /// Features of a grid point at the grid's own resolution.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Unet(config) => config.init_features,
            Self::CnextUnet(config) => config.init_features,
            Self::Fno(config) | Self::Tfno(config) => config.hidden,
        }
    }

    pub(super) fn width_key(&self) -> &'static str {
        match self {
            Self::Unet(_) | Self::CnextUnet(_) => "model.init_features",
            Self::Fno(_) | Self::Tfno(_) => "model.hidden",
        }
    }

    /// Blocks: of a U-net all on the way down, on the way up and the coarsest, of an operator the Fourier layers.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Unet(_) => 9,
            Self::CnextUnet(config) => 8 * config.blocks_per_stage + 1,
            Self::Fno(_) | Self::Tfno(_) => 4,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        match self {
            Self::Unet(config) => config.validate(),
            Self::CnextUnet(config) => config.validate(),
            Self::Fno(config) | Self::Tfno(config) => config.validate(),
        }
    }
}

/// `[model]` of a U-net: four halvings of the grid, two convolutions at each resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Features at the grid's own resolution; each halving doubles them.
    pub init_features: usize,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self { init_features: 48 }
    }
}

impl UnetConfig {
    fn validate(&self) -> Result<()> {
        features("model.init_features", self.init_features)
    }
}

/// `[model]` of a U-net of ConvNeXt blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct CnextUnetConfig {
    /// Features at the grid's own resolution; each halving doubles them.
    pub init_features: usize,
    /// Blocks at each resolution, on the way down and again on the way up; the coarsest has one.
    pub blocks_per_stage: usize,
}

impl Default for CnextUnetConfig {
    fn default() -> Self {
        Self {
            init_features: 42,
            blocks_per_stage: 2,
        }
    }
}

impl CnextUnetConfig {
    fn validate(&self) -> Result<()> {
        features("model.init_features", self.init_features)?;
        counted("model.blocks_per_stage", self.blocks_per_stage as u64, 4096)
    }
}

/// `[model]` of a Fourier neural operator, with dense weights or their Tucker factors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct FnoConfig {
    /// Frequencies that are kept along each axis, negative ones too.
    pub modes: usize,
    /// Features of a grid point.
    pub hidden: usize,
}

impl Default for FnoConfig {
    fn default() -> Self {
        Self {
            modes: 16,
            hidden: 128,
        }
    }
}

impl FnoConfig {
    fn validate(&self) -> Result<()> {
        let modes = self.modes;
        need(
            (2..=65_536).contains(&modes) && modes.is_multiple_of(2),
            "model.modes",
            modes,
            "an even number, at most 65536",
        )?;
        features("model.hidden", self.hidden)
    }
}

fn features(key: &'static str, value: usize) -> Result<()> {
    counted(key, value as u64, MOST_FEATURES)
}
