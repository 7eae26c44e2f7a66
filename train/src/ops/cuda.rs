//! Runs programs on a CUDA device, with kernels from the PTX that the build made, over Candle's CUDA storage.
#![allow(unsafe_code, reason = "launches of kernels")]

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, DevicePtr as _, LaunchConfig, PushKernelArg as _, sys::CUfunction_attribute_enum,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice, DeviceId, WrapErr as _};
use candle_core::{CudaStorage, DType, Result, Storage, bail};

use super::launch::{Launch, NewBuffer};
use super::machine::{Machine, Value};
use super::product::Product;

/// (module, PTX) of every `.cu` file.
static MODULES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/ptx.rs"));

/// Work is put on the device's stream, and nothing waits for it.
impl Machine for CudaStorage {
    fn of(storage: &Storage) -> Option<&Self> {
        match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        }
    }

    fn into_storage(self) -> Storage {
        Storage::Cuda(self)
    }

    fn unwritten(&self, made: &NewBuffer) -> Result<Self> {
        let (count, device) = (made.shape.elem_count(), self.device());
        // SAFETY: a program's kernels write what they make before anything reads it.
        let slice = unsafe {
            match made.dtype {
                DType::F32 => CudaStorageSlice::F32(device.alloc(count)?),
                DType::BF16 => CudaStorageSlice::BF16(device.alloc(count)?),
                DType::F64 => CudaStorageSlice::F64(device.alloc(count)?),
                DType::U32 => CudaStorageSlice::U32(device.alloc(count)?),
                other => bail!("no kernel writes {other:?}"),
            }
        };
        Ok(Self {
            slice,
            device: device.clone(),
        })
    }

    fn address(&self, from: usize) -> Result<u64> {
        // One stream has all the work, so an address needs no event that guards it.
        let stream = self.device().cuda_stream();
        let (start, size) = match &self.slice {
            CudaStorageSlice::F32(slice) => (slice.device_ptr(&stream).0, 4),
            CudaStorageSlice::BF16(slice) => (slice.device_ptr(&stream).0, 2),
            CudaStorageSlice::F64(slice) => (slice.device_ptr(&stream).0, 8),
            CudaStorageSlice::U32(slice) => (slice.device_ptr(&stream).0, 4),
            _ => bail!("no kernel takes these numbers"),
        };
        Ok(start + (from * size) as u64)
    }

    fn start(&self, module: &'static str, launch: &Launch, addresses: &[u64]) -> Result<()> {
        start(module, launch, addresses, self.device())
    }

    fn multiply(&self, product: &Product, addresses: &[u64]) -> Result<()> {
        if super::cublas::multiply(product, addresses, self.device())? {
            return Ok(());
        }
        self.start("product", &product.launch(), addresses)
    }
}

fn start(
    module: &'static str,
    launch: &Launch,
    addresses: &[u64],
    device: &CudaDevice,
) -> Result<()> {
    let function = function(module, launch, device)?;
    let values: Vec<Value> = launch
        .args
        .iter()
        .map(|arg| Value::of(arg, addresses))
        .collect();
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    for value in &values {
        match value {
            Value::Word(word) => builder.arg(word),
            Value::Int(int) => builder.arg(int),
            Value::Float(float) => builder.arg(float),
            Value::Table(table) => builder.arg(&**table),
        };
    }
    let [x, y, z] = launch.extent.grid;
    let extent = LaunchConfig {
        grid_dim: (x, y, z),
        block_dim: (launch.extent.threads, 1, 1),
        shared_mem_bytes: u32::try_from(launch.extent.shared).unwrap_or(u32::MAX),
    };
    // SAFETY: arguments are those of the kernel's parameters, which the emulator's tests check, and the
    // stream does what was asked of it before it frees a buffer.
    unsafe { builder.launch(extent) }.w()?;
    Ok(())
}

/// A kernel on a device, and the bytes of shared memory that a block of it may have.
struct LoadedKernel {
    device: DeviceId,
    function: CudaFunction,
    shared: usize,
}

/// Kernels that were looked up: asking the driver for every launch costs as much as the launch.
static FUNCTIONS: RwLock<BTreeMap<String, Vec<LoadedKernel>>> = RwLock::new(BTreeMap::new());

/// Bytes of shared memory that a block gets without asking.
const SHARED: usize = 48 << 10;

fn function(module: &'static str, launch: &Launch, device: &CudaDevice) -> Result<CudaFunction> {
    let (id, shared) = (device.id(), launch.extent.shared);
    let known = FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner);
    let mut held = known.get(&launch.kernel).into_iter().flatten();
    if let Some(known) = held.find(|known| known.device == id && shared <= known.shared) {
        return Ok(known.function.clone());
    }
    drop(known);
    let Some((_, ptx)) = MODULES.iter().find(|(name, _)| *name == module) else {
        bail!(
            "the build has no kernels of {module}: touch train/build.rs and build again, so that all \
             of train/src/ops/*.cu get into it"
        )
    };
    let function = device
        .get_or_load_custom_func(&launch.kernel, module, ptx)?
        .into_cuda_function();
    let most = shared.max(SHARED);
    if shared > SHARED {
        let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, most as i32).w()?;
    }
    let mut known = FUNCTIONS.write().unwrap_or_else(PoisonError::into_inner);
    let held = known.entry(launch.kernel.clone()).or_default();
    held.retain(|known| known.device != id);
    held.push(LoadedKernel {
        device: id,
        function: function.clone(),
        shared: most,
    });
    Ok(function)
}
