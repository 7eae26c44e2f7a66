//! [`TimeMixing`]: attention over time, at every token for itself.

use candle_core::Tensor;

use super::layers::{Linear, Norm, QkNorm};
use super::setting::{LAYER_SCALE, Setting};
use super::weight::{Initial, Scope};
use crate::Result;
use crate::config::TransformerConfig;
use crate::ops::{HeadOrder, attention_time, reshape, residual};

/// Distances in time that have a bias of their own.
const DISTANCES: usize = 32;

/// x + γ ∘ attention(norm(x)), with a learned bias for each distance in time and head.
#[derive(Debug)]
pub(super) struct TimeMixing<T> {
    gamma: T,
    norm: Norm<T>,
    qkv: Linear<T>,
    output: Linear<T>,
    qk_norm: QkNorm<T>,
    /// (distances, heads).
    bias: T,
}

impl<T> TimeMixing<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, config: &TransformerConfig) -> Result<Self> {
        let (dim, width) = (config.dim, config.dim / config.heads);
        Ok(Self {
            gamma: scope.weight("gamma", &[dim], Initial::Constant(LAYER_SCALE))?,
            norm: Norm::new(scope.within("norm1"), dim)?,
            qkv: Linear::pointwise(scope.within("input_head"), dim, 3 * dim)?,
            output: Linear::pointwise(scope.within("output_head"), dim, dim)?,
            qk_norm: QkNorm {
                query: Norm::new(scope.within("qnorm"), width)?,
                key: Norm::new(scope.within("knorm"), width)?,
            },
            bias: scope.within("rel_pos_bias").weight(
                "relative_attention_bias.weight",
                &[DISTANCES, config.heads],
                Initial::Normal,
            )?,
        })
    }
}

impl TimeMixing<Tensor> {
    /// Tokens (T·B, S, C) with what each takes in of its own past or, where the model is not causal, of all times.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        setting: &Setting<'_>,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (config, precision) = (setting.config, setting.precision);
        let (items, tokens, dim) = x.dims3()?;
        let y = self.norm.forward(x, config.heads, precision.dtype())?;
        let qkv = self.qkv.forward(&y, precision)?;
        let order = HeadOrder::HeadsFirst;
        let qkv = self.qk_norm.forward(&qkv, config.heads, order, None)?;
        let qkv = reshape(&qkv, (setting.time, setting.batch * tokens, 3 * dim))?;
        let y = attention_time(&qkv, &self.bias, config.causal)?;
        let y = reshape(&y, (items, tokens, dim))?;
        let y = self.output.scaled(&y, &self.gamma, precision)?;
        Ok(residual(x, &y, None, kept)?)
    }
}
