//! Ops made of GPU kernels in Candle's graph: forward pass, kept tensors, backward pass.

use std::rc::Rc;
use std::sync::OnceLock;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor,
    bail,
};

use super::kept::{SavedTensor, is_large};
#[cfg(any(test, feature = "cuda"))]
use super::machine::Machine;
use super::program::{Program, aligned};
use super::tape;

/// Shape and numbers of an input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Shape,
    pub(super) dtype: DType,
}

impl Array {
    pub(super) fn of(x: &Tensor) -> Self {
        Self {
            shape: x.shape().clone(),
            dtype: x.dtype(),
        }
    }
}

/// What a backward pass looks at, beside what its forward program keeps and the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Inputs,
    InputsAndResult,
}

/// What a backward pass may look at.
pub(super) struct Backward<'a> {
    /// Empty where the op needs none.
    pub(super) inputs: &'a [&'a Tensor],
    /// There where the op needs it.
    pub(super) result: Option<&'a Tensor>,
    /// Results of the forward program beside the first.
    pub(super) kept: &'a [Tensor],
    /// Gradient of the loss with respect to the result, in the result's shape.
    pub(super) gradient: &'a Tensor,
}

/// An op that has programs for a GPU.
pub(super) trait Kernels: Send + Sync + 'static {
    /// Name of the op in errors.
    const NAME: &'static str;

    const NEEDS: Needs = Needs::Inputs;

    /// Whether a large result is made again for the backward pass of who takes it, instead of being kept for it: where
    /// the op is one pass over memory.
    const QUICK: bool = false;

    /// Tensors without gradients that the forward program takes after the inputs.
    fn constants(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    /// The pass from contiguous inputs, aligned to sixteen bytes, to the result, which is the program's
    /// first; others are kept for the backward pass.
    fn forward(&self, inputs: &[Array]) -> Result<Program>;

    /// Gradients of the inputs in their order; none where an input has none.
    fn backward(&self, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>>;
}

/// Applies an op by its kernels.
pub(super) fn on_gpu<K: Kernels, const N: usize>(op: K, inputs: [&Tensor; N]) -> Result<Tensor> {
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|tensor| tape::laid(tensor, aligned))
        .collect::<Result<_>>()?;
    if tape::is_on() {
        return recorded(op, &inputs);
    }
    let op = GpuOp {
        op,
        kept: OnceLock::new(),
    };
    match inputs.as_slice() {
        [x] => x.apply_op1(op),
        [x, y] => x.apply_op2(y, op),
        [x, y, z] => x.apply_op3(y, z, op),
        _ => bail!("{} has {N} inputs; Candle takes one to three", K::NAME),
    }
}

/// Applies an op on the tape.
fn recorded<K: Kernels>(op: K, inputs: &[Tensor]) -> Result<Tensor> {
    let op = Rc::new(op);
    let (y, beside) = applied(&*op, inputs)?;
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    let kept: Vec<SavedTensor> = inputs.iter().map(|input| tape::kept(input)).collect();
    if K::QUICK && is_large(&y) {
        let (op, kept) = (Rc::clone(&op), kept.clone());
        tape::make_again(&y, move || Ok(applied(&*op, &tensors(&kept)?)?.0));
    }
    let count = inputs.len();
    let kept = if K::NEEDS == Needs::Nothing {
        Vec::new()
    } else {
        kept
    };
    let result = (K::NEEDS == Needs::InputsAndResult).then(|| y.clone());
    tape::push_one(&inputs, &y, move |gradient| {
        let inputs = tensors(&kept)?;
        gradients(
            &*op,
            count,
            &Backward {
                inputs: &inputs.iter().collect::<Vec<_>>(),
                result: result.as_ref(),
                kept: &beside,
                gradient: &gradient.contiguous()?,
            },
        )
    });
    Ok(y)
}

/// The result of an op, and what its forward program gives beside it.
fn applied<K: Kernels>(op: &K, inputs: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    let arrays: Vec<Array> = inputs.iter().chain(op.constants()).map(Array::of).collect();
    let tensors: Vec<&Tensor> = inputs.iter().chain(op.constants()).collect();
    let mut made = op.forward(&arrays)?.run(&tensors)?.into_iter();
    match made.next() {
        Some(first) => Ok((first, made.collect())),
        None => bail!("the forward program of {} has no result", K::NAME),
    }
}

fn tensors(kept: &[SavedTensor]) -> Result<Vec<Tensor>> {
    kept.iter().map(SavedTensor::tensor).collect()
}

/// The gradient of each of an op's inputs.
fn gradients<K: Kernels>(op: &K, count: usize, at: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
    let found = op.backward(at)?;
    if found.len() != count {
        bail!("{} gave {} gradients", K::NAME, found.len());
    }
    Ok(found)
}

/// An op in Candle's graph.
struct GpuOp<K> {
    op: K,
    kept: OnceLock<Vec<Tensor>>,
}

impl<K: Kernels> GpuOp<K> {
    #[cfg(feature = "cuda")]
    fn on_cuda(&self, inputs: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        self.on(inputs)
    }

    #[cfg(not(feature = "cuda"))]
    fn on_cuda(&self, _: &[(&CudaStorage, &Layout)]) -> Result<(CudaStorage, Shape)> {
        bail!("{} was built without CUDA", K::NAME)
    }

    #[cfg(test)]
    fn on_cpu(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        self.on(inputs)
    }

    #[cfg(not(test))]
    fn on_cpu(&self, _: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        bail!("the kernels of {} run on a GPU", K::NAME)
    }

    /// The result; what else the forward program gives is kept.
    #[cfg(any(test, feature = "cuda"))]
    fn on<M: Machine>(&self, inputs: &[(&M, &Layout)]) -> Result<(M, Shape)> {
        let constants = self.constants()?;
        let guards: Vec<_> = constants.iter().map(|x| x.storage_and_layout()).collect();
        let mut inputs = inputs.to_vec();
        for (storage, layout) in &guards {
            match M::of(storage) {
                Some(storage) => inputs.push((storage, layout)),
                None => bail!("the constants of {} are on another device", K::NAME),
            }
        }
        let mut made = self
            .op
            .forward(&arrays(&inputs))?
            .over(&inputs)?
            .into_iter();
        let Some(first) = made.next() else {
            bail!("the forward program of {} has no result", K::NAME)
        };
        // An op is applied once, so nothing is kept yet.
        let _ = self.kept.set(super::program::tensors(made.collect()));
        Ok(first)
    }

    /// Constants of the op, aligned as inputs are.
    #[cfg(any(test, feature = "cuda"))]
    fn constants(&self) -> Result<Vec<Tensor>> {
        self.op.constants().into_iter().map(aligned).collect()
    }

    fn gradients(
        &self,
        inputs: &[&Tensor],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<std::vec::IntoIter<Option<Tensor>>> {
        let needed = if K::NEEDS == Needs::Nothing {
            &[]
        } else {
            inputs
        };
        let found = gradients(
            &self.op,
            inputs.len(),
            &Backward {
                inputs: needed,
                result: (K::NEEDS == Needs::InputsAndResult).then_some(result),
                kept: self.kept.get().map_or(&[], Vec::as_slice),
                gradient: &gradient.contiguous()?,
            },
        )?;
        Ok(found.into_iter())
    }
}

/// Shapes and numbers of storages.
#[cfg(any(test, feature = "cuda"))]
fn arrays<M: Machine>(inputs: &[(&M, &Layout)]) -> Vec<Array> {
    let arrays = inputs.iter().map(|(storage, layout)| Array {
        shape: layout.shape().clone(),
        dtype: storage.dtype(),
    });
    arrays.collect()
}

impl<K: Kernels> CustomOp1 for GpuOp<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(x, lx)])
    }

    fn cuda_fwd(&self, x: &CudaStorage, lx: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda(&[(x, lx)])
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut found = self.gradients(&[x], result, gradient)?;
        Ok(found.next().flatten())
    }
}

impl<K: Kernels> CustomOp2 for GpuOp<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(x, lx), (y, ly)])
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        y: &CudaStorage,
        ly: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda(&[(x, lx), (y, ly)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut found = self.gradients(&[x, y], result, gradient)?;
        let mut next = || found.next().flatten();
        Ok((next(), next()))
    }
}

impl<K: Kernels> CustomOp3 for GpuOp<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        z: &CpuStorage,
        lz: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu(&[(x, lx), (y, ly), (z, lz)])
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        y: &CudaStorage,
        ly: &Layout,
        z: &CudaStorage,
        lz: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda(&[(x, lx), (y, ly), (z, lz)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        z: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut found = self.gradients(&[x, y, z], result, gradient)?;
        let mut next = || found.next().flatten();
        Ok((next(), next(), next()))
    }
}
