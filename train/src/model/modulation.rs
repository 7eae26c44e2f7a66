//! The effect of a patch size on encoder and decoder, in which strategies differ.

use candle_core::Tensor;
use wellspring_store::{Boundary, Patch};

use super::Perturbation;
use super::convolution::kernel_rows;
use super::network::Network;
use super::padding::{Padding, margin};
use super::resize::resized;
use super::stages::Stages;
use crate::ops::Tiling;
use crate::{Error, Result};

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
    /// Kernels and strides over a grid, padded where they do not tile it.
    ///
    /// # Errors
    /// [`Error::Shape`] for an axis without points.
    pub(super) fn new(space: &[usize], kernel: Vec<Stages>, stride: Vec<Stages>) -> Result<Self> {
        if space.contains(&0) {
            return Err(Error::Shape {
                what: "points along each axis of the grid",
                expected: "at least 1".into(),
                found: format!("{space:?}"),
            });
        }
        let axes = space.iter().zip(kernel.iter().zip(&stride));
        let padding = axes.map(|(&length, (k, s))| {
            let seen = k.first + (k.second - 1) * s.first;
            margin(length, seen, s.first * s.second)
        });
        Ok(Self {
            space: space.to_vec(),
            padding: padding.collect(),
            kernel,
            stride,
        })
    }

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
}

/// The kernels of one forward pass, as large as its geometry asks, and its padding.
pub(crate) struct PatchKernels {
    pub(crate) embed1: Tensor,
    pub(crate) embed2: Tensor,
    pub(crate) debed1: Tensor,
    pub(crate) debed2: Tensor,
    pub(crate) padding: Padding,
}

impl PatchKernels {
    pub(super) fn of(
        network: &Network<Tensor>,
        geometry: &Geometry,
        padding: Padding,
    ) -> Result<Self> {
        let (encoder, decoder) = (&network.encoder, &network.decoder);
        let first: Vec<usize> = geometry.kernel.iter().map(|k| k.first).collect();
        let second: Vec<usize> = geometry.kernel.iter().map(|k| k.second).collect();
        Ok(Self {
            embed1: resized(&encoder.kernel1, &first)?,
            embed2: resized(&encoder.kernel2, &second)?,
            debed1: resized(&decoder.kernel1, &second)?,
            debed2: resized(&decoder.kernel2, &first)?,
            padding,
        })
    }

    /// A field embedding, with its bias, and the first convolution as one kernel over fields, and its bias; nothing where
    /// learned values are padded in between.
    pub(crate) fn composed(
        &self,
        embedding: &Tensor,
        bias: &Tensor,
    ) -> Result<Option<(Tensor, Tensor)>> {
        if self.padding.is_learned() {
            return Ok(None);
        }
        let (outputs, inputs) = (self.embed1.dim(0)?, self.embed1.dim(1)?);
        let cells = self.embed1.elem_count() / outputs / inputs;
        let rows = kernel_rows(&self.embed1)?.reshape((outputs * cells, inputs))?;
        let kernel = rows.matmul(embedding)?.reshape((outputs, ()))?;
        let bias = rows.matmul(&bias.reshape((inputs, 1))?)?;
        let bias = bias.reshape((outputs, cells))?.sum(1)?;
        Ok(Some((kernel, bias)))
    }
}
