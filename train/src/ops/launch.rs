//! A launch of one kernel: its arguments, its blocks, and the buffers that it works on.

use candle_core::{DType, Result, Shape, bail};

/// Entries of a table that a kernel takes by value.
pub(super) const TABLE: usize = 64;

/// A buffer of a program: an input, or one that the program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buffer(pub(super) usize);

/// An argument of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arg {
    /// A buffer's address.
    Buffer(Buffer),
    /// Addresses of up to [`TABLE`] buffers, by value.
    Buffers(Vec<Buffer>),
    /// `int`.
    Int(i32),
    /// `size_t`.
    Size(usize),
    /// Up to [`TABLE`] values of `size_t`, by value.
    Sizes(Vec<usize>),
    /// `float`.
    Float(f32),
}

impl From<Buffer> for Arg {
    fn from(buffer: Buffer) -> Self {
        Self::Buffer(buffer)
    }
}

impl From<Option<Buffer>> for Arg {
    /// The null address where there is no buffer.
    fn from(buffer: Option<Buffer>) -> Self {
        buffer.map_or(Self::Size(0), Self::Buffer)
    }
}

impl From<Vec<Buffer>> for Arg {
    fn from(buffers: Vec<Buffer>) -> Self {
        Self::Buffers(buffers)
    }
}

impl From<Vec<usize>> for Arg {
    fn from(values: Vec<usize>) -> Self {
        Self::Sizes(values)
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        Self::Size(value)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

/// A number of tokens, channels or frames as a kernel's `int`.
pub(super) fn int(count: usize) -> Result<i32> {
    match i32::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => bail!("{count} is more than a kernel counts to"),
    }
}

/// Arguments of a launch.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($crate::ops::launch::Arg::from($arg)),*] };
}
pub(super) use args;

/// Sizes of grids as arguments, three axes each: an axis that a grid does not have is one long.
pub(super) fn on_three_axes(grids: &[&[usize]]) -> Result<Vec<Arg>> {
    let mut sizes = Vec::new();
    for grid in grids {
        let axes = grid.len();
        if !(1..=3).contains(&axes) {
            bail!("a grid of {axes} axes has no kernels");
        }
        sizes.extend(vec![Arg::Int(1); 3 - axes]);
        for &size in *grid {
            sizes.push(Arg::Int(int(size)?));
        }
    }
    Ok(sizes)
}

/// Blocks along three axes, threads of a block, bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) grid: [u32; 3],
    pub(super) threads: u32,
    pub(super) shared: usize,
}

impl Extent {
    /// Blocks of `threads` threads, one thread or pack of each for `count` things.
    pub(super) fn covering(count: usize, threads: u32) -> Self {
        let blocks = count.div_ceil(threads as usize).max(1);
        Self {
            grid: [u32::try_from(blocks).unwrap_or(u32::MAX), 1, 1],
            threads,
            shared: 0,
        }
    }

    /// A thread for each sixteen bytes of `count` numbers.
    pub(super) fn of_packs(count: usize, dtype: DType) -> Self {
        Self::covering(count.div_ceil(16 / dtype.size_in_bytes()), 256)
    }
}

/// A launch of one kernel over buffers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Launch {
    pub(super) kernel: String,
    pub(super) extent: Extent,
    pub(super) args: Vec<Arg>,
}

/// A buffer that a program makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewBuffer {
    pub(super) shape: Shape,
    pub(super) dtype: DType,
    /// Whether it outlives the program.
    pub(super) result: bool,
}
