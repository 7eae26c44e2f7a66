//! The device that a model runs on, and the precision of its products.

#[cfg(feature = "cuda")]
mod cuda;

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
#[cfg(any(feature = "cuda", feature = "mpi"))]
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::memory::mebibytes;

use crate::{Error, Result};

/// A device by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The processors of this machine.
    #[default]
    Cpu,
    /// The first CUDA device, and for several ranks on a machine one for each, of those that the variable `CUDA_VISIBLE_DEVICES` names where it is set;
    /// the program must have been built with the feature `cuda`.
    Cuda,
}

impl DeviceChoice {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// Its name on the command line and in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// The device. A GPU is opened once in a process, and is the same one every time.
    ///
    /// # Errors
    /// [`Error::Device`] when the program was built without it or the machine has none,
    /// [`Error::Threads`].
    pub fn open(self) -> Result<Device> {
        start_threads()?;
        let failed = |reason: String| Error::Device {
            device: self.to_string(),
            reason,
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda => cuda::open(PLACE.load(Ordering::Relaxed)).map_err(failed),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda => Err(failed(
                "this program was built without CUDA; build it with --features cuda".into(),
            )),
        }
    }
}

/// The place of this process among those of its machine, each of which takes another GPU.
#[cfg(any(feature = "cuda", feature = "mpi"))]
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Chooses the GPU of this process, before it is opened, by the number of its rank on this machine.
#[cfg(feature = "mpi")]
pub(crate) fn choose(place: usize) {
    PLACE.store(place, Ordering::Relaxed);
}

/// The identity of a GPU; none for the processors.
pub(crate) fn identity(device: &Device) -> Option<String> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::identity(device),
        _ => None,
    }
}

/// Starts the threads that compute, before rayon does so by itself and panics where it cannot.
fn start_threads() -> Result<()> {
    // Rayon tries once in a process, and then says that it has.
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let built = rayon::ThreadPoolBuilder::new().build_global();
        // Without a cause it says that there are such threads already.
        match built.as_ref().err().and_then(StdError::source) {
            Some(cause) => Err(cause.to_string()),
            None => Ok(()),
        }
    });
    started.clone().map_err(|reason| Error::Threads { reason })
}

/// Default memory for tensors that blocks keep until their backward pass, in bytes: three quarters of the free
/// memory of a GPU, 512 MiB on a CPU. Gradients and temporary tensors use the rest.
pub(crate) fn activation_bytes(device: &Device) -> Result<u64> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => Ok(cuda::free_bytes(device)? / 4 * 3),
        _ => Ok(mebibytes(512)),
    }
}

/// Numbers as a tensor on a device. To a GPU they go from memory that it reads by itself, while the
/// host goes on.
pub(crate) fn upload(values: &[f32], shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::upload(values, shape.into(), device),
        _ => Ok(Tensor::from_slice(values, shape, device)?),
    }
}

/// The numbers (f32) of a tensor, in the host's memory.
pub(crate) fn download(values: &Tensor) -> Result<Vec<f32>> {
    match values.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::download(values, device),
        _ => Ok(values.flatten_all()?.to_vec1()?),
    }
}

/// The numbers of the products within blocks. Weights, their gradients, norms and what is added up
/// along the depth are f32 in either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Single precision whose factors a CUDA device rounds to ten bits after the point, which makes
    /// products several times as fast; on a CPU the same as f32.
    Tf32,
    /// bfloat16, which CUDA devices multiply several times as fast; on a CPU it is slower.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// Its name on the command line and in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Tf32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|choice| choice.name() == text);
        named.ok_or_else(|| Error::Value {
            key: "precision",
            value: text.to_owned(),
            expected: format!("choose one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|choice| choice.name() == text);
        named.ok_or_else(|| Error::Device {
            device: text.to_owned(),
            reason: format!("choose one of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}
