//! [`Transformer`]: the network over patches, whose patch size is an argument of each pass.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use wellspring_store::Patch;

use super::modulation::{Geometry, Modulation};
use super::network::Network;
use super::rotations::Rotations;
use super::{Columns, Parameters, Surrogate, ckm, csm, fixed};
use crate::config::{Mlp, Strategy, TransformerConfig};
use crate::ops::bytes_kept;
use crate::{Precision, Result};

/// The layers of a transformer with their weights.
#[derive(Debug, Clone)]
pub(crate) struct Transformer {
    pub(crate) config: TransformerConfig,
    pub(super) network: Arc<Network<Tensor>>,
    pub(super) rotations: Rotations,
}

impl Transformer {
    /// Layers that compute with what `value` makes of a model's variables.
    pub(super) fn of(
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        config: &TransformerConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let network = Network::of(parameters, value, config, columns, axes)?;
        Ok(Self {
            config: config.clone(),
            network: Arc::new(network),
            rotations: Rotations::new(config.dim / config.heads),
        })
    }

    /// A transformer of this kind over other variables with the same names and shapes.
    pub(super) fn over(
        &self,
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        let network = Network::of(parameters, value, &self.config, columns, axes)?;
        Ok(Self {
            network: Arc::new(network),
            ..self.clone()
        })
    }

    /// These layers over a model's weights as constants.
    pub(crate) fn frozen(&self, model: &Surrogate) -> Result<Self> {
        let (columns, axes) = (model.channels.vocabulary, model.boundaries.len());
        self.over(model.parameters(), Var::as_detached_tensor, columns, axes)
    }

    pub(super) fn geometry(&self, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let modulation: &dyn Modulation = match self.config.strategy {
            Strategy::Ckm => &ckm::Ckm,
            Strategy::Csm => &csm::Csm,
            Strategy::Fixed => &fixed::Fixed,
        };
        modulation.geometry(self.config.base_patch(), patch, space)
    }

    /// Features of the first convolution on a frame: each of its places has a quarter of a token's.
    pub(crate) fn first_features(&self, patch: &Patch, space: &[usize]) -> Result<u64> {
        let places: usize = self.geometry(patch, space)?.first().grid().iter().product();
        Ok(places as u64 * self.config.dim as u64 / 4)
    }

    /// Bytes of what one block keeps for its backward pass, about, for some tokens of a frame and a number of frames:
    /// 28 arrays as large as the tokens, and where attention is composed, four matrices of tokens × tokens for each
    /// head.
    pub(crate) fn block_bytes(
        &self,
        (precision, is_cuda): (Precision, bool),
        tokens: usize,
        frames: usize,
    ) -> u64 {
        let array = frames * tokens * self.config.dim;
        if is_cuda {
            return self.block_bytes_by_kernels(array, precision);
        }
        let scores = match precision {
            Precision::Bf16 => 4 * self.config.heads * tokens * 4,
            Precision::F32 | Precision::Tf32 => 0,
        };
        (array * 28 * 4 + frames * tokens * scores) as u64
    }

    /// Bytes that a block keeps where kernels of a GPU compute, for arrays of so many numbers.
    fn block_bytes_by_kernels(&self, array: usize, precision: Precision) -> u64 {
        let bytes = array * precision.dtype().size_in_bytes();
        // Normalized queries, keys and values of both attentions, and activations and norms with their inputs.
        let (norms, hidden) = match self.config.mlp {
            Mlp::Swiglu => (2, 2),
            Mlp::Gelu => (3, 4),
        };
        let again =
            2 * bytes_kept(3 * bytes) + bytes_kept(hidden * bytes) + norms * bytes_kept(bytes);
        // Both attentions' inputs and results, and the activation's input.
        (norms * array * 4 + 12 * bytes + again) as u64
    }
}
