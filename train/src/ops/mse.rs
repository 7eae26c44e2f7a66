//! Mean squared error: L = Σ (x − y)² / n, a scalar; dx = 2 (x − y) dL / n. y is the truth and gets no
//! gradient. Composed it would hold the difference and its square as large as the state.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{GRAIN, fuses, read, slice, stored, tensor};

/// Mean squared error of x against y of the same shape.
pub(crate) fn mse(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if !fuses(x) {
        return composed(x, y);
    }
    x.contiguous()?.apply_op2(&y.contiguous()?.detach(), Mse)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::check;

    #[test]
    fn equals_the_composed_operation() {
        let shape = &[3, GRAIN / 2 + 1];
        let y = Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        check(&[shape], |v| mse(&v[0], &y), |v| composed(&v[0], &y));
    }
}
