//! The GPU of this process: opened once, with one stream, so that all work happens in order.

#![allow(
    unsafe_code,
    reason = "settings of CUDA's driver, and memory that it reads"
)]

use std::fmt::Display;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaEvent, DevicePtrMut as _, DriverError, PinnedHostSlice, result, sys,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device, Shape, Storage, Tensor};
use rayon::prelude::*;

use crate::Result;

/// The device of a process at some place among those of its machine, or why there is none.
pub(super) fn open(place: usize) -> std::result::Result<Device, String> {
    static OPENED: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
    OPENED.get_or_init(|| at(place)).clone()
}

fn at(place: usize) -> std::result::Result<Device, String> {
    // A launcher may show each process a single device.
    let count = CudaContext::device_count().map_err(|error| error.to_string())?;
    let device = Device::new_cuda_with_stream(place % (count.max(1) as usize));
    let device = device.map_err(|error| error.to_string())?;
    if let Device::Cuda(device) = &device {
        // SAFETY: there is no other stream that anything would have to wait for.
        unsafe { device.disable_event_tracking() };
        let stream = device.cuda_stream();
        keep_memory(stream.context()).map_err(|error| error.to_string())?;
    }
    Ok(device)
}

/// Memory that tensors give up stays with the process; else it would go back to the system, and be asked
/// for again, at every wait.
fn keep_memory(context: &CudaContext) -> std::result::Result<(), DriverError> {
    let mut threshold = u64::MAX;
    // SAFETY: the device is open, its pool lives as long, and the attribute is a u64.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device())?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())
    }
}

/// The card's own number.
pub(super) fn identity(device: &CudaDevice) -> Option<String> {
    let uuid = device.cuda_stream().context().uuid().ok()?;
    let digits = uuid.bytes.iter().map(|&byte| format!("{:02x}", byte as u8));
    Some(digits.collect())
}

/// Free memory of the device, in bytes.
pub(super) fn free_bytes(device: &CudaDevice) -> Result<u64> {
    let stream = device.cuda_stream();
    let (free, _) = stream.context().mem_get_info().map_err(failed)?;
    Ok(free as u64)
}

/// Memory of the host that the device reads by itself, and the event after which it has been read.
struct Staged {
    memory: PinnedHostSlice<f32>,
    read: CudaEvent,
}

/// Numbers that one task copies.
const CHUNK: usize = 1 << 18;

/// Copies numbers to the device and does not wait.
pub(super) fn upload(values: &[f32], shape: Shape, device: &CudaDevice) -> Result<Tensor> {
    static STAGED: Mutex<Option<Staged>> = Mutex::new(None);
    let stream = device.cuda_stream();
    let context = stream.context();
    let mut held = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = &*held {
        before.read.synchronize().map_err(failed)?;
    }
    let mut staged = match held.take().filter(|held| held.memory.len() >= values.len()) {
        Some(staged) => staged,
        None => Staged {
            // SAFETY: what is copied from it is written before.
            memory: unsafe { context.alloc_pinned(values.len()) }.map_err(failed)?,
            read: context.new_event(None).map_err(failed)?,
        },
    };
    let source = &mut staged.memory.as_mut_slice().map_err(failed)?[..values.len()];
    // One processor reads memory slower than the device takes it.
    source
        .par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(to, from)| to.copy_from_slice(from));
    // SAFETY: the copy fills all of it; the source is neither written nor freed before the event.
    let mut copy = unsafe { device.alloc::<f32>(values.len())? };
    unsafe {
        let (to, _guard) = copy.device_ptr_mut(&stream);
        result::memcpy_htod_async(to, source, stream.cu_stream()).map_err(failed)?;
    }
    staged.read.record(&stream).map_err(failed)?;
    *held = Some(staged);
    let storage = CudaStorage::wrap_cuda_slice(copy, device.clone());
    let none = BackpropOp::none();
    Ok(Tensor::from_storage(
        Storage::Cuda(storage),
        shape,
        none,
        false,
    ))
}

fn failed(error: impl Display) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}
