//! Launches of the kernels of `norm.cu`.

use candle_core::{DType, Result, Shape, Tensor, bail};

use super::GroupNorm;
use crate::ops::gpu::{Array, Backward, Kernels};
use crate::ops::launch::{Extent, args, int};
use crate::ops::program::Program;

/// Threads of a block, and numbers that a thread has in one go: as in norm.cu.
const THREADS: usize = 256;
const EACH: usize = 16;

/// Blocks that keep every multiprocessor of a large card busy.
const BUSY: usize = 528;

/// Shares `count` things among blocks, `times` over: the first of some falling sizes that gives enough
/// blocks, else the last, and how many there are.
pub(in crate::ops) fn share(
    count: usize,
    sizes: impl Iterator<Item = usize>,
    times: usize,
) -> (usize, usize) {
    let (mut size, mut blocks) = (count, 1);
    for next in sizes {
        (size, blocks) = (next, count.div_ceil(next));
        if times * blocks >= BUSY {
            break;
        }
    }
    (size, blocks)
}

/// The division of work on x among kernels.
struct WorkShare {
    items: usize,
    tokens: usize,
    channels: usize,
    groups: usize,
}

impl WorkShare {
    fn of(x: &Shape, groups: usize) -> Result<Self> {
        let (items, tokens, channels) = x.dims3()?;
        if groups == 0 || !channels.is_multiple_of(groups) || x.elem_count() == 0 {
            bail!("{x:?} has no {groups} groups of channels");
        }
        Ok(Self {
            items,
            tokens,
            channels,
            groups,
        })
    }

    fn width(&self) -> usize {
        self.channels / self.groups
    }

    /// Numbers of a group that are loaded at once.
    fn vector(&self) -> usize {
        if self.width().is_multiple_of(4) { 4 } else { 1 }
    }

    /// Neighbouring numbers of a group for a block, and blocks.
    fn chunks(&self) -> (usize, usize) {
        let rounds = (1..=EACH / 4).rev();
        let sizes = rounds.map(|k| 4 * k * THREADS);
        share(self.tokens * self.width(), sizes, self.items * self.groups)
    }

    /// Tokens for a block that sums over tokens, and blocks.
    fn parts(&self) -> (usize, usize) {
        let together = THREADS / (self.width() / self.vector()).min(THREADS);
        let sizes = [32, 16, 8, 4, 2, 1].map(|k| k * together);
        share(self.tokens, sizes.into_iter(), self.items * self.groups)
    }

    /// What every kernel is told: tokens, channels, channels of a group, and the size of a block's share.
    fn ints(&self, share: usize) -> Result<[i32; 4]> {
        int(self.tokens * self.width())?;
        Ok([
            int(self.tokens)?,
            int(self.channels)?,
            int(self.width())?,
            int(share)?,
        ])
    }

    /// An extent of `blocks` blocks for each group of each item.
    fn extent(&self, blocks: usize) -> Result<Extent> {
        let axis = |n: usize| u32::try_from(n).map_err(candle_core::Error::wrap);
        Ok(Extent {
            grid: [axis(blocks)?, axis(self.groups)?, axis(self.items)?],
            threads: THREADS as u32,
            shared: 0,
        })
    }
}

impl GroupNorm {
    /// dx, dγ and dβ of x, γ, moments and dy.
    fn gradients(&self, shape: &Shape) -> Result<Program> {
        let sharing = WorkShare::of(shape, self.groups)?;
        let ((chunk, chunks), (part, parts)) = (sharing.chunks(), sharing.parts());
        let mut program = Program::new("norm", 4);
        let [x, gain, moments, dy] = [0, 1, 2, 3].map(|i| program.input(i));
        let dx = program.result(shape, DType::F32);
        let [dgain, dbias] = [(); 2].map(|()| program.result(sharing.channels, DType::F32));
        let rows = sharing.items * parts;
        let channel_sums = program.scratch(rows * 2 * sharing.channels, DType::F32);
        let group_sums = program.scratch(rows * sharing.groups * 2, DType::F32);
        let [tokens, channels, width, part] = sharing.ints(part)?;
        let (chunk, count) = (int(chunk)?, int(parts)?);
        program.launch(
            "group_norm_sums",
            self.dtype,
            sharing.extent(parts)?,
            args![
                x,
                dy,
                gain,
                moments,
                channel_sums,
                group_sums,
                tokens,
                channels,
                width,
                part
            ],
        );
        program.launch(
            "group_norm_backward",
            self.dtype,
            sharing.extent(chunks + 1)?,
            args![
                x,
                dy,
                gain,
                moments,
                channel_sums,
                group_sums,
                dx,
                dgain,
                dbias,
                tokens,
                channels,
                width,
                chunk,
                count
            ],
        );
        Ok(program)
    }
}

impl Kernels for GroupNorm {
    const NAME: &'static str = "group-norm";
    const QUICK: bool = true;

    fn forward(&self, inputs: &[Array]) -> Result<Program> {
        let shape = &inputs[0].shape;
        let sharing = WorkShare::of(shape, self.groups)?;
        let (chunk, chunks) = sharing.chunks();
        let of_groups = sharing.items * self.groups;
        let mut program = Program::new("norm", 3);
        let [x, gain, bias] = [0, 1, 2].map(|i| program.input(i));
        let y = program.result(shape, self.dtype);
        let moments = program.result((of_groups, 2), DType::F32);
        let partial = program.scratch(of_groups * chunks * 2, DType::F32);
        let [tokens, channels, width, chunk] = sharing.ints(chunk)?;
        let extent = sharing.extent(chunks)?;
        let args = args![x, partial, tokens, channels, width, chunk];
        program.launch("group_norm_moments", DType::F32, extent, args);
        let args = args![
            x, gain, bias, partial, y, moments, tokens, channels, width, chunk
        ];
        program.launch("group_norm_forward", self.dtype, extent, args);
        Ok(program)
    }

    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let ([x, gain, _], [moments]) = (at.inputs, at.kept) else {
            bail!("group-norm has three inputs and keeps moments")
        };
        let program = self.gradients(x.shape())?;
        let gradients = program.run(&[x, gain, moments, at.gradient])?;
        Ok(gradients.into_iter().map(Some).collect())
    }
}
