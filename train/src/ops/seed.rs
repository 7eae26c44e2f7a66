//! Starts a backward pass at an array whose gradient is known.

use candle_core::backprop::GradStore;
#[cfg(not(feature = "cuda"))]
use candle_core::bail;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Gradients of all that x was computed from, given its own.
pub(crate) fn backward_from(x: &Tensor, gradient: Tensor) -> Result<GradStore> {
    x.apply_op1(Seed(gradient))?.backward()
}

/// A scalar of which an array has a given gradient; its value is of no use.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), ().into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let zero = x.device.alloc_zeros::<f32>(1)?;
        let zero = CudaStorage::wrap_cuda_slice(zero, x.device.clone());
        Ok((zero, ().into()))
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        bail!("built without CUDA")
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
