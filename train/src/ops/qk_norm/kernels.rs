//! Launches of the kernels of `qk_norm.cu`.

use candle_core::{DType, Result, Shape, Tensor};

use super::{HeadOrder, QkNorm};
use crate::ops::gpu::{Array, Backward, Kernels};
use crate::ops::launch::{Arg, Extent, args, int};
use crate::ops::norm::share;
use crate::ops::program::Program;

/// Threads of a block, as in qk_norm.cu.
const THREADS: usize = 256;

impl QkNorm {
    /// Neighbouring threads that have a head together: a power of two.
    fn lanes(&self, features: usize, dtype: DType) -> usize {
        let width = features / 3 / self.heads;
        width
            .div_ceil(16 / dtype.size_in_bytes())
            .next_power_of_two()
    }

    /// Whether the kernels take it.
    pub(super) fn fits_a_warp(&self, qkv: &Tensor) -> bool {
        let features = qkv.dims().last().copied().unwrap_or_default();
        self.lanes(features, qkv.dtype()) <= 32
    }

    /// The launch over qkv, its blocks, and the kernels' numbers: rows, tokens, heads, their width, pairs
    /// that are turned, whether heads come first, lanes, rows of a block.
    fn share(&self, qkv: &Shape, dtype: DType) -> Result<(Extent, usize, Vec<Arg>)> {
        let (items, tokens, features) = qkv.dims3()?;
        let lanes = self.lanes(features, dtype);
        let rows = items * tokens * self.heads;
        let sizes = [32, 16, 8, 4, 2, 1].map(|k| k * THREADS / lanes);
        let (chunk, chunks) = share(rows, sizes.into_iter(), 3);
        let pairs = match &self.rotation {
            Some(rotation) => rotation.0.dim(1)?,
            None => 0,
        };
        let by_heads = usize::from(self.order == HeadOrder::HeadsFirst);
        let width = features / 3 / self.heads;
        let numbers = [
            rows, tokens, self.heads, width, pairs, by_heads, lanes, chunk,
        ];
        let numbers = numbers.map(|n| int(n).map(Arg::from));
        let mut extent = Extent::covering(chunks * THREADS, THREADS as u32);
        extent.grid[1] = 3;
        Ok((extent, chunks, numbers.into_iter().collect::<Result<_>>()?))
    }
}

impl Kernels for QkNorm {
    const NAME: &'static str = "qk-norm";
    const QUICK: bool = true;

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let Array { shape, dtype } = &inputs[0];
        let (extent, _, numbers) = self.share(shape, *dtype)?;
        let mut program = Program::new("qk_norm", inputs.len());
        // Without a rotation there are no turns, and the kernel reads none.
        let turns = program.input(inputs.len() - 1);
        let y = program.result(shape, *dtype);
        let mut args = args![program.input(0), program.input(1), turns, y];
        args.extend(numbers);
        program.launch("qk_norm_forward", *dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (qkv, affine) = (at.inputs[0], at.inputs[1]);
        let (extent, chunks, numbers) = self.share(qkv.shape(), qkv.dtype())?;
        let (turns, sums) = (at.inputs.len() - 1, affine.elem_count());
        let mut program = Program::new("qk_norm", at.inputs.len() + 1);
        let [turns, dy] = [turns, turns + 1].map(|i| program.input(i));
        let dx = program.result(qkv.shape(), qkv.dtype());
        let daffine = program.result(affine.shape(), DType::F32);
        let partial = program.scratch(chunks * sums, DType::F32);
        let mut args = args![program.input(0), program.input(1), turns, dy, dx, partial];
        args.extend(numbers);
        program.launch("qk_norm_backward", qkv.dtype(), extent, args);
        let args = args![partial, daffine, int(chunks)?, int(sums)?];
        let extent = Extent::covering(sums * 32, 1024);
        program.launch("qk_norm_affine", DType::F32, extent, args);
        let results = program.run(&[at.inputs, &[at.gradient]].concat())?;
        let mut gradients: Vec<_> = results.into_iter().map(Some).collect();
        // The turns have none.
        gradients.resize(at.inputs.len(), None);
        Ok(gradients)
    }
}
