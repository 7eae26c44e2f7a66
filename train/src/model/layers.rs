//! The layers that others are made of: [`Linear`] maps and [`Norm`]s, which own their weights.

use candle_core::{DType, Tensor};

use super::weight::{Initial, Scope};
use crate::Result;
use crate::ops::{cat, group_norm, layer_scale, linear, reshape};
use crate::{Precision, ops};

/// A linear map: W (outputs, inputs) and b (outputs).
#[derive(Debug)]
pub(super) struct Linear<T> {
    pub(super) weight: T,
    pub(super) bias: T,
}

impl<T> Linear<T> {
    pub(super) fn new(scope: Scope<'_, T>, inputs: usize, outputs: usize) -> Result<Self> {
        Self::stored_as(scope, &[outputs, inputs])
    }

    /// A map that the released model writes as a 3D convolution of one cell.
    pub(super) fn pointwise(scope: Scope<'_, T>, inputs: usize, outputs: usize) -> Result<Self> {
        Self::stored_as(scope, &[outputs, inputs, 1, 1, 1])
    }

    /// A map whose weight is (outputs, inputs, …).
    fn stored_as(mut scope: Scope<'_, T>, shape: &[usize]) -> Result<Self> {
        let initial = Initial::uniform(shape[1]);
        Ok(Self {
            weight: scope.weight("weight", shape, initial)?,
            bias: scope.weight("bias", &shape[..1], initial)?,
        })
    }
}

impl Linear<Tensor> {
    /// W y + b.
    pub(super) fn forward(&self, y: &Tensor, precision: Precision) -> Result<Tensor> {
        Ok(linear(y, &self.matrix()?, Some(&self.bias), precision)?)
    }

    /// γ ∘ (W y + b).
    pub(super) fn scaled(
        &self,
        y: &Tensor,
        gamma: &Tensor,
        precision: Precision,
    ) -> Result<Tensor> {
        scaled(y, &self.matrix()?, Some(&self.bias), gamma, precision)
    }

    /// W as (outputs, inputs), whatever it is stored as.
    fn matrix(&self) -> Result<Tensor> {
        match self.weight.dims() {
            [_, _] => Ok(self.weight.clone()),
            dims => Ok(reshape(&self.weight, (dims[0], dims[1]))?),
        }
    }
}

/// γ ∘ (W y + b) as (γ W) y + γ b: a LayerScale folded into the weights before it.
pub(super) fn scaled(
    y: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    gamma: &Tensor,
    precision: Precision,
) -> Result<Tensor> {
    let folded = |weight: &Tensor| layer_scale(weight, gamma, weight.dtype());
    let bias = bias.map(folded).transpose()?;
    Ok(linear(y, &folded(weight)?, bias.as_ref(), precision)?)
}

/// Gain and bias after a normalization, both (channels).
#[derive(Debug)]
pub(super) struct Norm<T> {
    weight: T,
    bias: T,
}

impl<T> Norm<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, channels: usize) -> Result<Self> {
        Ok(Self {
            weight: scope.weight("weight", &[channels], Initial::Constant(1.0))?,
            bias: scope.weight("bias", &[channels], Initial::Constant(0.0))?,
        })
    }
}

impl Norm<Tensor> {
    /// GroupNorm of the channels of x (N, S, channels), in the numbers of what follows.
    pub(super) fn forward(&self, x: &Tensor, groups: usize, dtype: DType) -> Result<Tensor> {
        Ok(group_norm(x, &self.weight, &self.bias, groups, dtype)?)
    }
}

impl Norm<Tensor> {
    /// LayerNorm of the channels of each row of x (N, S, channels), with an ε of its own.
    pub(super) fn of_rows(&self, x: &Tensor, epsilon: f64) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight, &self.bias, epsilon)?)
    }
}

/// LayerNorms of the queries and of the keys of each head.
#[derive(Debug)]
pub(super) struct QkNorm<T> {
    pub(super) query: Norm<T>,
    pub(super) key: Norm<T>,
}

impl QkNorm<Tensor> {
    /// Packed queries, keys and values with the first two normalized, and turned by a rotation.
    pub(super) fn forward(
        &self,
        qkv: &Tensor,
        heads: usize,
        order: ops::HeadOrder,
        rotation: Option<&ops::Rotation>,
    ) -> Result<Tensor> {
        let (query, key) = (&self.query, &self.key);
        let affine = cat([&query.weight, &query.bias, &key.weight, &key.bias])?;
        Ok(ops::qk_norm(qkv, &affine, heads, order, rotation)?)
    }
}
