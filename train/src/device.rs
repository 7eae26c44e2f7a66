//! Where a model runs.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A device by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// This machine's processors.
    #[default]
    Cpu,
    /// The first CUDA device; the program must have been built with the feature `cuda`.
    Cuda,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when the program was built without it or the machine has none.
    pub fn open(self) -> Result<Device> {
        let failed = |reason: String| Error::Device {
            device: self.to_string(),
            reason,
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda if cfg!(feature = "cuda") => {
                Device::new_cuda(0).map_err(|error| failed(error.to_string()))
            }
            Self::Cuda => Err(failed(
                "this program was built without CUDA; build it with --features cuda".into(),
            )),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(Error::Device {
                device: text.to_owned(),
                reason: "choose cpu or cuda".into(),
            }),
        }
    }
}
