//! SwiGLU: [u, g] ↦ u · g σ(g) over halves of the last axis (Shazeer 2020). x: (..., 2H) → (..., H).
//!
//! du = dy · g σ(g), dg = dy · u σ(g) (1 + g (1 − σ(g))).

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, exp, read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Extent, args};
use super::program::Program;
use super::route::Route;
use super::tape;

/// SwiGLU over the last axis: first the value, then the gate.
pub(crate) fn swiglu(x: &Tensor) -> Result<Tensor> {
    match Route::of(x) {
        Route::Cpu => tape::apply1(&tape::contiguous(x)?, SwiGlu),
        Route::Gpu => on_gpu(SwiGlu, [x]),
        Route::Composed => tape::composed([x], |[x]| composed(x)),
    }
}

fn composed(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (value, gate) = (
        x.narrow(D::Minus1, 0, half)?,
        x.narrow(D::Minus1, half, half)?,
    );
    // σ by hand, so that the gradient is Candle's own. Below −40 it stays at 4e-18: the exponential and its
    // square, which the gradient divides by, are finite for any gate.
    let sigmoid = ((gate.maximum(-40.0)?.neg()?.exp()? + 1.0)?).recip()?;
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

/// Numbers of y, of a row of y, whether a thread has a pack of them, and the launch for that.
fn extent(x: &Shape, dtype: DType) -> Result<(usize, usize, i32, Extent)> {
    let (count, half) = (x.elem_count() / 2, x.dim(D::Minus1)? / 2);
    let pack = 16 / dtype.size_in_bytes();
    let whole = half.is_multiple_of(pack);
    let threads = if whole { count / pack } else { count };
    Ok((count, half, whole.into(), Extent::covering(threads, 256)))
}

impl Kernels for SwiGlu {
    const NAME: &'static str = "swiglu";
    const QUICK: bool = true;

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [Array { shape, dtype }] = inputs else {
            candle_core::bail!("swiglu has one input")
        };
        let (count, half, whole, extent) = extent(shape, *dtype)?;
        let mut result = shape.dims().to_vec();
        if let Some(last) = result.last_mut() {
            *last = half;
        }
        let mut program = Program::new("swiglu", 1);
        let y = program.result(result, *dtype);
        let args = args![program.input(0), y, count, half, whole];
        program.launch("swiglu_forward", *dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = at.inputs[0];
        let (count, half, whole, extent) = extent(x.shape(), x.dtype())?;
        let mut program = Program::new("swiglu", 2);
        let dx = program.result(x.shape(), x.dtype());
        let args = args![program.input(0), program.input(1), dx, count, half, whole];
        program.launch("swiglu_backward", x.dtype(), extent, args);
        Ok(program
            .run(&[x, at.gradient])?
            .into_iter()
            .map(Some)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_far_out, check_kernels};

    #[test]
    fn kernels_equal_the_composed_operation() {
        for shape in [[3, 5, 14], [1, 1, 2], [2, 70, 48]] {
            check_kernels(
                &[&shape],
                |v, dtype| swiglu(&v[0].to_dtype(dtype)?),
                |v| composed(&v[0]),
            );
        }
    }

    #[test]
    fn any_gate_has_a_gradient() {
        check_far_out(swiglu, composed);
    }

    #[test]
    fn equals_the_composed_operation() {
        check(&[&[3, 5, 14]], |v| swiglu(&v[0]), |v| composed(&v[0]));
    }
}
