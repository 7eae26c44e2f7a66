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
use processor::Processor;

/// A model for a grid of some number of axes and a state of some channels.
#[derive(Debug)]
pub struct Surrogate {
    config: ModelConfig,
    /// Channels of the state.
    fields: usize,
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
            fields,
            boundaries,
            parameters: Parameters::draw(&expected, seed, device)?,
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
        self.fields
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
        let (time, batch, space) = self.check(x)?;
        let geometry = self.geometry(patch, &space)?;
        let patching = Patching::of(&self.parameters, &geometry, &self.boundaries)?;
        let x = x.reshape([&[time * batch], space.as_slice(), &[self.fields]].concat())?;
        let tokens = self.encode(&x, &geometry, &patching)?;
        let processor =
            Processor::new(&self.config, &self.parameters, &geometry.grid(), x.device());
        let mut tokens = processor.forward(&tokens, time, batch)?;
        let mut times = time;
        if !self.config.causal {
            tokens = tokens.narrow(0, (time - 1) * batch, batch)?;
            times = 1;
        }
        let y = self.decode(&tokens, &geometry, &patching)?;
        Ok(y.reshape([&[times, batch], space.as_slice(), &[self.fields]].concat())?)
    }

    fn check(&self, x: &Tensor) -> Result<(usize, usize, Vec<usize>)> {
        let dims = x.dims();
        let axes = self.boundaries.len();
        if dims.len() != axes + 3 || dims[axes + 2] != self.fields || dims[0] == 0 {
            return Err(Error::Shape {
                what: "frames for the model",
                expected: format!("(T, B, {axes} axes, {} fields)", self.fields),
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
        let y = match patching.composed(p)? {
            Some((kernel, bias)) => {
                let x = patching.wrap(x)?;
                linear(&unfold(&x, &first)?, &kernel, Some(&bias))?
            }
            None => {
                let x = linear(
                    x,
                    p.get("space_bag.linear.weight")?,
                    Some(p.get("space_bag.linear.bias")?),
                )?;
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
        let y = self.transposed(&gelu(&y)?, &patching.debed2, &first)?;
        let y = geometry.crop(&y)?;
        Ok(y.broadcast_add(p.get("debed.proj2.bias")?)?)
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
