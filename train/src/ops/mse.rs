//! Mean squared error: L = Σ (x − y)² / n, a scalar; dx = 2 (x − y) dL / n. y is the truth and gets no
//! gradient. Composed it would hold the difference and its square as large as the state.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::{GRAIN, read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Extent, args, int};
use super::program::Program;
use super::route::Route;

/// Mean squared error of x against y of the same shape.
pub(crate) fn mse(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    match Route::of(x) {
        Route::Cpu => x.contiguous()?.apply_op2(&y.contiguous()?.detach(), Mse),
        Route::Gpu if x.dtype() == DType::F32 => on_gpu(Mse, [x, &y.detach()]),
        Route::Gpu | Route::Composed => composed(x, y),
    }
}

fn composed(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    (x - y.detach())?.sqr()?.mean_all()
}

struct Mse;

impl CustomOp2 for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, y) = (slice(x, lx)?, slice(y, ly)?);
        let partial = |(x, y): (&[f32], &[f32])| -> f64 {
            let pairs = x.iter().zip(y);
            pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum()
        };
        let chunks = x.par_chunks(GRAIN).zip(y.par_chunks(GRAIN));
        // Summed in the chunks' order, whatever the number of threads.
        let sums: Vec<f64> = chunks.map(partial).collect();
        let mean = sums.iter().sum::<f64>() / x.len() as f64;
        Ok(stored(vec![mean as f32], ()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        dl: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let scale = 2.0 * dl.to_scalar::<f32>()? / x.elem_count() as f32;
        let dx = read([x, y], |[x, y]| {
            let mut dx = vec![0.0; x.len()];
            dx.par_chunks_mut(GRAIN)
                .zip(x.par_chunks(GRAIN).zip(y.par_chunks(GRAIN)))
                .for_each(|(dx, (x, y))| {
                    let pairs = x.iter().zip(y);
                    dx.iter_mut()
                        .zip(pairs)
                        .for_each(|(dx, (x, y))| *dx = scale * (x - y));
                });
            dx
        })?;
        Ok((Some(tensor(dx, x.shape())?), None))
    }
}

impl Kernels for Mse {
    const NAME: &'static str = "mse";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [x, y] = inputs else {
            bail!("mse has two inputs")
        };
        if x != y {
            bail!("mse of {x:?} against {y:?}");
        }
        let count = x.shape.elem_count();
        let mut program = Program::new("mse", 2);
        // A thread of `mse_partial` takes four packs of four.
        let blocks = Extent::covering(count.div_ceil(16), 256);
        let parts = blocks.grid[0];
        let mean = program.result((), DType::F32);
        let partial = program.scratch(parts as usize, DType::F32);
        let args = args![program.input(0), program.input(1), partial, count];
        program.launch("mse_partial", DType::F32, blocks, args);
        let args = args![partial, mean, int(parts as usize)?, 1.0 / count as f32];
        program.launch("mse_mean", DType::F32, Extent::covering(1, 256), args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, y) = (at.inputs[0], at.inputs[1]);
        let count = x.elem_count();
        let mut program = Program::new("mse", 3);
        let dx = program.result(x.shape(), DType::F32);
        let [x_, y_, dl] = [0, 1, 2].map(|i| program.input(i));
        let args = args![x_, y_, dl, dx, count, 1.0 / count as f32];
        let extent = Extent::of_packs(count, DType::F32);
        program.launch("mse_backward", DType::F32, extent, args);
        let mut found = program.run(&[x, y, at.gradient])?.into_iter();
        Ok(vec![found.next(), None])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    #[test]
    fn kernels_equal_the_composed_operation() {
        for shape in [[1, 1], [3, 5], [2, 4096], [3, 4097]] {
            let y = Tensor::full(0.3_f32, &shape, &candle_core::Device::Cpu).unwrap();
            check_kernels(
                &[&shape],
                |v, _| mse(&v[0], &y.to_device(v[0].device())?),
                |v| composed(&v[0], &y),
            );
        }
    }

    #[test]
    fn equals_the_composed_operation() {
        let shape = &[3, GRAIN / 2 + 1];
        let y = Tensor::zeros(shape, DType::F32, &candle_core::Device::Cpu).unwrap();
        check(&[shape], |v| mse(&v[0], &y), |v| composed(&v[0], &y));
    }
}
