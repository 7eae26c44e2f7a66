//! Programs of attention over space: the kernels of `attention_space.cu` and
//! `attention_space_backward.cu` that run, and their numbers of blocks.

use candle_core::{DType, Result, Tensor, bail};

use super::Attention;
use crate::ops::gpu::{Array, Backward, Kernels, Needs};
use crate::ops::launch::{Extent, args, int};
use crate::ops::program::Program;

/// The widest head that the kernels take.
const WIDEST: usize = 128;
/// Most items or heads, which the blocks are counted along.
const MOST: usize = 65_535;

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    items: usize,
    tokens: usize,
    heads: usize,
    width: usize,
    dtype: DType,
}

/// What a block of a kernel has: rows of the head that it owns, threads, bytes of shared memory.
#[derive(Debug, Clone, Copy)]
struct Block {
    rows: usize,
    threads: u32,
    shared: usize,
}

impl Call {
    pub(super) fn of(dims: &[usize], dtype: DType, heads: usize) -> Result<Self> {
        let &[items, tokens, features] = dims else {
            bail!("attention over space takes (items, tokens, features), not {dims:?}")
        };
        Ok(Self {
            items,
            tokens,
            heads,
            width: features / 3 / heads,
            dtype,
        })
    }

    /// Whether there are kernels for it.
    pub(super) fn has_kernels(&self) -> bool {
        let width = self.width.is_multiple_of(8) && (8..=WIDEST).contains(&self.width);
        let numbers = 3 * self.tokens * self.heads * self.width;
        width && self.items <= MOST && self.heads <= MOST && i32::try_from(numbers).is_ok()
    }

    /// A head's width in shared memory.
    fn padded(&self) -> usize {
        self.width.next_power_of_two().max(32)
    }

    /// Bytes from row to row in shared memory.
    fn row(&self) -> usize {
        self.padded() * self.dtype.size_in_bytes() + 16
    }

    /// Whether a warp keeps the rows that it owns in registers: bf16.
    fn kept(&self) -> bool {
        self.dtype == DType::BF16
    }

    /// Rows of a warp, in tiles of 16.
    fn tiles(&self) -> usize {
        if self.kept() && self.padded() <= 64 {
            2
        } else {
            1
        }
    }

    /// Whether a row is short enough for larger blocks.
    fn short(&self) -> bool {
        self.padded() * self.dtype.size_in_bytes() <= 256
    }

    fn forward_block(&self) -> Block {
        let step = if self.kept() {
            64
        } else {
            2048 / self.padded()
        };
        self.block(4, 1, step, 0)
    }

    /// A block of the backward pass, with `sums` bytes of sums for each row of a step.
    fn backward_block(&self, sums: usize) -> Block {
        let warps = if self.short() { 4 } else { 2 };
        self.block(warps, 2, 8 * self.tiles() * warps, sums)
    }

    /// A block of `warps` warps that own rows of `roles` roles and hold two steps of two roles in shared memory.
    fn block(&self, warps: usize, roles: usize, step: usize, sums: usize) -> Block {
        let rows = 16 * self.tiles() * warps;
        let own = roles * rows * self.row();
        let steps = 2 * step * (2 * self.row() + sums);
        let shared = if self.kept() {
            own.max(steps)
        } else {
            own + steps
        };
        Block {
            rows,
            threads: 32 * warps as u32,
            shared,
        }
    }

    /// Blocks for the rows of every head.
    fn extent(&self, block: Block) -> Result<Extent> {
        let count = |n: usize| Ok::<_, candle_core::Error>(int(n)?.unsigned_abs());
        Ok(Extent {
            grid: [
                count(self.tokens.div_ceil(block.rows))?,
                count(self.heads)?,
                count(self.items)?,
            ],
            threads: block.threads,
            shared: block.shared,
        })
    }

    /// Logarithms of the queries: (items, heads, tokens rounded up to 64).
    fn logs(&self) -> (usize, usize, usize) {
        (self.items, self.heads, self.tokens.next_multiple_of(64))
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

impl Kernels for Attention {
    const NAME: &'static str = "attention-space";
    const NEEDS: Needs = Needs::InputsAndResult;

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [Array { shape, dtype }] = inputs else {
            bail!("attention over space has one input")
        };
        let call = Call::of(shape.dims(), *dtype, self.heads)?;
        let (tokens, width) = (int(call.tokens)?, int(call.width)?);
        let mut program = Program::new("attention_space", 1);
        let y = program.result((call.items, call.tokens, call.heads * call.width), *dtype);
        let logs = program.result(call.logs(), DType::F32);
        program.launch(
            &format!("attention_space_{}", call.padded()),
            *dtype,
            call.extent(call.forward_block())?,
            args![program.input(0), y, logs, tokens, width, call.scale()],
        );
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (&[qkv], Some(result), [kept]) = (at.inputs, at.result, at.kept) else {
            bail!("attention over space has one input and keeps its result and one more")
        };
        let call = Call::of(qkv.dims(), qkv.dtype(), self.heads)?;
        let (tokens, width) = (int(call.tokens)?, int(call.width)?);
        let mut program = Program::new("attention_space_backward", 4);
        let [x, y, dy, logs] = [0, 1, 2, 3].map(|i| program.input(i));
        let dx = program.result(qkv.shape(), qkv.dtype());
        let (items, heads, rounded) = call.logs();
        let sums = program.scratch(2 * items * heads * rounded, DType::F32);
        let block = Block {
            rows: 32,
            threads: 256,
            shared: 0,
        };
        let mut extent = call.extent(block)?;
        extent.grid[0] = int(rounded / 32)?.unsigned_abs();
        program.launch(
            "attention_space_sums",
            qkv.dtype(),
            extent,
            args![y, dy, logs, sums, tokens, width],
        );
        for (role, bytes) in [("queries", 0), ("keys", 8)] {
            program.launch(
                &format!("attention_space_{role}_{}", call.padded()),
                qkv.dtype(),
                call.extent(call.backward_block(bytes))?,
                args![x, dy, sums, dx, tokens, width, call.scale()],
            );
        }
        let found = program.run(&[qkv, result, at.gradient, kept])?;
        Ok(found.into_iter().map(Some).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::{Device, Result, Tensor};

    use super::super::{attention_space, composed};
    use crate::ops::testing::{check_kernels, close, on_kernels};

    /// Kernels against the composed operation, over what `made` makes of random numbers.
    fn compare(
        [items, tokens, heads, width]: [usize; 4],
        made: impl Fn(&Tensor) -> Result<Tensor>,
    ) {
        check_kernels(
            &[&[items, tokens, 3 * heads * width]],
            |v, dtype| attention_space(&made(&v[0])?.to_dtype(dtype)?, heads),
            |v| composed(&made(&v[0])?, heads),
        );
    }

    fn unchanged(qkv: &Tensor) -> Result<Tensor> {
        Ok(qkv.clone())
    }

    #[test]
    fn kernels_equal_the_composed_operation() {
        for sizes in [
            [1, 7, 2, 64],
            [2, 70, 2, 16],
            [1, 130, 3, 8],
            [1, 130, 1, 64],
            [1, 65, 1, 128],
            [1, 40, 2, 96],
            [1, 261, 1, 32],
        ] {
            compare(sizes, unchanged);
        }
    }

    #[test]
    fn other_heads_are_composed() {
        for width in [12, 136] {
            compare([1, 3, 2, width], unchanged);
        }
    }

    #[test]
    fn one_token_attends_to_itself() {
        compare([3, 1, 2, 32], unchanged);
    }

    #[test]
    fn large_scores_neither_overflow_nor_vanish() {
        // Scores are then up to some 80, either way.
        compare([1, 130, 1, 64], |qkv| {
            let (queries, rest) = (qkv.narrow(2, 0, 64)?, qkv.narrow(2, 64, 128)?);
            Tensor::cat(&[&(queries * 32.0)?, &rest], 2)
        });
    }

    /// Weights are 1/tokens exactly, so what y loses is lost in the sums over tokens.
    #[test]
    fn sums_over_many_tokens_keep_their_digits() {
        let (tokens, width) = (1500, 32);
        let row = (0..3 * width).map(|i| 1.0 + (i as f32 * 0.7).sin());
        let row = Tensor::from_iter(row, &Device::Cpu).unwrap();
        let value = row.narrow(0, 2 * width, width).unwrap();
        let found = on_kernels(|device| {
            let qkv = row.broadcast_as((1, tokens, 3 * width))?;
            attention_space(&qkv.contiguous()?.to_device(device)?, 1)?.to_device(&Device::Cpu)
        });
        let expected = value.broadcast_as((1, tokens, width)).unwrap();
        close(&found.unwrap(), &expected, 2e-6, "values");
    }

    #[test]
    fn equal_tokens_share_their_weight() {
        compare([2, 70, 1, 32], |qkv| {
            qkv.narrow(1, 0, 1)?.broadcast_as(qkv.shape())?.contiguous()
        });
    }
}
