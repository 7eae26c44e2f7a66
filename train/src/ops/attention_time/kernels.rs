//! Launches of the kernels of `attention_time.cu`: a team of lanes for each head at each token.

use candle_core::{DType, Result, Shape, Tensor, bail};

use super::{Attention, Extent, FRAMES, TOKENS};
use crate::ops::gpu::{Array, Backward, Kernels};
use crate::ops::launch::{Arg, Extent as Blocks, args, int};
use crate::ops::program::Program;

/// Threads of a block of the kernels.
const THREADS: usize = 128;

/// How the kernels lie over their inputs.
pub(super) struct Plan {
    at: Extent,
    dtype: DType,
    /// Frames that the kernel has registers for.
    frames: usize,
    /// Lanes of a warp that have one head at one token.
    lanes: usize,
}

impl Plan {
    pub(super) fn of(qkv: &Shape, dtype: DType, heads: usize) -> Result<Self> {
        let at = Attention {
            heads,
            causal: false,
        }
        .extent(qkv.dims3()?);
        let frames = match at.time {
            1..=8 => 8,
            9..=FRAMES => 16,
            time => bail!("the kernels have no registers for {time} frames"),
        };
        let lanes = at.width.div_ceil(16 / dtype.size_in_bytes());
        // With fewer lanes shared memory would not hold the weights of all teams.
        let lanes = lanes.next_power_of_two().max(8);
        if at.width > 128 {
            bail!("heads {} wide are wider than the kernels take", at.width);
        }
        Ok(Self {
            at,
            dtype,
            frames,
            lanes,
        })
    }

    fn sizes(&self, causal: bool) -> Result<Vec<Arg>> {
        let Extent {
            time,
            tokens,
            heads,
            width,
        } = self.at;
        Ok(args![
            int(time)?,
            int(tokens)?,
            int(heads)?,
            int(width)?,
            i32::from(causal),
            int(self.lanes)?
        ])
    }

    /// Blocks of the backward pass: one for each head of [`TOKENS`] tokens, which shares the weights and slopes
    /// of its teams.
    fn shared(&self) -> Blocks {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let blocks = self.at.tokens.div_ceil(TOKENS).max(1);
        Blocks {
            grid: [count(blocks), count(self.at.heads), 1],
            threads: THREADS as u32,
            shared: THREADS / self.lanes * 2 * self.at.time.pow(2) * size_of::<f32>(),
        }
    }
}

impl Kernels for Attention {
    const NAME: &'static str = "attention-time";

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let [qkv, _] = inputs else {
            bail!("attention-time has two inputs")
        };
        let plan = Plan::of(&qkv.shape, qkv.dtype, self.heads)?;
        let mut program = Program::new("attention_time", 2);
        let y = program.result(
            (plan.at.time, plan.at.tokens, plan.at.channels()),
            qkv.dtype,
        );
        let teams = plan.at.tokens * plan.at.heads;
        let blocks = Blocks::covering(teams * plan.lanes, THREADS as u32);
        let mut args = args![program.input(0), program.input(1), y];
        args.extend(plan.sizes(self.causal)?);
        let kernel = format!("attention_time_forward_{}", plan.frames);
        program.launch(&kernel, plan.dtype, blocks, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (qkv, table) = (at.inputs[0], at.inputs[1]);
        let plan = Plan::of(qkv.shape(), qkv.dtype(), self.heads)?;
        let blocks = plan.shared();
        let count = blocks.grid[0] as usize;
        let mut program = Program::new("attention_time", 3);
        let dqkv = program.result(qkv.shape(), qkv.dtype());
        let dtable = program.result(table.shape(), DType::F32);
        let pairs = self.heads * plan.at.time.pow(2);
        let partial = program.scratch(pairs * count, DType::F32);
        let mut args = args![
            program.input(0),
            program.input(1),
            program.input(2),
            dqkv,
            partial
        ];
        args.extend(plan.sizes(self.causal)?);
        args.push(int(TOKENS)?.into());
        let kernel = format!("attention_time_backward_{}", plan.frames);
        program.launch(&kernel, plan.dtype, blocks, args);
        let sizes = [plan.at.time, self.heads, FRAMES, count];
        let mut args = args![partial, dtable];
        for size in sizes {
            args.push(int(size)?.into());
        }
        let warps = Blocks::covering(32 * table.elem_count(), THREADS as u32);
        program.launch("attention_time_table", DType::F32, warps, args);
        let found = program.run(&[qkv, table, at.gradient])?;
        Ok(found.into_iter().map(Some).collect())
    }
}
