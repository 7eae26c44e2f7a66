//! The surrogate: frames in, the normalised change to the next frame out.
//!
//! Tokens are kept channels-last: (T·B, S, C). A convolution is an unfolding and a matrix product, a
//! transposed one a matrix product and a folding. The field embedding and the first convolution are
//! both linear, so where no padding comes between them they are composed into one kernel, which
//! spares the C/4 channels at full resolution, the largest tensor of all.

mod ckm;
mod csm;
mod fixed;
mod initial;
mod modulation;
mod parameters;
mod perturbation;
mod processor;
mod resize;
mod stages;

use candle_core::{Device, Tensor};
use wellspring_store::{Boundary, Patch};

use crate::config::{ModelConfig, Strategy};
use crate::ops::{Tiling, fold, gelu, group_norm, linear, unfold};
use crate::{Error, Result};
use modulation::{Geometry, Modulation, Patching};
pub use parameters::Parameters;
pub use perturbation::Perturbation;
use processor::Processor;

/// A model for a grid of some number of axes and a state of some channels.
#[derive(Debug)]
pub struct Surrogate {
    config: ModelConfig,
    /// Channels that there are weights for.
    vocabulary: usize,
    /// Which of them the state has, in its order.
    fields: Vec<u32>,
    boundaries: Vec<[Boundary; 2]>,
    parameters: Parameters,
}

impl Surrogate {
    /// A model with fresh weights: PyTorch's rules, from a seed.
    ///
    /// # Errors
    /// [`Error::Value`] for sizes that do not fit one another.
    pub fn new(
        config: &ModelConfig,
        fields: usize,
        boundaries: Vec<[Boundary; 2]>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let expected = initial::weights(config, fields, boundaries.len());
        Ok(Self {
            config: config.clone(),
            vocabulary: fields,
            fields: (0..fields as u32).collect(),
            boundaries,
            parameters: Parameters::draw(&expected, seed, device)?,
        })
    }

    /// The same weights, shared, for states that have only some of the channels, or another order
    /// or boundaries. `fields` are places in the vocabulary of channels that the model was made for.
    ///
    /// # Errors
    /// [`Error::Shape`] for a channel outside the vocabulary or another number of axes.
    pub fn view(&self, fields: Vec<u32>, boundaries: Vec<[Boundary; 2]>) -> Result<Self> {
        let outside = |&&field: &&u32| field as usize >= self.vocabulary;
        if fields.is_empty() || fields.iter().any(|field| outside(&field)) {
            return Err(Error::Shape {
                what: "channels for the model",
                expected: format!("some of {}", self.vocabulary),
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
            config: self.config.clone(),
            vocabulary: self.vocabulary,
            fields,
            boundaries,
            parameters: self.parameters.clone(),
        })
    }

    /// Its weights by the released model's names.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Channels of the state.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Tokens of a frame at a patch size.
    ///
    /// # Errors
    /// [`Error::NoPatch`], [`Error::Indivisible`], [`Error::SmallGrid`]: before anything runs.
    pub fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize> {
        Ok(self.geometry(patch, space)?.grid().iter().product())
    }

    fn geometry(&self, patch: &Patch, space: &[usize]) -> Result<Geometry> {
        let modulation: &dyn Modulation = match self.config.strategy {
            Strategy::Ckm => &ckm::Ckm,
            Strategy::Csm => &csm::Csm,
            Strategy::Fixed => &fixed::Fixed,
        };
        modulation.geometry(self.config.base_patch(), patch, space)
    }

    /// Predicts from normalised frames x: (T, B, *space, fields), channels last. Gives the
    /// normalised changes (T or 1, B, *space, fields): one per context frame when causal, else
    /// that after the last.
    ///
    /// # Errors
    /// As [`Surrogate::tokens`], [`Error::LongContext`] and [`Error::Shape`].
    pub fn forward(&self, x: &Tensor, patch: &Patch) -> Result<Tensor> {
        self.forward_perturbed(x, patch, &Perturbation::none())
    }

    /// The same with what training adds at random.
    ///
    /// # Errors
    /// As [`Surrogate::forward`].
    pub fn forward_perturbed(
        &self,
        x: &Tensor,
        patch: &Patch,
        perturbation: &Perturbation,
    ) -> Result<Tensor> {
        let (time, batch, space) = self.check(x)?;
        let mut geometry = self.geometry(patch, &space)?;
        if perturbation.jitters() && self.config.strategy == Strategy::Csm {
            geometry.pad_at_random(patch, &self.boundaries, perturbation);
        }
        let patching = Patching::of(&self.parameters, &geometry, &self.boundaries)?;
        let x = x.reshape([&[time * batch], space.as_slice(), &[self.fields()]].concat())?;
        let x = self.rolled(x, perturbation, 1)?;
        let tokens = self.encode(&x, &geometry, &patching)?;
        let processor =
            Processor::new(&self.config, &self.parameters, &geometry.grid(), x.device());
        let mut tokens = processor.forward(&tokens, time, batch, perturbation)?;
        let mut times = time;
        if !self.config.causal {
            tokens = tokens.narrow(0, (time - 1) * batch, batch)?;
            times = 1;
        }
        let y = self.decode(&tokens, &geometry, &patching)?;
        let y = self.rolled(y, perturbation, -1)?;
        Ok(y.reshape([&[times, batch], space.as_slice(), &[self.fields()]].concat())?)
    }

    /// (N, *space, C) moved along periodic axes, forth or back.
    fn rolled(&self, x: Tensor, perturbation: &Perturbation, sign: i32) -> Result<Tensor> {
        let mut x = x;
        for (axis, sides) in self.boundaries.iter().enumerate() {
            let shift = perturbation.shift(axis) as i32;
            if shift > 0 && sides[0] == Boundary::Periodic {
                x = x.roll(sign * shift, axis + 1)?;
            }
        }
        Ok(x)
    }

    /// Rows or columns of a weight for the channels that the state has.
    fn selected(&self, weight: &Tensor, axis: usize) -> Result<Tensor> {
        if self.fields.iter().copied().eq(0..self.vocabulary as u32) {
            return Ok(weight.clone());
        }
        let fields = Tensor::new(self.fields.as_slice(), weight.device())?;
        Ok(weight.index_select(&fields, axis)?)
    }

    /// The field embedding's columns for these channels, scaled by √(all / present) so that sums
    /// over few channels are as large as over all (reference model, step 2).
    fn field_embedding(&self) -> Result<Tensor> {
        let weight = self.selected(self.parameters.get("space_bag.linear.weight")?, 1)?;
        if self.fields() == self.vocabulary {
            return Ok(weight);
        }
        Ok((weight * (self.vocabulary as f64 / self.fields() as f64).sqrt())?)
    }

    fn check(&self, x: &Tensor) -> Result<(usize, usize, Vec<usize>)> {
        let dims = x.dims();
        let axes = self.boundaries.len();
        if dims.len() != axes + 3 || dims[axes + 2] != self.fields() || dims[0] == 0 {
            return Err(Error::Shape {
                what: "frames for the model",
                expected: format!("(T, B, {axes} axes, {} fields)", self.fields()),
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

    /// (N, *space, fields) → (N, S, dim).
    fn encode(&self, x: &Tensor, geometry: &Geometry, patching: &Patching) -> Result<Tensor> {
        let p = &self.parameters;
        let (first, second) = (geometry.first(), geometry.second());
        let embedding = self.field_embedding()?;
        let y = match patching.composed(p, &embedding)? {
            Some((kernel, bias)) => {
                let x = patching.wrap(x)?;
                linear(&unfold(&x, &first)?, &kernel, Some(&bias))?
            }
            None => {
                let x = linear(x, &embedding, Some(p.get("space_bag.linear.bias")?))?;
                let x = patching.pad(&x, p)?;
                linear(
                    &unfold(&x, &first)?,
                    &patching.kernel_rows(&patching.embed1)?,
                    None,
                )?
            }
        };
        let groups = self.config.groups;
        let y = gelu(&group_norm(
            &y,
            p.get("embed.norm1.weight")?,
            p.get("embed.norm1.bias")?,
            groups,
        )?)?;
        let (items, _, channels) = y.dims3()?;
        let y = y.reshape([&[items], first.grid().as_slice(), &[channels]].concat())?;
        let y = linear(
            &unfold(&y, &second)?,
            &patching.kernel_rows(&patching.embed2)?,
            None,
        )?;
        let y = group_norm(
            &y,
            p.get("embed.norm2.weight")?,
            p.get("embed.norm2.bias")?,
            groups,
        )?;
        Ok(match self.config.strategy {
            Strategy::Ckm => y,
            Strategy::Csm | Strategy::Fixed => gelu(&y)?,
        })
    }

    /// (N, S, dim) → (N, *space, fields).
    fn decode(&self, tokens: &Tensor, geometry: &Geometry, patching: &Patching) -> Result<Tensor> {
        let p = &self.parameters;
        let (first, second) = (geometry.first(), geometry.second());
        let y = self.transposed(tokens, &patching.debed1, &second)?;
        let dims = y.dims().to_vec();
        let (items, channels) = (dims[0], dims[dims.len() - 1]);
        let y = y.reshape((items, (), channels))?;
        let y = group_norm(
            &y,
            p.get("debed.norm1.weight")?,
            p.get("debed.norm1.bias")?,
            self.config.groups,
        )?;
        let kernel = self.selected(&patching.debed2, 1)?;
        let y = self.transposed(&gelu(&y)?, &kernel, &first)?;
        let y = geometry.crop(&y)?;
        Ok(y.broadcast_add(&self.selected(p.get("debed.proj2.bias")?, 0)?)?)
    }

    /// A transposed convolution of (N, S, in) by a kernel (in, out, *k): (N, *space, out).
    fn transposed(&self, y: &Tensor, kernel: &Tensor, tiling: &Tiling) -> Result<Tensor> {
        let (inputs, outputs) = (kernel.dim(0)?, kernel.dim(1)?);
        // Rows of the product: cells of the kernel, then output channels.
        let rows = kernel
            .reshape((inputs, outputs, ()))?
            .permute((2, 1, 0))?
            .contiguous()?;
        let y = linear(y, &rows.reshape(((), inputs))?, None)?;
        Ok(fold(&y, tiling)?)
    }
}
