//! SwiGLU: [u, g] ↦ u · g σ(g) over halves of the last axis (Shazeer 2020). x: (..., 2H) → (..., H).
//!
//! du = dy · g σ(g), dg = dy · u σ(g) (1 + g (1 − σ(g))).

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, exp, fuses, read, slice, stored, tensor};

/// SwiGLU over the last axis: first the value, then the gate.
pub(crate) fn swiglu(x: &Tensor) -> Result<Tensor> {
    if !fuses(x) {
        return composed(x);
    }
    x.contiguous()?.apply_op1(SwiGlu)
}

fn composed(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (value, gate) = (
        x.narrow(D::Minus1, 0, half)?,
        x.narrow(D::Minus1, half, half)?,
    );
    // σ by hand, so that the gradient is Candle's own.
    let sigmoid = ((gate.neg()?.exp()? + 1.0)?).recip()?;
    value * (gate * sigmoid)?
}

struct SwiGlu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut shape = layout.dims().to_vec();
        let half = shape.last().map_or(1, |n| n / 2);
        if let Some(last) = shape.last_mut() {
            *last = half;
        }
        let rows = (GRAIN / half).max(1);
        let mut y = vec![0.0; x.len() / 2];
        y.par_chunks_mut(rows * half)
            .zip(x.par_chunks(rows * 2 * half))
            .for_each(|(y, x)| {
                for (y, x) in y.chunks_mut(half).zip(x.chunks(2 * half)) {
                    let (value, gate) = x.split_at(half);
                    y.iter_mut()
                        .zip(value)
                        .zip(gate)
                        .for_each(|((y, u), &g)| *y = u * g * sigmoid(g));
                }
            });
        Ok(stored(y, shape))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let half = x.dim(D::Minus1)? / 2;
        let rows = (GRAIN / half).max(1);
        let mut dx = vec![0.0; x.elem_count()];
        read([x, dy], |[x, dy]| {
            let wide = rows * 2 * half;
            let chunks = dx
                .par_chunks_mut(wide)
                .zip(x.par_chunks(wide))
                .zip(dy.par_chunks(rows * half));
            chunks.for_each(|((dx, x), dy)| {
                for ((dx, x), dy) in dx
                    .chunks_mut(2 * half)
                    .zip(x.chunks(2 * half))
                    .zip(dy.chunks(half))
                {
                    let (du, dg) = dx.split_at_mut(half);
                    let (value, gate) = x.split_at(half);
                    for i in 0..half {
                        let (u, g, s) = (value[i], gate[i], sigmoid(gate[i]));
                        du[i] = dy[i] * g * s;
                        dg[i] = dy[i] * u * s * (1.0 + g * (1.0 - s));
                    }
                }
            });
        })?;
        Ok(Some(tensor(dx, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::check;

    #[test]
    fn equals_the_composed_operation() {
        check(&[&[3, 5, 14]], |v| swiglu(&v[0]), |v| composed(&v[0]));
    }
}
