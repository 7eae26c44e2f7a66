//! The transformer between encoder and decoder: for each block, attention over time at every token,
//! then attention over a frame's tokens with an MLP beside or after it.
//!
//! Tokens are (T·B, S, C). Each residual is scaled by a learned γ (LayerScale), which is folded into
//! the weights before it: γ ∘ (W y + b) = (γ W) y + γ b.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::{Parameters, Surrogate};
use crate::config::{Mlp, ModelConfig};
use crate::ops::{
    HeadOrder, Rotation, attention_space, attention_time, cat, gelu, group_norm, layer_scale,
    linear, qk_norm, reshape, residual, split, swiglu,
};
use crate::{Precision, Result};

pub(super) struct Processor<'a> {
    config: &'a ModelConfig,
    parameters: &'a Parameters,
    rotation: Rotation,
    precision: Precision,
}

impl<'a> Processor<'a> {
    /// The blocks of a model, for tokens on a grid.
    pub(super) fn new(model: &'a Surrogate, grid: &[usize], device: &Device) -> Result<Self> {
        Ok(Self {
            config: &model.config,
            parameters: &model.parameters,
            rotation: model.rotations.over(grid, device)?,
            precision: model.precision,
        })
    }

    /// Applies some of the blocks: (T·B, S, C) → (T·B, S, C). `kept` are the factors of every block's residuals, or
    /// none.
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        time: usize,
        batch: usize,
        blocks: Range<usize>,
        kept: &[[Tensor; 2]],
    ) -> Result<Tensor> {
        let mut x = tokens.clone();
        for index in blocks {
            let block = Block {
                processor: self,
                at: format!("blocks.{index}"),
            };
            let kept = |which: usize| kept.get(index).map(|factors| &factors[which]);
            x = block.time_mixing(&x, time, batch, kept(0))?;
            x = block.space_mixing(&x, kept(1))?;
        }
        Ok(x)
    }
}

struct Block<'a> {
    processor: &'a Processor<'a>,
    at: String,
}

impl Block<'_> {
    fn weight(&self, name: &str) -> Result<&Tensor> {
        self.processor
            .parameters
            .get(&format!("{}.{name}", self.at))
    }

    /// GroupNorm of the tokens by one of the block's norms, in the numbers of what follows.
    fn normed(&self, x: &Tensor, norm: &str) -> Result<Tensor> {
        let (gain, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
        let heads = self.processor.config.heads;
        let dtype = self.processor.precision.dtype();
        let (gain, bias) = (self.weight(&gain)?, self.weight(&bias)?);
        Ok(group_norm(x, gain, bias, heads, dtype)?)
    }

    fn time_mixing(
        &self,
        x: &Tensor,
        time: usize,
        batch: usize,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let config = self.processor.config;
        let (items, tokens, dim) = x.dims3()?;
        let weight = |name: &str| self.weight(&format!("time_mixing.{name}"));

        let y = self.normed(x, "time_mixing.norm1")?;
        let packed = reshape(weight("input_head.weight")?, (3 * dim, dim))?;
        let qkv = linear(
            &y,
            &packed,
            Some(weight("input_head.bias")?),
            self.processor.precision,
        )?;
        let affine = [
            weight("qnorm.weight")?,
            weight("qnorm.bias")?,
            weight("knorm.weight")?,
            weight("knorm.bias")?,
        ];
        let qkv = qk_norm(
            &qkv,
            &cat(affine)?,
            config.heads,
            HeadOrder::HeadsFirst,
            None,
        )?;

        let table = weight("rel_pos_bias.relative_attention_bias.weight")?;
        let qkv = reshape(&qkv, (time, batch * tokens, 3 * dim))?;
        let y = attention_time(&qkv, table, config.causal)?;
        let y = reshape(&y, (items, tokens, dim))?;

        let gamma = weight("gamma")?;
        let output = reshape(weight("output_head.weight")?, (dim, dim))?;
        let y = self.scaled(&y, &output, Some(weight("output_head.bias")?), gamma)?;
        Ok(residual(x, &y, None, kept)?)
    }

    fn space_mixing(&self, x: &Tensor, kept: Option<&Tensor>) -> Result<Tensor> {
        let config = self.processor.config;
        let weight = |name: &str| self.weight(&format!("space_mixing.{name}"));
        let y = self.normed(x, "space_mixing.norm1")?;
        let gamma = weight("gamma_att")?;
        match config.mlp {
            Mlp::Swiglu => {
                let parts = [4 * config.dim, 3 * config.dim];
                let [w_mlp, w_qkv] = split(weight("fused_ff_qkv.weight")?, parts)?;
                let [b_mlp, b_qkv] = split(weight("fused_ff_qkv.bias")?, parts)?;
                let precision = self.processor.precision;
                let hidden = swiglu(&linear(&y, &w_mlp, Some(&b_mlp), precision)?)?;
                let (w, b) = (weight("ff_out.1.weight")?, weight("ff_out.1.bias")?);
                let mlp = self.scaled(&hidden, w, Some(b), gamma)?;
                let qkv = linear(&y, &w_qkv, Some(&b_qkv), precision)?;
                let attention = self.attention(&qkv, gamma)?;
                Ok(residual(x, &attention, Some(&mlp), kept)?)
            }
            Mlp::Gelu => {
                let (w, b) = (weight("qkv.weight")?, weight("qkv.bias")?);
                let qkv = linear(&y, w, Some(b), self.processor.precision)?;
                let x = residual(x, &self.attention(&qkv, gamma)?, None, kept)?;
                let y = self.normed(&x, "space_mixing.norm2")?;
                let (w, b) = (weight("mlp.0.weight")?, weight("mlp.0.bias")?);
                let y = linear(&y, w, Some(b), self.processor.precision)?;
                let (w, b) = (weight("mlp.2.weight")?, weight("mlp.2.bias")?);
                let mlp = self.scaled(&gelu(&y)?, w, Some(b), weight("gamma_mlp")?)?;
                Ok(residual(&x, &mlp, None, kept)?)
            }
        }
    }

    /// γ ∘ (W y + b).
    fn scaled(&self, y: &Tensor, w: &Tensor, b: Option<&Tensor>, gamma: &Tensor) -> Result<Tensor> {
        let w = layer_scale(w, gamma, w.dtype())?;
        let b = b.map(|b| layer_scale(b, gamma, b.dtype())).transpose()?;
        Ok(linear(y, &w, b.as_ref(), self.processor.precision)?)
    }

    /// Attention among a frame's tokens from packed queries, keys and values, scaled by γ.
    fn attention(&self, qkv: &Tensor, gamma: &Tensor) -> Result<Tensor> {
        let heads = self.processor.config.heads;
        let weight = |name: &str| self.weight(&format!("space_mixing.{name}"));
        let affine = [
            weight("q_norm.weight")?,
            weight("q_norm.bias")?,
            weight("k_norm.weight")?,
            weight("k_norm.bias")?,
        ];
        let qkv = qk_norm(
            qkv,
            &cat(affine)?,
            heads,
            HeadOrder::RolesFirst,
            Some(&self.processor.rotation),
        )?;
        let y = attention_space(&qkv, heads)?;
        self.scaled(&y, weight("attn_out.weight")?, None, gamma)
    }
}
