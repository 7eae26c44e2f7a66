//! The positions of a kernel that moves over a grid of one to three axes, and the cells that it covers.

use rayon::prelude::*;

/// The positions of a kernel on a grid.
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

    pub(super) fn cells(&self) -> usize {
        self.space.iter().product()
    }

    pub(super) fn tokens(&self) -> usize {
        self.grid().iter().product()
    }

    pub(super) fn kernel_cells(&self) -> usize {
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

    pub(super) fn unfolded(&self, x: &[f32], channels: usize) -> Vec<f32> {
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

    pub(super) fn folded(&self, y: &[f32], channels: usize) -> Vec<f32> {
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

    /// An equal tiling with kernels one cell wide along the last axis, and its number of channels, if
    /// kernels lie side by side there: the cells of a kernel become channels of one cell, so that whole
    /// packs are moved even if cells have few channels.
    pub(super) fn merged(&self, channels: usize) -> (Self, usize) {
        let mut merged = self.clone();
        let (Some(space), Some(kernel), Some(stride)) = (
            merged.space.last_mut(),
            merged.kernel.last_mut(),
            merged.stride.last_mut(),
        ) else {
            return (merged, channels);
        };
        let width = *kernel;
        if *stride != width || !space.is_multiple_of(width) {
            return (merged, channels);
        }
        (*space, *kernel, *stride) = (*space / width, 1, 1);
        (merged, width * channels)
    }

    /// For each token, the cells of its kernel.
    pub(super) fn cell_indices(&self) -> Vec<u32> {
        let mut indices = vec![0; self.tokens() * self.kernel_cells()];
        self.runs(|cell, row, run| (0..run).for_each(|i| indices[row + i] = (cell + i) as u32));
        indices
    }
}

pub(super) fn unravel(mut index: usize, shape: &[usize], into: &mut [usize]) {
    for (place, n) in into.iter_mut().zip(shape).rev() {
        *place = index % n;
        index /= n;
    }
}
