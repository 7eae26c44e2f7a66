//! [`Surrogate`]: maps normalized frames to the normalized change to the next frame.
//!
//! Tokens are channels-last: (T·B, S, C). A convolution is an unfolding and a matrix product, a transposed
//! one a matrix product and a folding. The field embedding and the first convolution are both linear, so
//! without padding between them they are composed into one kernel. This avoids the C/4 channels at full
//! resolution, the largest tensor of all.

mod block;
mod ckm;
mod csm;
mod fixed;
mod layers;
mod modulation;
mod network;
mod padding;
mod parameters;
mod pass;
mod perturbation;
mod resize;
mod rotations;
mod space_mixing;
mod stages;
mod time_mixing;
mod weight;

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use wellspring_store::{Boundary, Patch};

use crate::config::{Mlp, ModelConfig, Strategy};
use crate::ops::bytes_kept;
use crate::{Error, Precision, Result};
use modulation::{Geometry, Modulation, Patching};
use network::Network;
use padding::Padding;
pub use parameters::Parameters;
pub(crate) use pass::Pass;
pub use perturbation::Perturbation;
use rotations::Rotations;
#[cfg(test)]
pub(crate) use weight::Initial;
pub(crate) use weight::Weight;

/// Beyond this a typing error is likelier than a machine with the memory.
const MOST_PARAMETERS: usize = 20_000_000_000;

/// What a model has weights for: columns of the field embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Channels of states, which it predicts.
    pub fields: usize,
    /// Inputs, which it only sees.
    pub inputs: usize,
}

impl Columns {
    /// All of them.
    #[must_use]
    pub fn all(self) -> usize {
        self.fields.saturating_add(self.inputs)
    }
}

impl From<usize> for Columns {
    /// Channels alone.
    fn from(fields: usize) -> Self {
        Self { fields, inputs: 0 }
    }
}

/// A model for a grid of some number of axes and a state of some channels.
#[derive(Debug, Clone)]
pub struct Surrogate {
    config: ModelConfig,
    /// Channels and inputs that there are weights for.
    vocabulary: Columns,
    /// Channels of the state, in order, as indices into the vocabulary.
    fields: Vec<u32>,
    /// Inputs that come after the channels, in order, as indices into the vocabulary of inputs.
    inputs: Vec<u32>,
    boundaries: Vec<[Boundary; 2]>,
    parameters: Parameters,
    /// Layers that compute with the parameters.
    network: Arc<Network<Tensor>>,
    rotations: Rotations,
    precision: Precision,
}

impl Surrogate {
    /// A model with fresh weights: PyTorch's rules, from a seed.
    ///
    /// # Errors
    /// [`Error::Value`] for sizes that do not fit one another.
    pub fn new(
        config: &ModelConfig,
        columns: impl Into<Columns>,
        boundaries: Vec<[Boundary; 2]>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let columns = columns.into();
        let axes = boundaries.len();
        let weights = Network::weights(config, columns, axes)?;
        let mut counts = weights.iter().map(Weight::count);
        let count = counts.try_fold(0_usize, |sum, count| sum.checked_add(count?));
        if count.is_none_or(|count| count > MOST_PARAMETERS) {
            return Err(Error::Value {
                key: "model.dim",
                value: config.dim.to_string(),
                expected: format!(
                    "with {} blocks and {} channels these are more than {MOST_PARAMETERS} parameters",
                    config.blocks,
                    columns.all()
                ),
            });
        }
        let parameters = Parameters::draw(&weights, seed, device)?;
        let network = Network::of(&parameters, learning, config, columns, axes)?;
        Ok(Self {
            config: config.clone(),
            vocabulary: columns,
            fields: (0..columns.fields as u32).collect(),
            inputs: (0..columns.inputs as u32).collect(),
            boundaries,
            parameters,
            network: Arc::new(network),
            rotations: Rotations::new(config.dim / config.heads),
            precision: Precision::F32,
        })
    }

    /// A model that shares these weights, for states with only some of the channels, in another order,
    /// or with other boundaries. `fields` are indices into the vocabulary that the model was made for.
    ///
    /// # Errors
    /// [`Error::Shape`] for a channel outside the vocabulary or another number of axes.
    pub fn view(&self, fields: Vec<u32>, boundaries: Vec<[Boundary; 2]>) -> Result<Self> {
        let outside = |&field: &u32| field as usize >= self.vocabulary.fields;
        if fields.is_empty() || fields.iter().any(outside) {
            return Err(Error::Shape {
                what: "channels for the model",
                expected: format!("some of {}", self.vocabulary.fields),
                found: format!("{fields:?}"),
            });
        }
        if boundaries.len() != self.boundaries.len() {
            return Err(Error::Shape {
                what: "axes of the grid",
                expected: self.boundaries.len().to_string(),
                found: boundaries.len().to_string(),
            });
        }
        Ok(Self {
            fields,
            boundaries,
            ..self.clone()
        })
    }

    /// This model for frames with only some of the inputs, in another order: indices into the vocabulary of inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input outside the vocabulary.
    pub fn seeing(&self, inputs: Vec<u32>) -> Result<Self> {
        let outside = |&input: &u32| input as usize >= self.vocabulary.inputs;
        if inputs.iter().any(outside) {
            return Err(Error::Shape {
                what: "inputs for the model",
                expected: format!("some of {}", self.vocabulary.inputs),
                found: format!("{inputs:?}"),
            });
        }
        Ok(Self {
            inputs,
            ..self.clone()
        })
    }

    /// The device that its weights lie on.
    pub(crate) fn device(&self) -> Device {
        self.parameters.device()
    }

    /// This model with the products within blocks in other numbers. The weights are shared.
    #[must_use]
    pub fn in_precision(&self, precision: Precision) -> Self {
        Self {
            precision,
            ..self.clone()
        }
    }

    /// Weights by the released model's names.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Configuration of the model.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Channels of the state.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Channels of the frames that it sees: those of the state, then inputs.
    pub(crate) fn seen(&self) -> usize {
        self.fields.len() + self.inputs.len()
    }

    /// Tokens of a frame at a patch size; where no whole number of patches covers an axis, the last
    /// counts too. A token of a ckm or fixed model has always cells of the grid in it.
    ///
    /// # Errors
    /// [`Error::NoPatch`]; [`Error::Shape`] for an axis without points: before anything runs.
    pub fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        Ok(self.geometry(patch, space)?.grid().iter().product())
    }

    /// Places of the first convolution on a frame, each with a quarter of a token's features.
    pub(crate) fn feature_places(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        Ok(self.geometry(patch, space)?.first().grid().iter().product())
    }

    /// Bytes of what one block keeps for its backward pass, about, for some tokens of a frame and a number of frames:
    /// 28 arrays as large as the tokens, and where attention is composed, four matrices of tokens × tokens for each
    /// head.
    pub(crate) fn block_bytes(&self, tokens: usize, frames: usize) -> u64 {
        let (config, precision) = (&self.config, self.precision);
        let array = frames * tokens * config.dim;
        if self.device().is_cuda() {
            return self.block_bytes_by_kernels(array);
        }
        let scores = match precision {
            Precision::Bf16 => 4 * config.heads * tokens * 4,
            Precision::F32 | Precision::Tf32 => 0,
        };
        (array * 28 * 4 + frames * tokens * scores) as u64
    }

    /// The same where kernels of a GPU compute, for arrays of so many numbers.
    fn block_bytes_by_kernels(&self, array: usize) -> u64 {
        let bytes = array * self.precision.dtype().size_in_bytes();
        // Normalized queries, keys and values of both attentions, and activations and norms with their inputs.
        let (norms, hidden) = match self.config.mlp {
            Mlp::Swiglu => (2, 2),
            Mlp::Gelu => (3, 4),
        };
        let again = 2 * bytes_kept(3 * bytes) + bytes_kept(hidden * bytes) + norms * bytes_kept(bytes);
        // Both attentions' inputs and results, and the activation's input.
        (norms * array * 4 + 12 * bytes + again) as u64
    }

    fn geometry(&self, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let modulation: &dyn Modulation = match self.config.strategy {
            Strategy::Ckm => &ckm::Ckm,
            Strategy::Csm => &csm::Csm,
            Strategy::Fixed => &fixed::Fixed,
        };
        modulation.geometry(self.config.base_patch(), patch, space)
    }

    /// Predicts from normalized frames x: (T, B, *space, fields + inputs), channels last. Gives the
    /// normalized changes (T or 1, B, *space, fields): one per context frame when causal, else
    /// that after the last.
    ///
    /// # Errors
    /// As [`Surrogate::tokens`], [`Error::LongContext`] and [`Error::Shape`].
    pub fn forward(&self, x: &Tensor, patch: &Patch) -> Result<Tensor> {
        self.forward_perturbed(x, patch, &Perturbation::none())
    }

    /// [`Surrogate::forward`] with the random perturbations of training.
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub fn forward_perturbed(
        &self,
        x: &Tensor,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<Tensor> {
        let pass = self.pass(x, patch, perturbation)?;
        let tokens = pass.encode(x)?;
        pass.decode(&pass.blocks(&tokens, 0..self.config.blocks)?)
    }

    /// Lays out a forward pass over frames such as x; nothing is computed but kernels.
    pub(crate) fn pass<'a>(
        &'a self,
        x: &Tensor,
        patch: &Patch,
        perturbation: &'a Perturbation,
    ) -> Result<Pass<'a>> {
        let (time, batch, space) = self.check(x)?;
        let mut geometry = self.geometry(patch, &space)?;
        if perturbation.jitters() && self.config.strategy == Strategy::Csm {
            geometry.pad_at_random(patch, &self.boundaries, perturbation);
        }
        let padding = Padding::new(
            &geometry.padding,
            &self.boundaries,
            self.network.encoder.padding.as_ref(),
        );
        Ok(Pass {
            model: self,
            perturbation,
            kept: perturbation.factors(time, x.device())?,
            patching: Patching::of(&self.network, &geometry, padding)?,
            geometry,
            time,
            batch,
            space,
        })
    }

    /// The weights that a model such as this has, without values.
    pub(crate) fn weights(&self) -> Result<Vec<Weight>> {
        Network::weights(&self.config, self.vocabulary, self.boundaries.len())
    }

    /// This model with other weights of the same names and shapes.
    pub(crate) fn with_parameters(&self, parameters: Parameters) -> Result<Self> {
        Ok(Self {
            network: self.network(&parameters, learning)?,
            parameters,
            ..self.clone()
        })
    }

    /// A model that shares these weights as constants: a pass records nothing, and frees each layer's
    /// input as it goes.
    pub(crate) fn frozen(&self) -> Result<Self> {
        Ok(Self {
            network: self.network(&self.parameters, Var::as_detached_tensor)?,
            ..self.clone()
        })
    }

    fn network(
        &self,
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
    ) -> Result<Arc<Network<Tensor>>> {
        let axes = self.boundaries.len();
        let network = Network::of(parameters, value, &self.config, self.vocabulary, axes)?;
        Ok(Arc::new(network))
    }

    fn check(&self, x: &Tensor) -> Result<(usize, usize, Vec<usize>)> {
        let dims = x.dims();
        let axes = self.boundaries.len();
        if dims.len() != axes + 3 || dims[axes + 2] != self.seen() || dims[0] == 0 {
            return Err(Error::Shape {
                what: "frames for the model",
                expected: format!("(T, B, {axes} axes, {} fields)", self.seen()),
                found: format!("{dims:?}"),
            });
        }
        let limit = self.config.context_limit();
        if dims[0] > limit {
            return Err(Error::LongContext {
                context: dims[0],
                limit,
            });
        }
        Ok((dims[0], dims[1], dims[2..2 + axes].to_vec()))
    }
}

/// What a layer computes with where gradients are recorded for its weights.
fn learning(weight: &Var) -> Tensor {
    weight.as_tensor().clone()
}
