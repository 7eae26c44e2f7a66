//! The GPU of this process: opened once, with one stream, so that all work happens in order.

#![allow(
    unsafe_code,
    reason = "settings of CUDA's driver, and memory that it reads"
)]

use std::fmt::Display;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaEvent, CudaStream, DevicePtr as _, DevicePtrMut as _, DriverError,
    PinnedHostSlice, result, sys,
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

/// Memory of the host that the device reads and writes by itself, and the event after which it does so no more.
struct PinnedBuffer {
    memory: PinnedHostSlice<f32>,
    done: CudaEvent,
}

/// The process's, as large as the most numbers that it has moved at once.
static STAGED: Mutex<Option<PinnedBuffer>> = Mutex::new(None);

/// Numbers that go to the device while the host copies those after them.
const PIECE: usize = 1 << 21;

/// Numbers that one task copies: one processor reads memory slower than the device takes it.
const CHUNK: usize = 1 << 17;

impl PinnedBuffer {
    /// Takes what is held, when the device is done with it, or memory for more numbers.
    fn take(held: &mut Option<Self>, count: usize, stream: &CudaStream) -> Result<Self> {
        if let Some(before) = &*held {
            before.done.synchronize().map_err(failed)?;
        }
        match held.take().filter(|held| held.memory.len() >= count) {
            Some(staged) => Ok(staged),
            None => Ok(Self {
                // SAFETY: it is written before it is read.
                memory: unsafe { stream.context().alloc_pinned(count) }.map_err(failed)?,
                done: stream.context().new_event(None).map_err(failed)?,
            }),
        }
    }
}

/// Copies numbers to the device and does not wait.
pub(super) fn upload(values: &[f32], shape: Shape, device: &CudaDevice) -> Result<Tensor> {
    let stream = device.cuda_stream();
    let mut held = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut staged = PinnedBuffer::take(&mut held, values.len(), &stream)?;
    let memory = staged.memory.as_mut_slice().map_err(failed)?;
    // SAFETY: the copies fill all of it before anything on the stream reads it.
    let mut copy = unsafe { device.alloc::<f32>(values.len())? };
    for (index, piece) in values.chunks(PIECE).enumerate() {
        let place = index * PIECE..index * PIECE + piece.len();
        let source = &mut memory[place.clone()];
        source
            .par_chunks_mut(CHUNK)
            .zip(piece.par_chunks(CHUNK))
            .for_each(|(to, from)| to.copy_from_slice(from));
        let mut part = copy.slice_mut(place);
        let (to, _guard) = part.device_ptr_mut(&stream);
        // SAFETY: the source is neither written nor freed before the event.
        unsafe { result::memcpy_htod_async(to, source, stream.cu_stream()) }.map_err(failed)?;
    }
    staged.done.record(&stream).map_err(failed)?;
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

/// Waits for numbers (f32) of the device.
pub(super) fn download(values: &Tensor, device: &CudaDevice) -> Result<Vec<f32>> {
    let values = values.contiguous()?;
    let (storage, layout) = values.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(failed("the numbers are not on this device").into());
    };
    let count = layout.shape().elem_count();
    let start = layout.start_offset();
    let slice = storage.as_cuda_slice::<f32>()?.slice(start..start + count);
    let stream = device.cuda_stream();
    let mut held = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut staged = PinnedBuffer::take(&mut held, count, &stream)?;
    let memory = &mut staged.memory.as_mut_slice().map_err(failed)?[..count];
    // SAFETY: nothing reads the memory before the wait, nor frees it.
    unsafe {
        let (from, _guard) = slice.device_ptr(&stream);
        result::memcpy_dtoh_async(memory, from, stream.cu_stream()).map_err(failed)?;
    }
    stream.synchronize().map_err(failed)?;
    let found = memory.par_iter().with_min_len(CHUNK).copied().collect();
    *held = Some(staged);
    Ok(found)
}

fn failed(error: impl Display) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}
