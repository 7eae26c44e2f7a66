//! What a patch size does to encoder and decoder: the part that strategies differ in.

use candle_core::Tensor;
use wellspring_store::{Boundary, Patch};

use super::resize::resized;
use super::stages::Stages;
use super::{Parameters, Perturbation};
use crate::Result;
use crate::ops::Tiling;

/// A strategy: how a patch size becomes kernels, strides and padding.
pub(crate) trait Modulation {
    /// Checks a patch size against a grid and lays the two convolutions out.
    fn geometry(&self, base: usize, patch: &Patch, space: &[usize]) -> Result<Geometry>;
}

/// The two convolutions' layout over one grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The grid without padding.
    pub(crate) space: Vec<usize>,
    /// Cells added below and above on each axis.
    pub(crate) padding: Vec<(usize, usize)>,
    /// Kernels and strides along each axis.
    pub(crate) kernel: Vec<Stages>,
    pub(crate) stride: Vec<Stages>,
}

impl Geometry {
    /// The first convolution, on the padded grid.
    pub(crate) fn first(&self) -> Tiling {
        let padded = self
            .space
            .iter()
            .zip(&self.padding)
            .map(|(n, (low, high))| n + low + high);
        Tiling {
            space: padded.collect(),
            kernel: self.kernel.iter().map(|k| k.first).collect(),
            stride: self.stride.iter().map(|s| s.first).collect(),
        }
    }

    /// The second, on the first one's places.
    pub(crate) fn second(&self) -> Tiling {
        Tiling {
            space: self.first().grid(),
            kernel: self.kernel.iter().map(|k| k.second).collect(),
            stride: self.stride.iter().map(|s| s.second).collect(),
        }
    }

    /// Pads axes that are not periodic by one patch more, split at random: the grid moves under the
    /// patches as a roll moves it on periodic axes.
    pub(crate) fn pad_at_random(
        &mut self,
        patch: &Patch,
        boundaries: &[[Boundary; 2]],
        perturbation: &Perturbation,
    ) {
        for (axis, (size, sides)) in patch.sizes().iter().zip(boundaries).enumerate() {
            if sides[0] != Boundary::Periodic {
                let below = perturbation.shift(axis);
                self.padding[axis].0 += below;
                self.padding[axis].1 += size - below;
            }
        }
    }

    /// Tokens along each axis.
    pub(crate) fn grid(&self) -> Vec<usize> {
        self.second().grid()
    }

    /// Takes the padding off a field (N, *space, C).
    pub(crate) fn crop(&self, y: &Tensor) -> Result<Tensor> {
        let mut y = y.clone();
        for (axis, (&n, &(low, high))) in self.space.iter().zip(&self.padding).enumerate() {
            if low + high > 0 {
                y = y.narrow(axis + 1, low, n)?;
            }
        }
        Ok(y.contiguous()?)
    }
}

/// The kernels of one forward pass, as large as its geometry asks, and its padding.
pub(crate) struct Patching {
    pub(crate) embed1: Tensor,
    pub(crate) embed2: Tensor,
    pub(crate) debed1: Tensor,
    pub(crate) debed2: Tensor,
    padding: Vec<(usize, usize)>,
    boundaries: Vec<[Boundary; 2]>,
}

impl Patching {
    pub(crate) fn of(
        p: &Parameters,
        geometry: &Geometry,
        boundaries: &[[Boundary; 2]],
    ) -> Result<Self> {
        let first: Vec<usize> = geometry.kernel.iter().map(|k| k.first).collect();
        let second: Vec<usize> = geometry.kernel.iter().map(|k| k.second).collect();
        Ok(Self {
            embed1: resized(p.get("embed.proj1.weight")?, &first)?,
            embed2: resized(p.get("embed.proj2.weight")?, &second)?,
            debed1: resized(p.get("debed.proj1.weight")?, &second)?,
            debed2: resized(p.get("debed.proj2.weight")?, &first)?,
            padding: geometry.padding.clone(),
            boundaries: boundaries.to_vec(),
        })
    }

    /// A convolution's kernel (out, in, *k) as a matrix over unfolded rows: (out, K·in).
    pub(crate) fn kernel_rows(&self, kernel: &Tensor) -> Result<Tensor> {
        let (outputs, inputs) = (kernel.dim(0)?, kernel.dim(1)?);
        let rows = kernel
            .reshape((outputs, inputs, ()))?
            .transpose(1, 2)?
            .contiguous()?;
        Ok(rows.reshape((outputs, ()))?)
    }

    /// Field embedding and first convolution as one kernel over fields, and its bias; nothing where
    /// learned values are padded in between.
    pub(crate) fn composed(
        &self,
        p: &Parameters,
        embedding: &Tensor,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let learned = self.padding.iter().zip(&self.boundaries);
        if learned
            .clone()
            .any(|(&(low, high), &[side, _])| low + high > 0 && side != Boundary::Periodic)
        {
            return Ok(None);
        }
        let (outputs, inputs) = (self.embed1.dim(0)?, self.embed1.dim(1)?);
        let cells = self.embed1.elem_count() / outputs / inputs;
        let rows = self
            .kernel_rows(&self.embed1)?
            .reshape((outputs * cells, inputs))?;
        let kernel = rows.matmul(embedding)?.reshape((outputs, ()))?;
        let bias = rows.matmul(&p.get("space_bag.linear.bias")?.reshape((inputs, 1))?)?;
        let bias = bias.reshape((outputs, cells))?.sum(1)?;
        Ok(Some((kernel, bias)))
    }

    /// Pads (N, *space, C) around periodic axes.
    pub(crate) fn wrap(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (axis, (&(low, high), sides)) in self.padding.iter().zip(&self.boundaries).enumerate() {
            if low + high == 0 {
                continue;
            }
            let n = x.dim(axis + 1)?;
            let (below, above) = match sides[0] {
                Boundary::Periodic => (
                    x.narrow(axis + 1, n - low, low)?,
                    x.narrow(axis + 1, 0, high)?,
                ),
                Boundary::Wall | Boundary::Open => {
                    let mut shape = x.dims().to_vec();
                    shape[axis + 1] = low;
                    let below = Tensor::zeros(shape.as_slice(), x.dtype(), x.device())?;
                    shape[axis + 1] = high;
                    (below, Tensor::zeros(shape, x.dtype(), x.device())?)
                }
            };
            let parts = [(low, below), (n, x), (high, above)];
            let parts: Vec<Tensor> = parts
                .into_iter()
                .filter(|(n, _)| *n > 0)
                .map(|(_, part)| part)
                .collect();
            x = Tensor::cat(&parts, axis + 1)?;
        }
        Ok(x)
    }

    /// Pads (N, *space, C): around periodic axes, else with the learned value of the boundary's type
    /// at each side; a corner gets the sum of its sides' values.
    pub(crate) fn pad(&self, x: &Tensor, p: &Parameters) -> Result<Tensor> {
        let mut x = self.wrap(x)?;
        let channels = x.dim(x.rank() - 1)?;
        for (axis, (&(low, high), sides)) in self.padding.iter().zip(&self.boundaries).enumerate() {
            if sides[0] == Boundary::Periodic || low + high == 0 {
                continue;
            }
            let values = p
                .get("patch_jitterer.padding_tokens")?
                .reshape((2, channels))?;
            let n = x.dim(axis + 1)?;
            let edges = [(sides[0], 0..low), (sides[1], n - high..n)];
            let mut shape = vec![1; x.rank()];
            (shape[axis + 1], shape[x.rank() - 1]) = (n, channels);
            for (side, cells) in edges {
                let mask: Vec<f32> = (0..n)
                    .map(|i| if cells.contains(&i) { 1.0 } else { 0.0 })
                    .collect();
                let mask = Tensor::from_vec(mask, (n, 1), x.device())?;
                let value = values.narrow(0, usize::from(side.code()), 1)?;
                x = x.broadcast_add(&mask.matmul(&value)?.reshape(shape.as_slice())?)?;
            }
        }
        Ok(x)
    }
}
