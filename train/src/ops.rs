//! Fused operations with backward passes.
//!
//! Composed from Candle's own operations, a training step on a CPU takes several times as long:
//! its elementwise and reducing kernels run on one thread, and each writes a temporary. Some of
//! Candle's fused layers have no backward pass and silently give no gradient. So each file here has
//! one operation: its formula, a fused CPU kernel in f32 with its gradient, and the same composed
//! from Candle's operations, which other devices and bf16 run and which the tests compare with.
//! Norms and softmax are computed in f32 whatever the numbers are.

#![cfg_attr(
    not(any(test, feature = "cuda")),
    allow(
        dead_code,
        reason = "programs of kernels are for builds with CUDA, and for tests"
    )
)]

mod adamw;
mod attention_space;
mod attention_time;
mod batch_norm;
mod buffer;
#[cfg(feature = "cuda")]
mod cublas;
#[cfg(feature = "cuda")]
mod cuda;
mod depthwise;
#[cfg(test)]
mod emulated;
mod gelu;
mod gpu;
mod gradients;
mod join;
mod kept;
mod launch;
mod layer_norm;
mod layer_scale;
mod linear;
#[cfg(any(test, feature = "cuda"))]
mod machine;
mod matrix;
mod mse;
mod norm;
mod product;
mod program;
mod qk_norm;
mod residual;
mod revin;
mod route;
mod seed;
mod squares;
mod swiglu;
mod tanh;
mod tape;
#[cfg(test)]
pub(crate) mod testing;
mod tiling;
mod unfold;
mod window;

pub use adamw::{LossAndNorm, StepSettings};
pub(crate) use adamw::{WeightUpdate, adamw, adamw_of_some, average};
pub(crate) use attention_space::attention_space;
pub(crate) use attention_time::attention_time;
pub(crate) use batch_norm::{batch_norm_tanh, channel_moments};
pub(crate) use depthwise::depthwise;
pub(crate) use gelu::gelu;
pub use gradients::Gradients;
pub(crate) use kept::bytes_kept;
pub(crate) use layer_norm::layer_norm;
pub(crate) use layer_scale::layer_scale;
pub(crate) use linear::linear;
pub(crate) use mse::mse;
pub(crate) use norm::group_norm;
pub(crate) use qk_norm::{HeadOrder, Rotation, qk_norm};
pub(crate) use residual::residual;
pub(crate) use revin::NormalizedFrames;
pub(crate) use route::has_kernels;
pub(crate) use seed::backward_from;
pub(crate) use squares::sum_of_squares;
pub(crate) use swiglu::swiglu;
pub(crate) use tanh::tanh;
pub(crate) use tape::{Tape, cat, reshape, split};
pub(crate) use tiling::Tiling;
pub(crate) use unfold::{fold, unfold};
pub(crate) use window::{PaddingMode, View, window};
