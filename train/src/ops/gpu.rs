//! Ops made of GPU kernels in Candle's graph: forward pass, kept tensors, backward pass.

use std::sync::OnceLock;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape,
    Tensor, bail,
};

#[cfg(any(test, feature = "cuda"))]
use super::machine::Machine;
use super::program::{Program, aligned};
use super::tape;

/// The way in which an op computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The fused CPU kernel: f32.
    Cpu,
    /// Kernels of the `.cu` file: f32 and bf16.
    Gpu,
    /// Candle's own operations.
    Composed,
}

impl Route {
    /// The way of an op over `x`.
    pub(super) fn of(x: &Tensor) -> Self {
        #[cfg(test)]
        if super::emulated::is_on() {
            return Self::Gpu;
        }
        let known = matches!(x.dtype(), DType::F32 | DType::BF16);
        match (x.device().is_cuda(), x.dtype()) {
            (true, _) if known => Self::Gpu,
            (false, DType::F32) if x.device().is_cpu() => Self::Cpu,
            _ => Self::Composed,
        }
    }
}

/// Whether ops over f32 on a device take the way of kernels.
pub(crate) fn has_kernels(device: &Device) -> bool {
    #[cfg(test)]
    if super::emulated::is_on() {
        return true;
    }
    device.is_cuda()
}

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

/// What a backward pass may look at.
pub(super) struct Backward<'a> {
    pub(super) inputs: &'a [&'a Tensor],
    pub(super) result: &'a Tensor,
    /// Results of the forward program beside the first.
    pub(super) kept: &'a [Tensor],
    /// Gradient of the loss with respect to the result, in the result's shape.
    pub(super) gradient: &'a Tensor,
}

/// An op that has programs for a GPU.
pub(super) trait Kernels: Send + Sync + 'static {
    /// Name of the op in errors.
    const NAME: &'static str;

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
    let op = OnGpu {
        op,
        kept: OnceLock::new(),
    };
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|tensor| tape::laid(tensor, aligned))
        .collect::<Result<_>>()?;
    match inputs.as_slice() {
        [x] => tape::apply1(x, op),
        [x, y] => tape::apply2([x, y], op),
        [x, y, z] => tape::apply3([x, y, z], op),
        _ => bail!("{} has {N} inputs; Candle takes one to three", K::NAME),
    }
}

struct OnGpu<K> {
    op: K,
    kept: OnceLock<Vec<Tensor>>,
}

impl<K: Kernels> OnGpu<K> {
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
        let kept = self.kept.get().map_or(&[][..], Vec::as_slice);
        let gradient = &gradient.contiguous()?;
        let found = self.op.backward(&Backward {
            inputs,
            result,
            kept,
            gradient,
        })?;
        if found.len() != inputs.len() {
            bail!("{} gave {} gradients", K::NAME, found.len());
        }
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

impl<K: Kernels> CustomOp1 for OnGpu<K> {
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

impl<K: Kernels> CustomOp2 for OnGpu<K> {
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

impl<K: Kernels> CustomOp3 for OnGpu<K> {
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
