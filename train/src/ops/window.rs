//! A window onto a grid that may reach beyond its ends: padding, cropping and rolling.
//!
//! (N, *space, C) → (N, *lengths, C), where cell o of the window is cell o + from of the grid along each axis.
//! dx at a cell is the sum of dy over all cells of the window that show it. Composed, each axis takes several of
//! Candle's operations; the kernels do all axes at once.

use candle_core::{Result, Tensor, bail};

use super::gpu::{Array, Backward, Kernels, on_gpu};
use super::launch::{Arg, Extent, args, int};
use super::program::Program;
use super::route::Route;

/// What lies beyond the ends of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaddingMode {
    /// The other end.
    Around,
    /// The cell at the edge again.
    Edge,
    /// Zeros.
    Zeros,
}

/// The part of one axis that a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// First cell of the window; negative if it begins before the grid.
    pub(crate) from: isize,
    pub(crate) length: usize,
    pub(crate) beyond: PaddingMode,
}

impl View {
    /// The whole axis of n cells.
    pub(crate) fn whole(n: usize) -> Self {
        Self {
            from: 0,
            length: n,
            beyond: PaddingMode::Zeros,
        }
    }

    fn is_whole(&self, n: usize) -> bool {
        self.from == 0 && self.length == n
    }

    /// The cell of an axis of n that a cell of the window shows.
    fn source(&self, at: usize, n: usize) -> usize {
        let (at, n) = (at as isize + self.from, n as isize);
        match self.beyond {
            PaddingMode::Around => at.rem_euclid(n) as usize,
            PaddingMode::Edge | PaddingMode::Zeros => at.clamp(0, n - 1) as usize,
        }
    }
}

/// Shows x (N, *space, C) through a view of each axis of space.
pub(crate) fn window(x: &Tensor, views: &[View]) -> Result<Tensor> {
    if views.len() + 2 != x.rank() {
        bail!("{} views of a grid {:?}", views.len(), x.dims());
    }
    let mut axes = views.iter().zip(&x.dims()[1..]);
    if axes.all(|(view, &n)| view.is_whole(n)) {
        return Ok(x.clone());
    }
    match Route::of(x) {
        Route::Gpu if (1..=3).contains(&views.len()) => on_gpu(Window(views.to_vec()), [x]),
        Route::Gpu | Route::Cpu | Route::Composed => composed(x, views),
    }
}

fn composed(x: &Tensor, views: &[View]) -> Result<Tensor> {
    let mut x = x.clone();
    for (axis, view) in views.iter().enumerate() {
        x = along(&x, axis + 1, view)?;
    }
    x.contiguous()
}

fn along(x: &Tensor, axis: usize, view: &View) -> Result<Tensor> {
    let n = x.dim(axis)?;
    let end = view.from + view.length as isize;
    let inside = view.from >= 0 && end <= n as isize;
    match view.beyond {
        _ if view.is_whole(n) => Ok(x.clone()),
        _ if inside => x.narrow(axis, view.from as usize, view.length),
        PaddingMode::Around if view.length == n => x.roll(-view.from as i32, axis),
        PaddingMode::Around | PaddingMode::Edge => {
            let cells = (0..view.length).map(|at| view.source(at, n) as u32);
            let cells = Tensor::from_iter(cells, x.device())?;
            x.contiguous()?.index_select(&cells, axis)
        }
        PaddingMode::Zeros => {
            let (start, end) = (view.from.clamp(0, n as isize), end.clamp(0, n as isize));
            let shown = (end - start).max(0) as usize;
            let low = (-view.from).clamp(0, view.length as isize) as usize;
            let x = x.narrow(axis, start as usize, shown)?;
            x.pad_with_zeros(axis, low, view.length - low - shown)
        }
    }
}

struct Window(Vec<View>);

impl Window {
    /// One launch of a kernel that writes `to`, a grid of the given lengths.
    fn program(
        &self,
        kernel: &str,
        from: &Array,
        x: &[usize],
        lengths: &[usize],
    ) -> Result<Program> {
        let (items, channels) = (x[0], x[x.len() - 1]);
        let shape = [&[items], lengths, &[channels]].concat();
        let mut program = Program::new("window", 1);
        let to = program.result(shape, from.dtype);
        let parts = channels.div_ceil(16 / from.dtype.size_in_bytes());
        let threads = lengths.iter().product::<usize>() * parts;
        // Threads of an item are counted by an int.
        int(threads + 256)?;
        let mut extent = Extent::covering(threads, 256);
        extent.grid[1] = u32::try_from(items).unwrap_or(u32::MAX);
        let mut args = args![program.input(0), to, int(channels)?];
        let axes = self.0.iter().zip(&x[1..]);
        let columns: [Vec<i32>; 4] = [
            axes.clone().map(|(_, &n)| int(n)).collect::<Result<_>>()?,
            self.0.iter().map(|view| view.from as i32).collect(),
            axes.map(|(view, _)| int(view.length))
                .collect::<Result<_>>()?,
            self.0.iter().map(|view| view.beyond as i32).collect(),
        ];
        // An axis that the grid does not have is one cell, as it is.
        for (column, none) in columns
            .into_iter()
            .zip([1, 0, 1, PaddingMode::Zeros as i32])
        {
            args.extend(vec![Arg::Int(none); 3 - self.0.len()]);
            args.extend(column.into_iter().map(Arg::Int));
        }
        program.launch(kernel, from.dtype, extent, args);
        Ok(program)
    }
}

impl Kernels for Window {
    const NAME: &'static str = "window";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [x] = inputs else {
            bail!("window has one input")
        };
        let lengths: Vec<usize> = self.0.iter().map(|view| view.length).collect();
        self.program("window_forward", x, x.shape.dims(), &lengths)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, dy) = (at.inputs[0].dims(), at.gradient);
        let program = self.program("window_backward", &Array::of(dy), x, &x[1..x.len() - 1])?;
        let found = program.run(&[dy])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::check_kernels;

    #[test]
    fn kernels_equal_the_composed_operation() {
        let view = |from, length, beyond| View {
            from,
            length,
            beyond,
        };
        let (around, edge, zeros) = (PaddingMode::Around, PaddingMode::Edge, PaddingMode::Zeros);
        let cases: [(&[usize], &[View], usize); 7] = [
            // Rolls, one way and the other.
            (&[5, 6], &[view(-2, 5, around), view(1, 6, around)], 3),
            // More than the axis has, wound around it.
            (&[3], &[view(-7, 15, around)], 1),
            (&[4, 1], &[view(-2, 9, edge), view(-1, 3, edge)], 4),
            (
                &[4, 5, 3],
                &[view(-1, 6, zeros), View::whole(5), view(-2, 7, edge)],
                5,
            ),
            // Less than the axis has.
            (&[6, 4], &[view(2, 3, zeros), view(1, 2, edge)], 8),
            (&[7, 2], &[view(3, 5, around), view(1, 3, zeros)], 9),
            (&[1], &[view(-1, 3, around)], 1),
        ];
        for (space, views, channels) in cases {
            let shape = [&[2], space, &[channels]].concat();
            check_kernels(
                &[&shape],
                |v, dtype| window(&v[0].to_dtype(dtype)?, views),
                |v| composed(&v[0], views),
            );
        }
    }

    #[test]
    fn beyond_the_ends_lies_what_the_view_says() -> Result<()> {
        let x = Tensor::new(&[1.0_f32, 2.0, 3.0], &candle_core::Device::Cpu)?.reshape((1, 3, 1))?;
        let shown = |from, length, beyond| -> Result<Vec<f32>> {
            let view = View {
                from,
                length,
                beyond,
            };
            window(&x, &[view])?.flatten_all()?.to_vec1()
        };
        assert_eq!(shown(-1, 3, PaddingMode::Around)?, [3.0, 1.0, 2.0]);
        assert_eq!(shown(2, 5, PaddingMode::Around)?, [3.0, 1.0, 2.0, 3.0, 1.0]);
        assert_eq!(
            shown(-2, 6, PaddingMode::Edge)?,
            [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]
        );
        assert_eq!(shown(-1, 5, PaddingMode::Zeros)?, [0.0, 1.0, 2.0, 3.0, 0.0]);
        assert_eq!(shown(1, 3, PaddingMode::Zeros)?, [2.0, 3.0, 0.0]);
        assert_eq!(shown(1, 2, PaddingMode::Edge)?, [2.0, 3.0]);
        Ok(())
    }
}
