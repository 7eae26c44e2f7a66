//! tanh, elementwise. dy/dx = 1 − y².

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, exp, read, slice, stored, tensor};
use super::route::Route;
use super::tape;

/// tanh, elementwise.
pub(crate) fn tanh(x: &Tensor) -> Result<Tensor> {
    match Route::of(x) {
        Route::Cpu => tape::apply1(&tape::contiguous(x)?, Tanh),
        Route::Gpu | Route::Composed => tape::composed([x], |[x]| x.tanh()),
    }
}

/// 1 − 2/(e²ˣ + 1), to a unit in the last place of 1.
#[inline(always)]
pub(super) fn value(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

struct Tanh;

impl CustomOp1 for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        let chunks = y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN));
        chunks.for_each(|(y, x)| {
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = value(x));
        });
        Ok(stored(y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        read([y, dy], |[y, dy]| {
            let chunks = dx.par_chunks_mut(GRAIN);
            let chunks = chunks.zip(y.par_chunks(GRAIN)).zip(dy.par_chunks(GRAIN));
            chunks.for_each(|((dx, y), dy)| {
                let pairs = dx.iter_mut().zip(y).zip(dy);
                pairs.for_each(|((dx, y), dy)| *dx = dy * (1.0 - y * y));
            });
        })?;
        Ok(Some(tensor(dx, x.shape())?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_far_out};

    #[test]
    fn equals_the_composed_operation() {
        check(&[&[3, 50]], |v| tanh(&v[0]), |v| v[0].tanh());
        check_far_out(tanh, |x| x.tanh());
    }
}
