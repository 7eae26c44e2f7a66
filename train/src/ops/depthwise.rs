//! A depthwise convolution: each channel by a kernel of its own, which moves by one cell. x: (N, *space, C), w: (K, C)
//! with K the kernel's cells, b: (C) → (N, *places, C).
//!
//! dx at a cell is the sum of dy · w over the places whose kernel covers it, dw of a cell the sum of dy · x over all places.

mod kernels;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::buffer::{add, read, slice, stored, tensor};
use super::gpu::on_gpu;
use super::linear::column_sums;
use super::route::Route;
use super::tape;
use super::tiling::{Tiling, unravel};

/// Convolves each channel of a grid by a kernel of its own.
pub(crate) fn depthwise(x: &Tensor, w: &Tensor, b: &Tensor, kernel: &[usize]) -> Result<Tensor> {
    let (dims, axes) = (x.dims(), kernel.len());
    let fits = dims.len() == axes + 2 && dims[1..=axes].iter().zip(kernel).all(|(n, k)| n >= k);
    if !fits || w.dims() != [kernel.iter().product(), dims[dims.len() - 1]] {
        bail!("a kernel {kernel:?} of {:?} for a grid {dims:?}", w.dims());
    }
    let tiling = Tiling {
        space: dims[1..=axes].to_vec(),
        kernel: kernel.to_vec(),
        stride: vec![1; axes],
    };
    match Route::of(x) {
        Route::Cpu => {
            let (x, w) = (tape::contiguous(x)?, tape::contiguous(w)?);
            tape::apply3([&x, &w, &tape::contiguous(b)?], Depthwise(tiling))
        }
        Route::Gpu if x.dtype() == DType::F32 => on_gpu(Depthwise(tiling), [x, w, b]),
        Route::Gpu | Route::Composed => {
            tape::composed([x, w, b], |[x, w, b]| composed(x, w, b, &tiling))
        }
    }
}

/// The shape (N, *places, C) for a grid (N, *space, C).
fn convolved(dims: &[usize], tiling: &Tiling) -> Vec<usize> {
    let (grid, mut shape) = (tiling.grid(), dims.to_vec());
    shape[1..=grid.len()].copy_from_slice(&grid);
    shape
}

fn composed(x: &Tensor, w: &Tensor, b: &Tensor, tiling: &Tiling) -> Result<Tensor> {
    let grid = tiling.grid();
    let mut sum = b.broadcast_as(convolved(x.dims(), tiling))?;
    let mut at = vec![0; grid.len()];
    for index in 0..tiling.kernel_cells() {
        unravel(index, &tiling.kernel, &mut at);
        let mut seen = x.clone();
        for (axis, (&from, &length)) in at.iter().zip(&grid).enumerate() {
            seen = seen.narrow(axis + 1, from, length)?;
        }
        sum = (sum + seen.broadcast_mul(&w.get(index)?)?)?;
    }
    Ok(sum)
}

struct Depthwise(Tiling);

impl Depthwise {
    /// Places along the last axis: a line.
    fn line(&self) -> usize {
        self.0.grid().last().copied().unwrap_or(1)
    }

    /// Lines of places of an item.
    fn lines(&self) -> usize {
        self.0.tokens() / self.line().max(1)
    }

    /// For a line, each cell of the kernel with the cell of the grid that it covers at the line's first place.
    fn covered(&self, line: usize) -> Vec<usize> {
        let Tiling { space, kernel, .. } = &self.0;
        let (grid, outer) = (self.0.grid(), space.len() - 1);
        let (mut place, mut cell) = (vec![0; outer], vec![0; space.len()]);
        unravel(line, &grid[..outer], &mut place);
        let covered = (0..self.0.kernel_cells()).map(|index| {
            unravel(index, kernel, &mut cell);
            let along = |axis: usize| cell[axis] + place.get(axis).copied().unwrap_or(0);
            (0..space.len()).fold(0, |sum, axis| sum * space[axis] + along(axis))
        });
        covered.collect()
    }

    /// dx of one item.
    fn item_gradient(&self, dx: &mut [f32], w: &[f32], dy: &[f32], channels: usize) {
        let length = self.line() * channels;
        for (line, dy) in dy.chunks(length).enumerate() {
            for (cell, w) in self.covered(line).into_iter().zip(w.chunks(channels)) {
                let dx = &mut dx[cell * channels..][..length];
                for (dx, dy) in dx.chunks_mut(channels).zip(dy.chunks(channels)) {
                    let terms = dx.iter_mut().zip(dy).zip(w);
                    terms.for_each(|((dx, dy), w)| *dx += dy * w);
                }
            }
        }
    }

    /// What some lines of one item add to dw.
    fn weight_gradient(&self, x: &[f32], dy: &[f32], first: usize, channels: usize) -> Vec<f32> {
        let length = self.line() * channels;
        let mut dw = vec![0.0; self.0.kernel_cells() * channels];
        for (line, dy) in dy.chunks(length).enumerate() {
            let covered = self.covered(first + line);
            for (cell, dw) in covered.into_iter().zip(dw.chunks_mut(channels)) {
                let x = &x[cell * channels..][..length];
                for (x, dy) in x.chunks(channels).zip(dy.chunks(channels)) {
                    let terms = dw.iter_mut().zip(x).zip(dy);
                    terms.for_each(|((dw, x), dy)| *dw += x * dy);
                }
            }
        }
        dw
    }
}

impl CustomOp3 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
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
        let (x, w, b) = (slice(x, lx)?, slice(w, lw)?, slice(b, lb)?);
        let (channels, lines) = (b.len(), self.lines());
        let (item, length) = (self.0.cells() * channels, self.line() * channels);
        let mut y = vec![0.0; x.len() / item * lines * length];
        y.par_chunks_mut(length).enumerate().for_each(|(index, y)| {
            let x = &x[index / lines * item..][..item];
            y.chunks_mut(channels).for_each(|y| y.copy_from_slice(b));
            let covered = self.covered(index % lines);
            for (cell, w) in covered.into_iter().zip(w.chunks(channels)) {
                let x = &x[cell * channels..][..length];
                for (y, x) in y.chunks_mut(channels).zip(x.chunks(channels)) {
                    let terms = y.iter_mut().zip(x).zip(w);
                    terms.for_each(|((y, x), w)| *y += x * w);
                }
            }
        });
        Ok(stored(y, convolved(lx.dims(), &self.0)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (channels, lines) = (b.elem_count(), self.lines());
        let (item, length) = (self.0.cells() * channels, self.line() * channels);
        let mut dx = vec![0.0; x.elem_count()];
        let (dw, db) = read([x, w, dy], |[x, w, dy]| {
            dx.par_chunks_mut(item)
                .zip(dy.par_chunks(lines * length))
                .for_each(|(dx, dy)| self.item_gradient(dx, w, dy, channels));
            // So many lines at once that a sum of a part is as long as what it is of.
            let together = self.0.kernel_cells().min(lines);
            let parts: Vec<_> = (0..x.len() / item)
                .flat_map(|item| (0..lines).step_by(together).map(move |line| (item, line)))
                .collect();
            let parts = parts.into_par_iter().map(|(index, first)| {
                let count = together.min(lines - first);
                let dy = &dy[(index * lines + first) * length..][..count * length];
                self.weight_gradient(&x[index * item..][..item], dy, first, channels)
            });
            let zeros = vec![0.0; w.len()];
            let dw = parts.collect::<Vec<_>>().into_iter().fold(zeros, add);
            (dw, column_sums(dy, channels))
        })?;
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(dw, w.shape())?),
            Some(tensor(db, b.shape())?),
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::ops::testing::{check, check_kernels};

    /// Grids, kernels and channels.
    const CASES: [(&[usize], &[usize], usize); 5] = [
        (&[9], &[3], 2),
        (&[7, 8], &[3, 5], 3),
        (&[4, 5, 6], &[3, 1, 3], 2),
        (&[7, 7], &[7, 7], 18),
        (&[6, 9], &[3, 3], 260),
    ];

    /// Compares depthwise convolutions with the composed ones.
    fn compare(space: &[usize], kernel: &[usize], channels: usize, kernels: bool) {
        let shape = [&[2], space, &[channels]].concat();
        let cells: usize = kernel.iter().product();
        let composed = |v: &[Tensor]| {
            let tiling = Tiling {
                space: space.to_vec(),
                kernel: kernel.to_vec(),
                stride: vec![1; kernel.len()],
            };
            composed(&v[0], &v[1], &v[2], &tiling)
        };
        let shapes: [&[usize]; 3] = [&shape, &[cells, channels], &[channels]];
        let found = |v: &[Tensor]| depthwise(&v[0], &v[1], &v[2], kernel);
        if kernels {
            check_kernels(&shapes, |v, _| found(v), composed);
        } else {
            check(&shapes, found, composed);
        }
    }

    #[test]
    fn equals_the_composed_operation() {
        for (space, kernel, channels) in CASES {
            compare(space, kernel, channels, false);
        }
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        for (space, kernel, channels) in CASES {
            compare(space, kernel, channels, true);
        }
    }
}
