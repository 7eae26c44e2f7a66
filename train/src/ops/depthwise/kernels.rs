//! Launches of the kernels of `depthwise.cu`.

use candle_core::{DType, Result, Tensor, bail};

use super::{Depthwise, convolved};
use crate::ops::gpu::{Array, Backward, Kernels};
use crate::ops::launch::{Arg, Extent, args, int, on_three_axes};
use crate::ops::norm::share;
use crate::ops::program::Program;

/// Threads of a block, and channels of a thread: as in depthwise.cu.
const THREADS: usize = 256;
const EACH: usize = 4;

impl Depthwise {
    /// Sizes of the grid, the kernel and the places.
    fn sizes(&self) -> Result<Vec<Arg>> {
        on_three_axes(&[&self.0.space, &self.0.kernel, &self.0.grid()])
    }

    /// A thread for some channels of each of an item's `cells`.
    fn extent(cells: usize, channels: usize, items: usize) -> Result<Extent> {
        let threads = cells * channels.div_ceil(EACH);
        int(threads + THREADS)?;
        let mut extent = Extent::covering(threads, THREADS as u32);
        extent.grid[1] = int(items)? as u32;
        Ok(extent)
    }

    /// dx, dw and db of x, w and dy.
    fn gradients(&self, x: &Tensor) -> Result<Program> {
        let (items, channels) = (x.dim(0)?, x.dim(x.rank() - 1)?);
        let (tiling, places) = (&self.0, items * self.0.tokens());
        let weights = tiling.kernel_cells() * channels;
        let mut program = Program::new("depthwise", 3);
        let [x_there, w, dy] = [0, 1, 2].map(|i| program.input(i));
        let dx = program.result(x.shape(), DType::F32);
        let dw = program.result((tiling.kernel_cells(), channels), DType::F32);
        let db = program.result(channels, DType::F32);

        let mut of_input = args![dy, w, dx, int(channels)?];
        of_input.extend(self.sizes()?);
        let extent = Self::extent(tiling.cells(), channels, items)?;
        program.launch("depthwise_input", DType::F32, extent, of_input);

        let rows = THREADS / channels.min(THREADS);
        let sums = tiling.kernel_cells() + 1;
        let chunks = [64, 32, 16, 8, 4, 2, 1].map(|k| k * rows);
        let (chunk, chunks) = share(places, chunks.into_iter(), sums);
        int(places + chunk)?;
        let partial = program.scratch(chunks * sums * channels, DType::F32);
        let mut of_weights = args![
            x_there,
            dy,
            partial,
            int(channels)?,
            int(items)?,
            int(chunk)?
        ];
        of_weights.extend(self.sizes()?);
        let mut extent = Extent::covering(chunks * THREADS, THREADS as u32);
        extent.grid[1] = int(sums)? as u32;
        program.launch("depthwise_sums", DType::F32, extent, of_weights);

        let count = weights + channels;
        let of_all = args![partial, dw, db, int(weights)?, int(count)?, int(chunks)?];
        let extent = Extent::covering(count, THREADS as u32);
        program.launch("depthwise_weights", DType::F32, extent, of_all);
        Ok(program)
    }
}

impl Kernels for Depthwise {
    const NAME: &'static str = "depthwise";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let shape = convolved(inputs[0].shape.dims(), &self.0);
        let (items, channels) = (shape[0], shape[shape.len() - 1]);
        let mut program = Program::new("depthwise", 3);
        let [x, w, b] = [0, 1, 2].map(|i| program.input(i));
        let y = program.result(shape, DType::F32);
        let mut args = args![x, w, b, y, int(channels)?];
        args.extend(self.sizes()?);
        let extent = Self::extent(self.0.tokens(), channels, items)?;
        program.launch("depthwise_forward", DType::F32, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let [x, w, _] = at.inputs else {
            bail!("depthwise has three inputs")
        };
        let found = self.gradients(x)?.run(&[x, w, at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}
