//! Fused operations with backward passes.
//!
//! Composed from Candle's own operations, a training step on a CPU takes several times as long:
//! its elementwise and reducing kernels run on one thread, and each writes a temporary. Some of
//! Candle's fused layers have no backward pass and silently give no gradient. So each file here has
//! one operation: its formula, a fused CPU kernel in f32 with its gradient, and the same composed
//! from Candle's operations, which other devices and bf16 run and which the tests compare with.
//! Norms and softmax are computed in f32 whatever the numbers are.

mod adamw;
mod attention_space;
mod attention_time;
mod buffer;
mod gelu;
mod linear;
mod matrix;
mod mse;
mod norm;
mod qk_norm;
mod squares;
mod swiglu;
#[cfg(test)]
mod testing;
mod unfold;

pub(crate) use adamw::adamw;
pub(crate) use attention_space::attention_space;
pub(crate) use attention_time::attention_time;
pub(crate) use gelu::gelu;
pub(crate) use linear::linear;
pub(crate) use mse::mse;
pub(crate) use norm::group_norm;
pub(crate) use qk_norm::{HeadOrder, Rotation, qk_norm};
pub(crate) use squares::sum_of_squares;
pub(crate) use swiglu::swiglu;
pub(crate) use unfold::{Tiling, fold, unfold};
