//! Patches of a grid as rows, and back: what is left of a convolution beside a matrix product.
//!
//! `unfold`: (N, *space, C) → (N, tokens, K·C), a row for each place of a kernel of K cells that
//! moves by a stride. `fold` is its transpose: rows are added where they came from. Each is the
//! other's backward pass. Any number of axes; kernels may overlap (stride < kernel).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::{read, slice, stored, tensor};

/// How a kernel moves over a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Cells along each axis.
    pub(crate) space: Vec<usize>,
    pub(crate) kernel: Vec<usize>,
    pub(crate) stride: Vec<usize>,
}

impl Tiling {
    /// Places of the kernel along each axis.
    pub(crate) fn grid(&self) -> Vec<usize> {
        let axes = self.space.iter().zip(&self.kernel).zip(&self.stride);
        axes.map(|((n, kernel), stride)| (n - kernel) / stride + 1)
            .collect()
    }

    fn cells(&self) -> usize {
        self.space.iter().product()
    }

    fn tokens(&self) -> usize {
        self.grid().iter().product()
    }

    fn kernel_cells(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Calls `each` with (offset in the item's cells, offset in the item's rows, length), in units of
    /// channels, for every run of cells along the last axis.
    fn runs(&self, mut each: impl FnMut(usize, usize, usize)) {
        let grid = self.grid();
        let axes = self.space.len();
        let run = self.kernel[axes - 1];
        let lines = self.kernel_cells() / run;
        let mut token = vec![0; axes];
        for index in 0..self.tokens() {
            unravel(index, &grid, &mut token);
            for line in 0..lines {
                let (mut rest, mut cell, mut unit) = (
                    line,
                    token[axes - 1] * self.stride[axes - 1],
                    self.space[axes - 1],
                );
                for axis in (0..axes - 1).rev() {
                    let within = rest % self.kernel[axis];
                    rest /= self.kernel[axis];
                    cell += (token[axis] * self.stride[axis] + within) * unit;
                    unit *= self.space[axis];
                }
                each(cell, (index * lines + line) * run, run);
            }
        }
    }

    fn unfolded(&self, x: &[f32], channels: usize) -> Vec<f32> {
        let (item, rows) = (
            self.cells() * channels,
            self.tokens() * self.kernel_cells() * channels,
        );
        let mut y = vec![0.0; x.len() / item * rows];
        y.par_chunks_mut(rows)
            .zip(x.par_chunks(item))
            .for_each(|(y, x)| {
                self.runs(|cell, row, run| {
                    let (from, to, length) = (cell * channels, row * channels, run * channels);
                    y[to..to + length].copy_from_slice(&x[from..from + length]);
                });
            });
        y
    }

    fn folded(&self, y: &[f32], channels: usize) -> Vec<f32> {
        let (item, rows) = (
            self.cells() * channels,
            self.tokens() * self.kernel_cells() * channels,
        );
        let mut x = vec![0.0; y.len() / rows * item];
        x.par_chunks_mut(item)
            .zip(y.par_chunks(rows))
            .for_each(|(x, y)| {
                self.runs(|cell, row, run| {
                    let (to, from, length) = (cell * channels, row * channels, run * channels);
                    x[to..to + length]
                        .iter_mut()
                        .zip(&y[from..from + length])
                        .for_each(|(sum, y)| *sum += y);
                });
            });
        x
    }

    /// For each token, the cells of its kernel: what other devices gather by.
    fn cell_indices(&self) -> Vec<u32> {
        let mut indices = vec![0; self.tokens() * self.kernel_cells()];
        self.runs(|cell, row, run| (0..run).for_each(|i| indices[row + i] = (cell + i) as u32));
        indices
    }
}

fn unravel(mut index: usize, shape: &[usize], into: &mut [usize]) {
    for (place, n) in into.iter_mut().zip(shape).rev() {
        *place = index % n;
        index /= n;
    }
}

/// (N, *space, C) → (N, tokens, K·C).
pub(crate) fn unfold(x: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let dims = x.dims();
    let (items, channels) = (dims[0], dims[dims.len() - 1]);
    if dims[1..dims.len() - 1] != tiling.space {
        bail!(
            "a grid {:?} for a tiling of {:?}",
            &dims[1..dims.len() - 1],
            tiling.space
        );
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(Unfold(tiling.clone()));
    }
    let indices = Tensor::new(tiling.cell_indices(), x.device())?;
    let rows = x
        .reshape((items, tiling.cells(), channels))?
        .index_select(&indices, 1)?;
    rows.reshape((items, tiling.tokens(), tiling.kernel_cells() * channels))
}

/// (N, tokens, K·C) → (N, *space, C).
pub(crate) fn fold(y: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let (items, tokens, features) = y.dims3()?;
    if tokens != tiling.tokens() {
        bail!("{tokens} tokens for a tiling of {}", tiling.tokens());
    }
    if y.device().is_cpu() {
        return y.contiguous()?.apply_op1(Fold(tiling.clone()));
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::check;

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

    #[test]
    fn equals_slicing_in_two_and_three_dimensions_with_and_without_overlap() {
        for (space, kernel, stride) in [
            (vec![4, 6], vec![2, 3], vec![2, 3]),
            (vec![5, 7], vec![3, 3], vec![2, 1]),
            (vec![4, 3, 5], vec![2, 3, 1], vec![1, 1, 2]),
        ] {
            let tiling = Tiling {
                space: space.clone(),
                kernel,
                stride,
            };
            let shape = [&[2], space.as_slice(), &[3]].concat();
            check(
                &[&shape],
                |v| unfold(&v[0], &tiling),
                |v| composed(&v[0], &tiling),
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
