//! [`Program`]: the work of a GPU for one pass of an op, as data: buffers, and launches of kernels over them.
//!
//! An op makes its [`Program`] from the shapes of its inputs. On a CUDA device `cuda.rs` runs it; in
//! tests the emulator runs the same program over the same kernels on the CPU.

use candle_core::{DType, Result, Shape, Tensor, bail};
#[cfg(any(test, feature = "cuda"))]
use candle_core::{Layout, Storage};

#[cfg(any(test, feature = "cuda"))]
use super::machine::Machine;
use super::product::Product;

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
    ($($arg:expr),* $(,)?) => { vec![$($crate::ops::program::Arg::from($arg)),*] };
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

/// What is done at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Launch(Launch),
    /// A product of matrices, which CUDA's own library makes.
    Product(Product),
}

/// A buffer that a program makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewBuffer {
    pub(super) shape: Shape,
    pub(super) dtype: DType,
    /// Whether it outlives the program.
    pub(super) result: bool,
}

/// Steps in their order. Buffers are the inputs, then those that are made; these hold anything before
/// a kernel has written them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    /// The source file that has the kernels, without its ending.
    pub(super) module: &'static str,
    pub(super) inputs: usize,
    pub(super) made: Vec<NewBuffer>,
    pub(super) steps: Vec<Step>,
}

impl Program {
    /// An empty program of kernels in `module`.cu, over `inputs` inputs.
    pub(super) fn new(module: &'static str, inputs: usize) -> Self {
        Self {
            module,
            inputs,
            made: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// An input by its place.
    pub(super) fn input(&self, index: usize) -> Buffer {
        debug_assert!(
            index < self.inputs,
            "the program has {} inputs",
            self.inputs
        );
        Buffer(index)
    }

    fn make(&mut self, shape: Shape, dtype: DType, result: bool) -> Buffer {
        self.made.push(NewBuffer {
            shape,
            dtype,
            result,
        });
        Buffer(self.inputs + self.made.len() - 1)
    }

    /// A buffer that the program gives back.
    pub(super) fn result(&mut self, shape: impl Into<Shape>, dtype: DType) -> Buffer {
        self.make(shape.into(), dtype, true)
    }

    /// A buffer for the program alone.
    pub(super) fn scratch(&mut self, count: usize, dtype: DType) -> Buffer {
        self.make(count.into(), dtype, false)
    }

    /// Adds a launch of `kernel`, whose name ends in the numbers that it is made for: `_f32` or `_bf16`.
    pub(super) fn launch(&mut self, kernel: &str, dtype: DType, extent: Extent, args: Vec<Arg>) {
        self.steps.push(Step::Launch(Launch {
            kernel: format!("{kernel}_{}", dtype.as_str()),
            extent,
            args,
        }));
    }

    /// Adds a product.
    pub(super) fn product(&mut self, product: Product) {
        self.steps.push(Step::Product(product));
    }

    /// Runs it over tensors of one device and gives its results in their order.
    pub(super) fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|tensor| aligned(tensor))
            .collect::<Result<_>>()?;
        let Some(first) = inputs.first() else {
            bail!("a program without inputs has no device")
        };
        match &*first.storage_and_layout().0 {
            #[cfg(feature = "cuda")]
            Storage::Cuda(_) => self.run_on::<candle_core::CudaStorage>(&inputs),
            #[cfg(test)]
            Storage::Cpu(_) => self.run_on::<candle_core::CpuStorage>(&inputs),
            _ => bail!("there are no kernels of {} for this device", self.module),
        }
    }

    #[cfg(any(test, feature = "cuda"))]
    fn run_on<M: Machine>(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let guards: Vec<_> = inputs.iter().map(Tensor::storage_and_layout).collect();
        let held = guards.iter().map(|(storage, layout)| match M::of(storage) {
            Some(storage) => Ok((storage, *layout)),
            None => bail!("a program runs over buffers of one device"),
        });
        let made = self.over(&held.collect::<Result<Vec<_>>>()?)?;
        Ok(tensors(made))
    }

    /// Runs it over contiguous inputs.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn over<M: Machine>(&self, inputs: &[(&M, &Layout)]) -> Result<Vec<(M, Shape)>> {
        let Some((machine, _)) = inputs.first() else {
            bail!("a program without inputs has no device")
        };
        let made = self.made.iter().map(|made| machine.unwritten(made));
        let made = made.collect::<Result<Vec<_>>>()?;
        let inputs = inputs
            .iter()
            .map(|(storage, layout)| match layout.contiguous_offsets() {
                Some((from, _)) => storage.address(from),
                None => bail!("a program takes contiguous inputs"),
            });
        let addresses = inputs.chain(made.iter().map(|made| made.address(0)));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        for step in &self.steps {
            match step {
                Step::Launch(launch) => machine.start(self.module, launch, &addresses)?,
                Step::Product(product) => machine.multiply(product, &addresses)?,
            }
        }
        let made = made.into_iter().zip(&self.made);
        Ok(made
            .filter(|(_, made)| made.result)
            .map(|(storage, made)| (storage, made.shape.clone()))
            .collect())
    }
}

/// A tensor that is contiguous and begins at a multiple of sixteen bytes, as kernels want their inputs.
pub(super) fn aligned(x: &Tensor) -> Result<Tensor> {
    let begins = x.layout().start_offset() * x.dtype().size_in_bytes();
    // `copy` and `contiguous` would leave it where it begins.
    match begins.is_multiple_of(16) {
        true => x.contiguous(),
        false => x.force_contiguous(),
    }
}

/// Storages as tensors that know of no op.
#[cfg(any(test, feature = "cuda"))]
pub(super) fn tensors<M: Machine>(made: Vec<(M, Shape)>) -> Vec<Tensor> {
    use candle_core::op::BackpropOp;
    let tensor = |(made, shape): (M, Shape)| {
        Tensor::from_storage(made.into_storage(), shape, BackpropOp::none(), false)
    };
    made.into_iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn parts_are_moved_to_a_multiple_of_sixteen_bytes() -> Result<()> {
        let all = Tensor::arange(0_f32, 24.0, &Device::Cpu)?.reshape((6, 4))?;
        let parts = [
            all.narrow(0, 2, 3)?,
            all.flatten_all()?.narrow(0, 3, 5)?,
            all.narrow(1, 1, 2)?,
            all.t()?,
        ];
        for part in parts {
            let moved = aligned(&part)?;
            assert!(moved.is_contiguous(), "{part}");
            assert_eq!(moved.layout().start_offset() % 4, 0, "{part}");
            let [found, expected] = [&moved, &part].map(|x| x.flatten_all()?.to_vec1::<f32>());
            assert_eq!(found?, expected?);
        }
        Ok(())
    }
}
