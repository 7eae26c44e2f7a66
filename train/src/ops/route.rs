//! Which way an op takes: on the CPU, on a GPU, or composed.

use candle_core::{DType, Device, Tensor};

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
