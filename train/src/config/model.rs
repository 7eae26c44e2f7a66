//! The `model` section of a configuration: an architecture with the keys that it has, and what the model sees.

use std::collections::BTreeSet;

use documented::DocumentedFields;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Table;

use super::{BaselineConfig, Mlp, PatchSize, Strategy, TransformerConfig};
use crate::{InputKind, Result};

/// `[model]`
#[derive(Debug, Clone, Default, PartialEq, Eq, DocumentedFields)]
pub struct ModelConfig {
    /// The network: transformer, or one of The Well's baselines: unet, cnextunet, fno, tfno. Each has its own of the keys
    /// that follow.
    pub architecture: Architecture,
    /// What the model sees beside the state: constants, scalars, boundaries, dt. By default nothing.
    pub inputs: BTreeSet<InputKind>,
}

/// A network and its settings: `model.architecture`, and the other keys of `[model]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Architecture {
    /// The transformer over patches, whose cost is chosen at inference.
    Transformer(TransformerConfig),
    /// One of The Well's baselines, over grid points.
    Baseline(BaselineConfig),
}

impl Default for Architecture {
    fn default() -> Self {
        Self::Transformer(TransformerConfig::default())
    }
}

impl From<TransformerConfig> for ModelConfig {
    fn from(config: TransformerConfig) -> Self {
        Architecture::Transformer(config).into()
    }
}

impl From<Architecture> for ModelConfig {
    /// A model that sees the state alone.
    fn from(architecture: Architecture) -> Self {
        Self {
            architecture,
            inputs: BTreeSet::new(),
        }
    }
}

impl ModelConfig {
    /// The settings of a transformer; none for other architectures.
    #[must_use]
    pub fn transformer(&self) -> Option<&TransformerConfig> {
        match &self.architecture {
            Architecture::Transformer(config) => Some(config),
            Architecture::Baseline(_) => None,
        }
    }

    /// The settings of a transformer, to change them.
    pub fn transformer_mut(&mut self) -> Option<&mut TransformerConfig> {
        match &mut self.architecture {
            Architecture::Transformer(config) => Some(config),
            Architecture::Baseline(_) => None,
        }
    }

    /// The patch sizes that it is trained with. Other architectures than the transformer compute on grid points: they
    /// have one size, 1.
    #[must_use]
    pub fn patches(&self) -> Vec<PatchSize> {
        match &self.architecture {
            Architecture::Transformer(config) => config.patches.clone(),
            Architecture::Baseline(_) => vec![1.into()],
        }
    }

    /// This model with one of its patch sizes alone.
    #[must_use]
    pub fn with_patch(&self, patch: PatchSize) -> Self {
        let mut alone = self.clone();
        if let Some(transformer) = alone.transformer_mut() {
            transformer.patches = vec![patch];
        }
        alone
    }

    /// The name of its kind in tables: a transformer's strategy, else the architecture.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.architecture {
            Architecture::Transformer(config) => config.strategy.name(),
            Architecture::Baseline(config) => config.name(),
        }
    }

    /// Features of a token, or of a grid point at the grid's own resolution.
    #[must_use]
    pub fn width(&self) -> usize {
        match &self.architecture {
            Architecture::Transformer(config) => config.dim,
            Architecture::Baseline(config) => config.width(),
        }
    }

    /// The key of [`ModelConfig::width`].
    pub(crate) fn width_key(&self) -> &'static str {
        match &self.architecture {
            Architecture::Transformer(_) => "model.dim",
            Architecture::Baseline(config) => config.width_key(),
        }
    }

    /// Blocks that it is made of.
    #[must_use]
    pub fn depth(&self) -> usize {
        match &self.architecture {
            Architecture::Transformer(config) => config.blocks,
            Architecture::Baseline(config) => config.depth(),
        }
    }

    /// Maximum number of frames of the context.
    #[must_use]
    pub fn context_limit(&self) -> usize {
        match &self.architecture {
            Architecture::Transformer(config) => config.context_limit(),
            // Frames are channels of the first layer; a thousand are beyond any data set.
            Architecture::Baseline(_) => 1024,
        }
    }

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`crate::Error::Value`].
    pub fn validate(&self) -> Result<()> {
        match &self.architecture {
            Architecture::Transformer(config) => config.validate(),
            Architecture::Baseline(config) => config.validate(),
        }
    }
}

/// What `model.architecture` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    #[default]
    Transformer,
    Unet,
    CnextUnet,
    Fno,
    Tfno,
}

impl Name {
    /// The architecture with these keys.
    fn with(self, keys: Table) -> Result<Architecture, toml::de::Error> {
        Ok(Architecture::Baseline(match self {
            Self::Transformer => return Ok(Architecture::Transformer(keys.try_into()?)),
            Self::Unet => BaselineConfig::Unet(keys.try_into()?),
            Self::CnextUnet => BaselineConfig::CnextUnet(keys.try_into()?),
            Self::Fno => BaselineConfig::Fno(keys.try_into()?),
            Self::Tfno => BaselineConfig::Tfno(keys.try_into()?),
        }))
    }
}

/// All keys that `[model]` can have, so that errors of their names and types show their lines.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    #[serde(skip_serializing)]
    architecture: Name,
    strategy: Option<Strategy>,
    patches: Option<Vec<PatchSize>>,
    base: Option<usize>,
    dim: Option<usize>,
    heads: Option<usize>,
    blocks: Option<usize>,
    groups: Option<usize>,
    causal: Option<bool>,
    mlp: Option<Mlp>,
    init_features: Option<usize>,
    blocks_per_stage: Option<usize>,
    modes: Option<usize>,
    hidden: Option<usize>,
    #[serde(skip_serializing)]
    inputs: BTreeSet<InputKind>,
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let name = keys.architecture;
        let set = Table::try_from(&keys).map_err(D::Error::custom)?;
        let architecture = name.with(set).map_err(|error| {
            let (name, words) = (format!("{name:?}").to_lowercase(), error.message());
            D::Error::custom(format!("model.architecture = {name}: {words}"))
        })?;
        Ok(Self {
            architecture,
            inputs: keys.inputs,
        })
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            architecture: Settings<'a>,
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            inputs: &'a BTreeSet<InputKind>,
        }
        /// A transformer is not named, as before there were others.
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Settings<'a> {
            Transformer(&'a TransformerConfig),
            Baseline(&'a BaselineConfig),
        }
        let written = Written {
            architecture: match &self.architecture {
                Architecture::Transformer(config) => Settings::Transformer(config),
                Architecture::Baseline(config) => Settings::Baseline(config),
            },
            inputs: &self.inputs,
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ModelConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn architectures_survive_the_way_to_text_and_back() {
        for (text, kind, width, depth) in [
            ("", "ckm", 192, 12),
            ("strategy = \"csm\"\ninputs = [\"dt\"]", "csm", 192, 12),
            ("architecture = \"unet\"", "unet", 48, 9),
            (
                "architecture = \"cnextunet\"\nblocks_per_stage = 1",
                "cnextunet",
                42,
                9,
            ),
            ("architecture = \"fno\"\nhidden = 32", "fno", 32, 4),
            ("architecture = \"tfno\"\nmodes = 8", "tfno", 128, 4),
        ] {
            let model = read(text).unwrap();
            assert_eq!((model.kind(), model.width()), (kind, width), "{text}");
            assert_eq!(model.depth(), depth, "{text}");
            let again = read(&toml::to_string(&model).unwrap()).unwrap();
            assert_eq!(again, model, "{text}");
        }
    }

    #[test]
    fn a_transformer_is_written_as_before_there_were_others() {
        let text = toml::to_string(&ModelConfig::default()).unwrap();
        assert!(text.starts_with("strategy = \"ckm\""), "{text}");
        assert!(!text.contains("architecture"), "{text}");
    }

    #[test]
    fn a_key_of_another_architecture_is_refused() {
        for (text, words) in [
            ("architecture = \"unet\"\npatches = [8]", "patches"),
            ("architecture = \"unet\"\nstrategy = \"ckm\"", "strategy"),
            ("architecture = \"fno\"\ncausal = true", "causal"),
            ("architecture = \"tfno\"\ninit_features = 4", "modes"),
            ("modes = 4", "model.architecture = transformer"),
            ("architecture = \"resnet\"", "cnextunet"),
            ("init_feature = 4", "init_features"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
