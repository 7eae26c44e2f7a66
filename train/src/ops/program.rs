//! [`Program`]: the work of a GPU for one pass of an op, as data: buffers, and launches of kernels over them.
//!
//! An op makes its [`Program`] from the shapes of its inputs. On a CUDA device `cuda.rs` runs it; in
//! tests the emulator runs the same program over the same kernels on the CPU.

use candle_core::{DType, Result, Shape, Tensor, bail};
#[cfg(any(test, feature = "cuda"))]
use candle_core::{Layout, Storage};

use super::launch::{Arg, Buffer, Extent, Launch, NewBuffer};
#[cfg(any(test, feature = "cuda"))]
use super::machine::Machine;
use super::product::Product;

/// What is done at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Launch(Launch),
    /// A product of matrices, which CUDA's own library makes.
    Product(Product),
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
