//! Copies patches of a grid into rows, and back: the part of a convolution beside the matrix product.
//!
//! `unfold`: (N, *space, C) → (N, tokens, K·C), a row for each position of a kernel of K cells that
//! moves by a stride. `fold` is its transpose: it adds rows to the cells they come from. Each is the
//! other's backward pass. One to three axes; kernels may overlap (stride < kernel).

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};

use super::buffer::{read, slice, stored, tensor};
use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Buffer, Extent, args, int, on_three_axes};
use super::program::Program;
use super::route::Route;
use super::tiling::Tiling;

/// (N, *space, C) → (N, tokens, K·C).
pub(crate) fn unfold(x: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let dims = x.dims();
    if dims[1..dims.len() - 1] != tiling.space {
        bail!(
            "a grid {:?} for a tiling of {:?}",
            &dims[1..dims.len() - 1],
            tiling.space
        );
    }
    match Route::of(x) {
        Route::Cpu => x.contiguous()?.apply_op1(Unfold(tiling.clone())),
        Route::Gpu => on_gpu(Unfold(tiling.clone()), [x]),
        Route::Composed => unfold_composed(x, tiling),
    }
}

fn unfold_composed(x: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let (items, channels) = (x.dim(0)?, x.dim(D::Minus1)?);
    let indices = Tensor::new(tiling.cell_indices(), x.device())?;
    let rows = x
        .reshape((items, tiling.cells(), channels))?
        .index_select(&indices, 1)?;
    rows.reshape((items, tiling.tokens(), tiling.kernel_cells() * channels))
}

/// (N, tokens, K·C) → (N, *space, C).
pub(crate) fn fold(y: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let (_, tokens, _) = y.dims3()?;
    if tokens != tiling.tokens() {
        bail!("{tokens} tokens for a tiling of {}", tiling.tokens());
    }
    match Route::of(y) {
        Route::Cpu => y.contiguous()?.apply_op1(Fold(tiling.clone())),
        Route::Gpu => on_gpu(Fold(tiling.clone()), [y]),
        Route::Composed => fold_composed(y, tiling),
    }
}

fn fold_composed(y: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let (items, tokens, features) = y.dims3()?;
    let channels = features / tiling.kernel_cells();
    let indices = Tensor::new(tiling.cell_indices(), y.device())?;
    let rows = y.reshape((items, tokens * tiling.kernel_cells(), channels))?;
    let zeros = Tensor::zeros((items, tiling.cells(), channels), y.dtype(), y.device())?;
    zeros
        .index_add(&indices, &rows, 1)?
        .reshape(folded_shape(items, channels, tiling))
}

fn folded_shape(items: usize, channels: usize, tiling: &Tiling) -> Vec<usize> {
    [&[items], tiling.space.as_slice(), &[channels]].concat()
}

struct Unfold(Tiling);
struct Fold(Tiling);

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let dims = layout.dims();
        let (items, channels) = (dims[0], dims[dims.len() - 1]);
        let y = self.0.unfolded(slice(x, layout)?, channels);
        Ok(stored(
            y,
            (items, self.0.tokens(), self.0.kernel_cells() * channels),
        ))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let channels = x.dims()[x.rank() - 1];
        let dx = read([dy], |[dy]| self.0.folded(dy, channels))?;
        Ok(Some(tensor(dx, x.shape())?))
    }
}

impl CustomOp1 for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn cpu_fwd(&self, y: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (items, _, features) = layout.shape().dims3()?;
        let channels = features / self.0.kernel_cells();
        Ok(stored(
            self.0.folded(slice(y, layout)?, channels),
            folded_shape(items, channels, &self.0),
        ))
    }

    fn bwd(&self, y: &Tensor, _: &Tensor, dx: &Tensor) -> Result<Option<Tensor>> {
        let channels = dx.dims()[dx.rank() - 1];
        let dy = read([dx], |[dx]| self.0.unfolded(dx, channels))?;
        Ok(Some(tensor(dy, y.shape())?))
    }
}

/// A launch of `unfold` or `fold`.
struct Launch {
    kernel: &'static str,
    dtype: DType,
    from: Buffer,
    to: Buffer,
    items: usize,
    /// Channels of a cell.
    channels: usize,
}

impl Tiling {
    /// Adds a launch to a program.
    fn launch(&self, program: &mut Program, launch: Launch) -> Result<()> {
        let Launch {
            kernel,
            dtype,
            from,
            to,
            items,
            channels,
        } = launch;
        let (tiling, channels) = self.merged(channels);
        let parts = channels.div_ceil(16 / dtype.size_in_bytes());
        let places = match kernel {
            "unfold" => tiling.tokens() * tiling.kernel_cells(),
            _ => tiling.cells(),
        };
        // Threads of an item are counted by an int.
        int(places * parts + 256)?;
        let mut extent = Extent::covering(places * parts, 256);
        extent.grid[1] = u32::try_from(items).unwrap_or(u32::MAX);
        let mut args = args![from, to, int(channels)?];
        args.extend(on_three_axes(&[
            &tiling.space,
            &tiling.kernel,
            &tiling.stride,
            &tiling.grid(),
        ])?);
        program.launch(kernel, dtype, extent, args);
        Ok(())
    }

    fn unfolding(&self, x: &Array) -> Result<Program> {
        let dims = x.shape.dims();
        let (items, channels) = (dims[0], dims[dims.len() - 1]);
        let mut program = Program::new("unfold", 1);
        let shape = (items, self.tokens(), self.kernel_cells() * channels);
        let launch = Launch {
            kernel: "unfold",
            dtype: x.dtype,
            from: program.input(0),
            to: program.result(shape, x.dtype),
            items,
            channels,
        };
        self.launch(&mut program, launch)?;
        Ok(program)
    }

    fn folding(&self, y: &Array) -> Result<Program> {
        let (items, _, features) = y.shape.dims3()?;
        let channels = features / self.kernel_cells();
        let mut program = Program::new("unfold", 1);
        let shape = folded_shape(items, channels, self);
        let launch = Launch {
            kernel: "fold",
            dtype: y.dtype,
            from: program.input(0),
            to: program.result(shape, y.dtype),
            items,
            channels,
        };
        self.launch(&mut program, launch)?;
        Ok(program)
    }
}

impl Kernels for Unfold {
    const NAME: &'static str = "unfold";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        match inputs {
            [x] => self.0.unfolding(x),
            _ => bail!("unfold has one input"),
        }
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let program = self.0.folding(&Array::of(at.gradient))?;
        let found = program.run(&[at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

impl Kernels for Fold {
    const NAME: &'static str = "fold";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        match inputs {
            [y] => self.0.folding(y),
            _ => bail!("fold has one input"),
        }
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let program = self.0.unfolding(&Array::of(at.gradient))?;
        let found = program.run(&[at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};
    use crate::ops::tiling::unravel;

    /// Rows of patches by Candle's own slicing.
    fn composed(x: &Tensor, tiling: &Tiling) -> Result<Tensor> {
        let items = x.dim(0)?;
        let mut token = vec![0; tiling.space.len()];
        let mut rows = Vec::new();
        for index in 0..tiling.tokens() {
            unravel(index, &tiling.grid(), &mut token);
            let mut patch = x.clone();
            for (axis, at) in token.iter().enumerate() {
                patch = patch.narrow(axis + 1, at * tiling.stride[axis], tiling.kernel[axis])?;
            }
            rows.push(patch.contiguous()?.reshape((items, 1, ()))?);
        }
        Tensor::cat(&rows, 1)
    }

    /// Grids of one to three axes; kernels apart, side by side, overlapping, and with cells left over.
    fn tilings() -> impl Iterator<Item = (Tiling, usize)> {
        let cases: [([&[usize]; 3], usize); 7] = [
            ([&[4, 6], &[2, 3], &[2, 3]], 3),
            ([&[5, 7], &[3, 3], &[2, 1]], 3),
            ([&[4, 3, 5], &[2, 3, 1], &[1, 1, 2]], 3),
            ([&[9], &[4], &[4]], 2),
            ([&[1], &[1], &[1]], 1),
            ([&[7, 8], &[2, 2], &[3, 2]], 4),
            ([&[4, 6, 5], &[2, 2, 2], &[1, 2, 1]], 16),
        ];
        cases
            .into_iter()
            .map(|([space, kernel, stride], channels)| {
                let tiling = Tiling {
                    space: space.to_vec(),
                    kernel: kernel.to_vec(),
                    stride: stride.to_vec(),
                };
                (tiling, channels)
            })
    }

    #[test]
    fn equals_slicing_with_and_without_overlap() {
        for (tiling, channels) in tilings() {
            let shape = [&[2], tiling.space.as_slice(), &[channels]].concat();
            check(
                &[&shape],
                |v| unfold(&v[0], &tiling),
                |v| composed(&v[0], &tiling),
            );
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        for (tiling, channels) in tilings() {
            let shape = [&[2], tiling.space.as_slice(), &[channels]].concat();
            check_kernels(
                &[&shape],
                |v, dtype| unfold(&v[0].to_dtype(dtype)?, &tiling),
                |v| unfold_composed(&v[0], &tiling),
            );
            let shape = [2, tiling.tokens(), tiling.kernel_cells() * channels];
            check_kernels(
                &[&shape],
                |v, dtype| fold(&v[0].to_dtype(dtype)?, &tiling),
                |v| fold_composed(&v[0], &tiling),
            );
        }
    }

    #[test]
    fn fold_is_the_transpose_of_unfold() {
        let tiling = Tiling {
            space: vec![5, 7],
            kernel: vec![3, 3],
            stride: vec![2, 2],
        };
        let x = Tensor::rand(0.0_f32, 1.0, (2, 5, 7, 3), &candle_core::Device::Cpu).unwrap();
        let y = Tensor::rand(0.0_f32, 1.0, (2, 6, 27), &candle_core::Device::Cpu).unwrap();
        let dot = |a: &Tensor, b: &Tensor| {
            (a * b)
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap()
        };
        let (one, other) = (
            dot(&unfold(&x, &tiling).unwrap(), &y),
            dot(&x, &fold(&y, &tiling).unwrap()),
        );
        assert!((one - other).abs() < 1e-3 * one.abs(), "{one} {other}");
    }
}
