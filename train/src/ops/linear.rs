//! y = x Wᵀ + b over the last axis. x: (..., I), W: (O, I), b: (O) or none.
//!
//! dx = dy W, dW = dyᵀ x, db = Σ dy over all but the last axis. W, b and their gradients are f32, products of
//! a bf16 x are made in bf16 and added up in f32.

mod kernels;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, add, read, slice, stored, tensor};
use super::gpu::on_gpu;
use super::matrix::{Matrix, MatrixMut};
use super::route::Route;
use super::tape;
use crate::Precision;
use kernels::LinearKernels;

/// A pointwise linear map, in the numbers of x. On a GPU factors in f32 are rounded to TF32 in every
/// precision but f32.
pub(crate) fn linear(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    precision: Precision,
) -> Result<Tensor> {
    match (Route::of(x), b) {
        (Route::Cpu, Some(b)) => {
            let (x, w) = (tape::contiguous(x)?, tape::contiguous(w)?);
            tape::apply3([&x, &w, &tape::contiguous(b)?], Linear)
        }
        (Route::Cpu, None) => tape::apply2([&tape::contiguous(x)?, &tape::contiguous(w)?], Linear),
        (Route::Gpu, Some(b)) => on_gpu(LinearKernels { precision }, [x, w, b]),
        (Route::Gpu, None) => on_gpu(LinearKernels { precision }, [x, w]),
        (Route::Composed, Some(b)) => {
            tape::composed([x, w, b], |[x, w, b]| composed(x, w, Some(b)))
        }
        (Route::Composed, None) => tape::composed([x, w], |[x, w]| composed(x, w, None)),
    }
}

fn composed(x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / inputs;
    let w = w.to_dtype(x.dtype())?;
    let y = x.reshape((rows, inputs))?.matmul(&w.t()?)?;
    let y = match b {
        Some(b) => y.broadcast_add(&b.to_dtype(x.dtype())?)?,
        None => y,
    };
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    y.reshape(shape)
}

struct Linear;

impl Linear {
    fn forward(
        x: (&[f32], &Layout),
        w: (&[f32], &Layout),
        b: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = w.1.shape().dims2()?;
        let rows = x.0.len() / inputs;
        let mut y = vec![0.0; rows * outputs];
        if let Some(b) = b {
            y.par_chunks_mut(outputs * 64).for_each(|chunk| {
                chunk
                    .chunks_mut(outputs)
                    .for_each(|row| row.copy_from_slice(b));
            });
        }
        MatrixMut::rows(&mut y, rows, outputs, outputs).product(
            b.is_some(),
            1.0,
            Matrix::rows(x.0, rows, inputs, inputs),
            Matrix::rows(w.0, outputs, inputs, inputs).transposed(),
            rayon::current_num_threads(),
        );
        let mut shape = x.1.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        Ok(stored(y, shape))
    }

    /// dx and dW, where they are wanted: a transform's matrix learns nothing, and no more does a model's input.
    fn backward(x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let (outputs, inputs) = w.dims2()?;
        let rows = x.elem_count() / inputs;
        let threads = rayon::current_num_threads();
        let dy = &dy.contiguous()?;
        let dx = || {
            let mut dx = vec![0.0; rows * inputs];
            read([w, dy], |[w, dy]| {
                let dy = Matrix::rows(dy, rows, outputs, outputs);
                let w = Matrix::rows(w, outputs, inputs, inputs);
                MatrixMut::rows(&mut dx, rows, inputs, inputs).product(false, 1.0, dy, w, threads);
            })?;
            tensor(dx, x.shape())
        };
        let dw = || {
            let mut dw = vec![0.0; outputs * inputs];
            read([x, dy], |[x, dy]| {
                let dy = Matrix::rows(dy, rows, outputs, outputs).transposed();
                let x = Matrix::rows(x, rows, inputs, inputs);
                let dw = MatrixMut::rows(&mut dw, outputs, inputs, inputs);
                dw.product(false, 1.0, dy, x, threads);
            })?;
            tensor(dw, w.shape())
        };
        Ok([
            tape::learns(x).then(dx).transpose()?,
            tape::learns(w).then(dw).transpose()?,
        ])
    }
}

/// Σ over rows, in an order that does not depend on the number of threads.
pub(super) fn column_sums(dy: &[f32], columns: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = dy
        .par_chunks((GRAIN / columns).max(1) * columns)
        .map(|chunk| {
            let mut sums = vec![0.0; columns];
            for row in chunk.chunks(columns) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            sums
        })
        .collect();
    partial.into_iter().fold(vec![0.0; columns], add)
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::forward(
            (slice(x, lx)?, lx),
            (slice(w, lw)?, lw),
            Some(slice(b, lb)?),
        )
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw] = Self::backward(x, w, dy)?;
        let db = read([dy], |[dy]| column_sums(dy, b.elem_count()))?;
        Ok((dx, dw, Some(tensor(db, b.shape())?)))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Self::forward((slice(x, lx)?, lx), (slice(w, lw)?, lw), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw] = Self::backward(x, w, dy)?;
        Ok((dx, dw))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::check;

    const F32: Precision = Precision::F32;

    #[test]
    fn equals_the_composed_operation() {
        for rows in [1, 7, 130] {
            check(
                &[&[2, rows, 5], &[3, 5], &[3]],
                |v| linear(&v[0], &v[1], Some(&v[2]), F32),
                |v| composed(&v[0], &v[1], Some(&v[2])),
            );
            check(
                &[&[rows, 5], &[3, 5]],
                |v| linear(&v[0], &v[1], None, F32),
                |v| composed(&v[0], &v[1], None),
            );
        }
    }
}
