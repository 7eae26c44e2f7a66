//! LayerNorm of each row (Ba et al. 2016): y = (x − μ)/√(σ² + ε) · γ + β over the last axis. x: (N, S, C), γ and β: (C).
//!
//! On a CPU it is a GroupNorm of rows that are items of their own. A GPU has too few places for so many items; there it
//! is composed.

use candle_core::{D, DType, Result, Tensor};

use super::norm::{EPSILON, group_norm};
use super::route::Route;
use super::tape;

/// LayerNorm of the rows of x in f32.
pub(crate) fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    if Route::of(x) != Route::Cpu {
        return tape::composed([x, gain, bias], |[x, gain, bias]| {
            composed(x, gain, bias, epsilon)
        });
    }
    let (items, rows, channels) = x.dims3()?;
    // A norm of s x has the ε of one of x divided by s².
    let x = (x * (f64::from(EPSILON) / epsilon).sqrt())?;
    let x = tape::reshape(&x, (items * rows, 1, channels))?;
    let y = group_norm(&x, gain, bias, 1, DType::F32)?;
    tape::reshape(&y, (items, rows, channels))
}

fn composed(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    let normal = centred.broadcast_div(&scale)?;
    normal.broadcast_mul(gain)?.broadcast_add(bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::check;

    #[test]
    fn equals_the_composed_operation() {
        check(
            &[&[2, 5, 6], &[6], &[6]],
            |v| layer_norm(&v[0], &v[1], &v[2], 1e-3),
            |v| composed(&v[0], &v[1], &v[2], 1e-3),
        );
    }
}
