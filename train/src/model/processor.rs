//! The transformer between encoder and decoder: for each block, attention over time at every token,
//! then attention over a frame's tokens with an MLP beside or after it.
//!
//! Tokens are (T·B, S, C). Each residual is scaled by a learned γ (LayerScale), which is folded into
//! the weights before it: γ ∘ (W y + b) = (γ W) y + γ b.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{Parameters, Perturbation};
use crate::config::{Mlp, ModelConfig};
use crate::ops::{
    HeadOrder, Rotation, attention_space, attention_time, gelu, group_norm, linear, qk_norm, swiglu,
};
use crate::{Precision, Result};

pub(super) struct Processor<'a> {
    config: &'a ModelConfig,
    parameters: &'a Parameters,
    rotation: Rotation,
    device: &'a Device,
    precision: Precision,
}

impl<'a> Processor<'a> {
    /// For tokens on a grid.
    pub(super) fn new(
        config: &'a ModelConfig,
        parameters: &'a Parameters,
        grid: &[usize],
        (device, precision): (&'a Device, Precision),
    ) -> Self {
        Self {
            config,
            parameters,
            rotation: axial_rotation(grid, config.dim / config.heads),
            device,
            precision,
        }
    }

    /// Some of the blocks: (T·B, S, C) → (T·B, S, C).
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        (time, batch): (usize, usize),
        blocks: Range<usize>,
        perturbation: &Perturbation,
    ) -> Result<Tensor> {
        let buckets = self.buckets(time)?;
        let mut x = tokens.clone();
        for index in blocks {
            let block = Block {
                processor: self,
                at: format!("blocks.{index}"),
            };
            let kept = |which| perturbation.residual((index, which), time, self.device);
            x = block.time_mixing(&x, time, batch, &buckets, kept(0)?.as_ref())?;
            x = block.space_mixing(&x, kept(1)?.as_ref())?;
        }
        Ok(x)
    }

    /// Which bias each (query, key) pair of frames has: one for each distance into the past, and,
    /// where the future is seen, sixteen further on for each distance into the future.
    fn buckets(&self, time: usize) -> Result<Tensor> {
        let bucket = |query: usize, key: usize| match (query.checked_sub(key), self.config.causal) {
            (Some(back), _) => back as u32,
            (None, true) => 0,
            (None, false) => 16 + (key - query) as u32,
        };
        let pairs: Vec<u32> = (0..time * time)
            .map(|i| bucket(i / time, i % time))
            .collect();
        Ok(Tensor::from_vec(pairs, time * time, self.device)?)
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
        let y = group_norm(x, self.weight(&gain)?, self.weight(&bias)?, heads)?;
        Ok(y.to_dtype(self.processor.precision.dtype())?)
    }

    fn time_mixing(
        &self,
        x: &Tensor,
        time: usize,
        batch: usize,
        buckets: &Tensor,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let config = self.processor.config;
        let (items, tokens, dim) = x.dims3()?;
        let weight = |name: &str| self.weight(&format!("time_mixing.{name}"));

        let y = self.normed(x, "time_mixing.norm1")?;
        let packed = weight("input_head.weight")?.reshape((3 * dim, dim))?;
        let qkv = linear(&y, &packed, Some(weight("input_head.bias")?))?;
        let affine = [
            weight("qnorm.weight")?,
            weight("qnorm.bias")?,
            weight("knorm.weight")?,
            weight("knorm.bias")?,
        ];
        let qkv = qk_norm(
            &qkv,
            &Tensor::stack(&affine, 0)?,
            config.heads,
            HeadOrder::HeadsFirst,
            None,
        )?;

        let table = weight("rel_pos_bias.relative_attention_bias.weight")?;
        let bias = table
            .index_select(buckets, 0)?
            .t()?
            .reshape((config.heads, time, time))?;
        let qkv = qkv.reshape((time, batch * tokens, 3 * dim))?;
        let y = attention_time(&qkv, &bias, config.heads, config.causal)?
            .reshape((items, tokens, dim))?;

        let gamma = weight("gamma")?;
        let output = weight("output_head.weight")?.reshape((dim, dim))?;
        let output = output.broadcast_mul(&gamma.reshape((dim, 1))?)?;
        let shift = (weight("output_head.bias")? * gamma)?;
        residual(x, &[linear(&y, &output, Some(&shift))?], kept)
    }

    fn space_mixing(&self, x: &Tensor, kept: Option<&Tensor>) -> Result<Tensor> {
        let config = self.processor.config;
        let weight = |name: &str| self.weight(&format!("space_mixing.{name}"));
        let y = self.normed(x, "space_mixing.norm1")?;
        let gamma = weight("gamma_att")?;
        match config.mlp {
            Mlp::Swiglu => {
                let (fused, shift) = (weight("fused_ff_qkv.weight")?, weight("fused_ff_qkv.bias")?);
                let part = |from: usize, rows: usize| -> Result<Tensor> {
                    let (w, b) = (fused.narrow(0, from, rows)?, shift.narrow(0, from, rows)?);
                    Ok(linear(&y, &w, Some(&b))?)
                };
                let hidden = swiglu(&part(0, 4 * config.dim)?)?;
                let mlp = self.scaled("space_mixing.ff_out.1", &hidden, gamma)?;
                let attention = self.attention(&part(4 * config.dim, 3 * config.dim)?, gamma)?;
                residual(x, &[attention, mlp], kept)
            }
            Mlp::Gelu => {
                let qkv = linear(&y, weight("qkv.weight")?, Some(weight("qkv.bias")?))?;
                let x = residual(x, &[self.attention(&qkv, gamma)?], kept)?;
                let y = self.normed(&x, "space_mixing.norm2")?;
                let y = linear(&y, weight("mlp.0.weight")?, Some(weight("mlp.0.bias")?))?;
                let gamma = weight("gamma_mlp")?;
                let mlp = self.scaled("space_mixing.mlp.2", &gelu(&y)?, gamma)?;
                residual(&x, &[mlp], kept)
            }
        }
    }

    /// γ ∘ (W y + b).
    fn scaled(&self, name: &str, y: &Tensor, gamma: &Tensor) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let weight = weight.broadcast_mul(&gamma.reshape(((), 1))?)?;
        let bias = (self.weight(&format!("{name}.bias"))? * gamma)?;
        Ok(linear(y, &weight, Some(&bias))?)
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
            &Tensor::stack(&affine, 0)?,
            heads,
            HeadOrder::RolesFirst,
            Some(&self.processor.rotation),
        )?;
        let y = attention_space(&qkv, heads)?;
        let output = weight("attn_out.weight")?.broadcast_mul(&gamma.reshape(((), 1))?)?;
        Ok(linear(&y, &output, None)?)
    }
}

/// x + Σ branches, each sample's times its factor where stochastic depth gives one.
fn residual(x: &Tensor, branches: &[Tensor], kept: Option<&Tensor>) -> Result<Tensor> {
    let mut x = x.clone();
    for branch in branches {
        let branch = branch.to_dtype(x.dtype())?;
        x = match kept {
            Some(factor) => (&x + branch.broadcast_mul(factor)?)?,
            None => (&x + branch)?,
        };
    }
    Ok(x)
}

/// Axial rotary angles: along each of always three axes, positions from −1 to 1 (one alone sits at
/// −1) times frequencies from π to 128 π. A quarter of a head's features goes to each axis.
fn axial_rotation(grid: &[usize], width: usize) -> Rotation {
    let frequencies: Vec<f32> = linspace(1.0, 128.0, width / 4 / 2)
        .iter()
        .map(|f| f * std::f32::consts::PI)
        .collect();
    let length = |axis: usize| grid.get(axis).copied().unwrap_or(1);
    let positions: Vec<Vec<f32>> = (0..3)
        .map(|axis| linspace(-1.0, 1.0, length(axis)))
        .collect();
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for token in 0..grid.iter().product() {
        let place = [
            token / length(2) / length(1),
            token / length(2) % length(1),
            token % length(2),
        ];
        for (positions, &at) in positions.iter().zip(&place) {
            for frequency in &frequencies {
                let (s, c) = f64::from(positions[at] * frequency).sin_cos();
                cos.push(c as f32);
                sin.push(s as f32);
            }
        }
    }
    Rotation {
        cos: Arc::from(cos),
        sin: Arc::from(sin),
        pairs: 3 * frequencies.len(),
    }
}

/// `torch.linspace` in f32, which counts from the nearer end.
fn linspace(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 {
        (end - start) / (n - 1) as f32
    } else {
        0.0
    };
    let at = |i: usize| {
        if i < n.div_ceil(2) {
            start + step * i as f32
        } else {
            end - step * (n - 1 - i) as f32
        }
    };
    (0..n).map(at).collect()
}
