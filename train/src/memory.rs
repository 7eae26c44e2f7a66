//! Measures the peak memory use on a device, as Linux or CUDA's driver counts it.

use candle_core::Device;

/// Converts MiB to bytes, without overflow.
pub(crate) fn mebibytes(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

/// Counts anew from here on.
pub(crate) fn reset_peak(device: &Device) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => pool::reset_peak(device),
        _ => process::reset_peak(),
    }
}

/// Peak memory in MiB; none if the system does not tell it.
pub(crate) fn peak_mib(device: &Device) -> Option<f64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => pool::peak_mib(device),
        _ => process::peak_mib(),
    }
}

/// Resident memory of this process.
mod process {
    #![allow(
        clippy::disallowed_methods,
        reason = "counters of the system, not stored data"
    )]

    pub(super) fn reset_peak() {
        std::fs::write("/proc/self/clear_refs", "5").ok();
    }

    pub(super) fn peak_mib() -> Option<f64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024.0)
    }
}

/// What was taken of the device's pool, which all tensors come from.
#[cfg(feature = "cuda")]
mod pool {
    #![allow(unsafe_code, reason = "counters of CUDA's driver")]

    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    const PEAK: sys::CUmemPool_attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;

    pub(super) fn reset_peak(device: &CudaDevice) {
        let mut zero = 0_u64;
        if let Some(pool) = of(device) {
            // SAFETY: the pool is the device's own, and the attribute is 64 bits wide.
            let _ = unsafe { result::mem_pool::set_attribute(pool, PEAK, (&raw mut zero).cast()) };
        }
    }

    pub(super) fn peak_mib(device: &CudaDevice) -> Option<f64> {
        let mut bytes = 0_u64;
        // SAFETY: the pool is the device's own, and the attribute is 64 bits wide.
        unsafe { result::mem_pool::get_attribute(of(device)?, PEAK, (&raw mut bytes).cast()) }
            .ok()?;
        Some(bytes as f64 / f64::from(1 << 20))
    }

    fn of(device: &CudaDevice) -> Option<sys::CUmemoryPool> {
        let stream = device.cuda_stream();
        let context = stream.context();
        context.bind_to_thread().ok()?;
        // SAFETY: the device is open.
        unsafe { result::device::get_mem_pool(context.cu_device()) }.ok()
    }
}
