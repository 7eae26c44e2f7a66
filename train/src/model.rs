//! [`Surrogate`]: maps normalized frames to the normalized change to the next frame.
//!
//! The transformer's tokens are channels-last: (T·B, S, C). A convolution is an unfolding and a matrix product, a
//! transposed one a matrix product and a folding. The field embedding and the first convolution are both linear, so
//! without padding between them they are composed into one kernel. This avoids the C/4 channels at full
//! resolution, the largest tensor of all.
//!
//! The Well's baselines (`model/baselines`) see the frames of the context as channels of a grid: (B, *space, T·C).

mod baselines;
mod block;
mod channels;
mod ckm;
mod convolution;
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
mod setting;
mod space_mixing;
mod stages;
mod time_mixing;
mod transformer;
mod weight;

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use wellspring_store::{Boundary, Patch};

use crate::config::{Architecture, ModelConfig, Strategy};
use crate::{Error, Precision, Result};
pub(crate) use baselines::{Baseline, BatchStatistics};
use channels::Channels;
pub use channels::Columns;
use modulation::PatchKernels;
use network::Network;
use padding::Padding;
pub use parameters::Parameters;
pub(crate) use pass::Pass;
pub use perturbation::Perturbation;
pub(crate) use transformer::Transformer;
#[cfg(test)]
pub(crate) use weight::Initial;
pub(crate) use weight::Weight;

/// Beyond this a typing error is likelier than a machine with the memory.
const MOST_PARAMETERS: usize = 20_000_000_000;

/// A model for a grid of some number of axes and a state of some channels.
#[derive(Debug, Clone)]
pub struct Surrogate {
    config: ModelConfig,
    channels: Channels,
    boundaries: Vec<[Boundary; 2]>,
    parameters: Parameters,
    layers: Layers,
    precision: Precision,
}

/// Layers that compute with the parameters.
#[derive(Debug, Clone)]
pub(crate) enum Layers {
    Transformer(Transformer),
    Baseline(Arc<Baseline<Tensor>>),
}

impl Layers {
    /// The weights of a model for a grid of `axes` axes, without values.
    fn weights(config: &ModelConfig, columns: Columns, axes: usize) -> Result<Vec<Weight>> {
        match &config.architecture {
            Architecture::Transformer(config) => Network::weights(config, columns, axes),
            Architecture::Baseline(config) => Baseline::weights(config, columns, axes),
        }
    }

    /// Layers that compute with what `value` makes of a model's variables.
    fn of(
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
        config: &ModelConfig,
        columns: Columns,
        axes: usize,
    ) -> Result<Self> {
        Ok(match &config.architecture {
            Architecture::Transformer(config) => {
                Self::Transformer(Transformer::of(parameters, value, config, columns, axes)?)
            }
            Architecture::Baseline(config) => {
                let baseline = Baseline::of(parameters, value, config, columns, axes)?;
                Self::Baseline(Arc::new(baseline))
            }
        })
    }
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
        let weights = Layers::weights(config, columns, axes)?;
        let mut counts = weights.iter().map(Weight::count);
        let count = counts.try_fold(0_usize, |sum, count| sum.checked_add(count?));
        if count.is_none_or(|count| count > MOST_PARAMETERS) {
            return Err(Error::Value {
                key: config.width_key(),
                value: config.width().to_string(),
                expected: format!(
                    "with {} blocks and {} channels these are more than {MOST_PARAMETERS} parameters",
                    config.depth(),
                    columns.all()
                ),
            });
        }
        let parameters = Parameters::draw(&weights, seed, device)?;
        Ok(Self {
            layers: Layers::of(&parameters, learning, config, columns, axes)?,
            config: config.clone(),
            channels: Channels::all(columns),
            boundaries,
            parameters,
            precision: Precision::F32,
        })
    }

    /// A model that shares these weights, for states with only some of the channels, in another order,
    /// or with other boundaries. `fields` are indices into the vocabulary that the model was made for.
    ///
    /// # Errors
    /// [`Error::Shape`] for a channel outside the vocabulary or another number of axes.
    pub fn view(&self, fields: Vec<u32>, boundaries: Vec<[Boundary; 2]>) -> Result<Self> {
        let channels = self.channels.with_fields(fields)?;
        if boundaries.len() != self.boundaries.len() {
            return Err(Error::Shape {
                what: "axes of the grid",
                expected: self.boundaries.len().to_string(),
                found: boundaries.len().to_string(),
            });
        }
        Ok(Self {
            channels,
            boundaries,
            ..self.clone()
        })
    }

    /// This model for frames with only some of the inputs, in another order: indices into the vocabulary of inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input outside the vocabulary.
    pub fn seeing(&self, inputs: Vec<u32>) -> Result<Self> {
        Ok(Self {
            channels: self.channels.with_inputs(inputs)?,
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
        self.channels.fields()
    }

    /// Channels of the frames that it sees: those of the state, then inputs.
    pub(crate) fn seen(&self) -> usize {
        self.channels.seen()
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Blocks that are computed one by one, where gradients are taken of each alone: those of a transformer.
    pub(crate) fn blocks(&self) -> usize {
        match &self.layers {
            Layers::Transformer(layers) => layers.config.blocks,
            Layers::Baseline(_) => 0,
        }
    }

    /// Tokens of a frame at a patch size; where no whole number of patches covers an axis, the last
    /// counts too. A token of a ckm or fixed model has always cells of the grid in it. A baseline's tokens are the points
    /// of the grid, at the patch size 1.
    ///
    /// # Errors
    /// [`Error::NoPatch`]; [`Error::Shape`] for an axis without points, or of a length that a baseline cannot halve:
    /// before anything runs.
    pub fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        match &self.layers {
            Layers::Transformer(layers) => {
                Ok(layers.geometry(patch, space)?.grid().iter().product())
            }
            Layers::Baseline(layers) => {
                layers.check(patch, space)?;
                Ok(space.iter().product())
            }
        }
    }

    /// [`Transformer::block_bytes`] of this model's.
    pub(crate) fn block_bytes(&self, layers: &Transformer, tokens: usize, frames: usize) -> u64 {
        let on = (self.precision, self.device().is_cuda());
        layers.block_bytes(on, tokens, frames)
    }

    /// Predicts from normalized frames x: (T, B, *space, fields + inputs), channels last. Gives the
    /// normalized changes (T or 1, B, *space, fields): one per context frame of a causal transformer, else
    /// that after the last. A model with batch norms takes the moments of this batch, as in training.
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
        match &self.layers {
            Layers::Transformer(layers) => {
                let pass = self.pass(layers, x, patch, perturbation)?;
                let tokens = pass.encode(x)?;
                pass.decode(&pass.blocks(&tokens, 0..layers.config.blocks)?)
            }
            Layers::Baseline(layers) => {
                self.on_grid(layers, x, patch, Some(&BatchStatistics::default()))
            }
        }
    }

    /// The change after the last frame alone, with running statistics: (1, B, *space, fields). All that a rollout needs;
    /// of a [`Surrogate::frozen`] model nothing is recorded.
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub(crate) fn predict(&self, x: &Tensor, patch: &Patch) -> Result<Tensor> {
        match &self.layers {
            Layers::Transformer(layers) => {
                let still = Perturbation::none();
                let pass = self.pass(layers, x, patch, &still)?;
                let tokens = pass.blocks(&pass.encode(x)?, 0..layers.config.blocks)?;
                pass.decode_last(&tokens)
            }
            Layers::Baseline(layers) => self.on_grid(layers, x, patch, None),
        }
    }

    /// Lays out a forward pass over frames such as x; nothing is computed but kernels.
    pub(crate) fn pass<'a>(
        &'a self,
        layers: &'a Transformer,
        x: &Tensor,
        patch: &Patch,
        perturbation: &'a Perturbation,
    ) -> Result<Pass<'a>> {
        let (time, batch, space) = self.check(x)?;
        let mut geometry = layers.geometry(patch, &space)?;
        if perturbation.jitters() && layers.config.strategy == Strategy::Csm {
            geometry.pad_at_random(patch, &self.boundaries, perturbation);
        }
        let padding = Padding::new(
            &geometry.padding,
            &self.boundaries,
            layers.network.encoder.padding.as_ref(),
        );
        Ok(Pass {
            model: self,
            transformer: layers,
            perturbation,
            kept: perturbation.factors(time, x.device())?,
            patching: PatchKernels::of(&layers.network, &geometry, padding)?,
            geometry,
            time,
            batch,
            space,
        })
    }

    /// The weights that a model such as this has, without values.
    pub(crate) fn weights(&self) -> Result<Vec<Weight>> {
        let columns = self.channels.vocabulary;
        Layers::weights(&self.config, columns, self.boundaries.len())
    }

    /// This model with other weights of the same names and shapes.
    pub(crate) fn with_parameters(&self, parameters: Parameters) -> Result<Self> {
        Ok(Self {
            layers: self.layers_over(&parameters, learning)?,
            parameters,
            ..self.clone()
        })
    }

    /// A model that shares these weights as constants: a pass records nothing, and frees each layer's
    /// input as it goes.
    pub(crate) fn frozen(&self) -> Result<Self> {
        Ok(Self {
            layers: self.layers_over(&self.parameters, Var::as_detached_tensor)?,
            ..self.clone()
        })
    }

    fn layers_over(
        &self,
        parameters: &Parameters,
        value: impl Fn(&Var) -> Tensor,
    ) -> Result<Layers> {
        let (columns, axes) = (self.channels.vocabulary, self.boundaries.len());
        match &self.layers {
            Layers::Transformer(layers) => {
                let layers = layers.over(parameters, value, columns, axes)?;
                Ok(Layers::Transformer(layers))
            }
            Layers::Baseline(_) => Layers::of(parameters, value, &self.config, columns, axes),
        }
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
