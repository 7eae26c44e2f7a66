//! [`SpaceMixing`]: attention among the tokens of a frame, with an MLP beside it or after it.

use candle_core::Tensor;

use super::layers::{Linear, Norm, QkNorm, scaled};
use super::setting::{LAYER_SCALE, Setting};
use super::weight::{Initial, Scope};
use crate::Result;
use crate::config::{Mlp, TransformerConfig};
use crate::ops::{HeadOrder, attention_space, gelu, residual, split, swiglu};

/// Attention over space and an MLP, with one residual for both or one for each.
#[derive(Debug)]
pub(super) struct SpaceMixing<T> {
    gamma: T,
    norm: Norm<T>,
    mlp: MlpLayers<T>,
    /// (C, C), without a bias.
    output: T,
    qk_norm: QkNorm<T>,
}

#[derive(Debug)]
enum MlpLayers<T> {
    /// Beside attention, from the same normalized tokens and by one product of weights.
    Swiglu {
        /// The MLP's 4 C outputs, then queries, keys and values.
        mlp_and_qkv: Linear<T>,
        output: Linear<T>,
    },
    /// After attention.
    Gelu {
        qkv: Linear<T>,
        gamma: T,
        norm: Norm<T>,
        hidden: Linear<T>,
        output: Linear<T>,
    },
}

impl<T> SpaceMixing<T> {
    pub(super) fn new(mut scope: Scope<'_, T>, config: &TransformerConfig) -> Result<Self> {
        let (dim, width) = (config.dim, config.dim / config.heads);
        Ok(Self {
            gamma: scope.weight("gamma_att", &[dim], Initial::Constant(LAYER_SCALE))?,
            norm: Norm::new(scope.within("norm1"), dim)?,
            mlp: MlpLayers::new(&mut scope, config)?,
            output: scope.weight("attn_out.weight", &[dim, dim], Initial::uniform(dim))?,
            qk_norm: QkNorm {
                query: Norm::new(scope.within("q_norm"), width)?,
                key: Norm::new(scope.within("k_norm"), width)?,
            },
        })
    }
}

impl<T> MlpLayers<T> {
    fn new(scope: &mut Scope<'_, T>, config: &TransformerConfig) -> Result<Self> {
        let dim = config.dim;
        Ok(match config.mlp {
            Mlp::Swiglu => Self::Swiglu {
                mlp_and_qkv: Linear::new(scope.within("fused_ff_qkv"), dim, 7 * dim)?,
                output: Linear::new(scope.within("ff_out.1"), 2 * dim, dim)?,
            },
            Mlp::Gelu => Self::Gelu {
                qkv: Linear::new(scope.within("qkv"), dim, 3 * dim)?,
                gamma: scope.weight("gamma_mlp", &[dim], Initial::Constant(LAYER_SCALE))?,
                norm: Norm::new(scope.within("norm2"), dim)?,
                hidden: Linear::new(scope.within("mlp.0"), dim, 4 * dim)?,
                output: Linear::new(scope.within("mlp.2"), 4 * dim, dim)?,
            },
        })
    }
}

impl SpaceMixing<Tensor> {
    /// Tokens (T·B, S, C) with what each takes in of its frame.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        setting: &Setting<'_>,
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (config, precision) = (setting.config, setting.precision);
        let normed =
            |norm: &Norm<Tensor>, x: &Tensor| norm.forward(x, config.heads, precision.dtype());
        let y = normed(&self.norm, x)?;
        match &self.mlp {
            MlpLayers::Swiglu {
                mlp_and_qkv,
                output,
            } => {
                let lengths = [4 * config.dim, 3 * config.dim];
                let [mlp_weight, qkv_weight] = split(&mlp_and_qkv.weight, lengths)?;
                let [mlp_bias, qkv_bias] = split(&mlp_and_qkv.bias, lengths)?;
                let [mlp, qkv] = [(mlp_weight, mlp_bias), (qkv_weight, qkv_bias)]
                    .map(|(weight, bias)| Linear { weight, bias });
                let hidden = swiglu(&mlp.forward(&y, precision)?)?;
                let mlp = output.scaled(&hidden, &self.gamma, precision)?;
                let attention = self.attention(&qkv.forward(&y, precision)?, setting)?;
                Ok(residual(x, &attention, Some(&mlp), kept)?)
            }
            MlpLayers::Gelu {
                qkv,
                gamma,
                norm,
                hidden,
                output,
            } => {
                let attention = self.attention(&qkv.forward(&y, precision)?, setting)?;
                let x = residual(x, &attention, None, kept)?;
                let y = hidden.forward(&normed(norm, &x)?, precision)?;
                let mlp = output.scaled(&gelu(&y)?, gamma, precision)?;
                Ok(residual(&x, &mlp, None, kept)?)
            }
        }
    }

    /// γ ∘ W attention, from packed queries, keys and values.
    fn attention(&self, qkv: &Tensor, setting: &Setting<'_>) -> Result<Tensor> {
        let heads = setting.config.heads;
        let (order, rotation) = (HeadOrder::RolesFirst, Some(&setting.rotation));
        let qkv = self.qk_norm.forward(qkv, heads, order, rotation)?;
        let y = attention_space(&qkv, heads)?;
        scaled(&y, &self.output, None, &self.gamma, setting.precision)
    }
}
