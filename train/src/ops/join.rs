//! Concatenates tensors along their first axis: with Candle by a copy for each, on a GPU by one kernel.

use candle_core::{DType, Result, Tensor};

use super::launch::{Buffer, Extent, TABLE, args, int};
use super::program::Program;
use super::route::Route;

/// Joins tensors that differ at most in their first axis; the graph does not see it.
pub(super) fn joined(parts: &[Tensor]) -> Result<Tensor> {
    let fits = |part: &Tensor| {
        Route::of(part) == Route::Gpu && part.dtype() == DType::F32 && part.rank() > 0
    };
    if parts.is_empty() || parts.len() > TABLE || !parts.iter().all(fits) {
        return Tensor::cat(parts, 0);
    }
    let mut shape = parts[0].dims().to_vec();
    shape[0] = parts.iter().map(|part| part.dims()[0]).sum();
    let mut program = Program::new("join", parts.len());
    let y = program.result(shape, DType::F32);
    let (mut starts, mut count) = (Vec::new(), 0);
    for part in parts {
        starts.push(count);
        count += part.elem_count();
    }
    let sources: Vec<Buffer> = (0..parts.len()).map(|i| program.input(i)).collect();
    let args = args![sources, starts, y, int(parts.len())?, count];
    program.launch("join", DType::F32, Extent::covering(count, 256), args);
    Ok(program.run(&parts.iter().collect::<Vec<_>>())?.remove(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{close, on_kernels};

    #[test]
    fn kernels_equal_candle() {
        on_kernels(|device| {
            let part = |rows: usize| {
                let values = Tensor::arange(0.0, (rows * 3) as f32, device).unwrap();
                (values.reshape((rows, 3)).unwrap() + rows as f64).unwrap()
            };
            for rows in [vec![1], vec![5, 1, 200], vec![2; TABLE + 1]] {
                let parts: Vec<Tensor> = rows.into_iter().map(part).collect();
                let there = |x: &Tensor| x.to_device(&candle_core::Device::Cpu).unwrap();
                let (found, expected) = (joined(&parts).unwrap(), Tensor::cat(&parts, 0).unwrap());
                close(&there(&found), &there(&expected), 0.0, "joined");
            }
        });
    }
}
