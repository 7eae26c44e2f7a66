//! [`Collective`]: the processes of a job that train one model together, and what they say to one another.
//!
//! A launcher such as `mpirun` starts the same program several times. Each process is a rank of a world. Every verb but
//! [`Collective::abort`] is called by all ranks in the same order, and ends when all have called it. Sums are taken in the
//! order of ranks, so they have the same bits on every rank and in every run.
//!
//! [`join`] finds the engine: [`SingleProcess`] where no launcher is at work, `Mpi` (feature `mpi`) on processors and on GPUs
//! through the host's memory, `Nccl` (feature `nccl`) from card to card.

mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod single_process;

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wellspring_store::Share;

use crate::{Error, Result};
pub use launcher::Launcher;
pub use single_process::SingleProcess;

/// Ranks of a job that act together.
pub trait Collective: Debug + Send + Sync {
    /// This rank, and how many there are.
    fn share(&self) -> Share;

    /// The bytes of all ranks, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Begins to sum vectors over ranks, in f32 or bf16; the sum is in f32. Of the sum each rank gets its part: rank r
    /// the numbers after those of the ranks before it, as many as `counts[r]`.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    fn reduce_scatter(&self, values: &Tensor, counts: &[usize]) -> Result<PendingSum>;

    /// The parts of all ranks, one after the other; `counts` are their lengths.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    fn all_gather(&self, own: &Tensor, counts: &[usize]) -> Result<Tensor>;

    /// Ends all ranks at once, because this one cannot go on.
    fn abort(&self, code: i32);

    /// Waits until all ranks are here.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    fn barrier(&self) -> Result<()> {
        self.exchange(&[]).map(drop)
    }

    /// The numbers of all ranks, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    fn exchange_numbers(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
        let found = self.exchange(bytemuck::cast_slice(own))?;
        Ok(found.iter().map(|bytes| numbers(bytes)).collect())
    }

    /// Whether this is the rank that prints, and writes what there is once.
    fn is_first(&self) -> bool {
        self.share().rank == 0
    }

    /// Whether there is only this rank.
    fn is_alone(&self) -> bool {
        self.share().world == 1
    }
}

/// What each rank says, in the order of ranks.
///
/// # Errors
/// [`Error::Collective`] when the engine fails.
pub fn exchange_json<T: Serialize + DeserializeOwned>(
    collective: &dyn Collective,
    own: &T,
) -> Result<Vec<T>> {
    let garbled = |error: serde_json::Error| Error::Collective {
        what: format!("a rank says what is no JSON: {error}"),
    };
    let own = serde_json::to_vec(own).map_err(garbled)?;
    let said = collective.exchange(&own)?.into_iter();
    said.map(|bytes| serde_json::from_slice(&bytes).map_err(garbled))
        .collect()
}

/// Numbers from bytes that need not be aligned.
fn numbers(bytes: &[u8]) -> Vec<f64> {
    let (parts, _) = bytes.as_chunks::<8>();
    parts.iter().map(|part| f64::from_ne_bytes(*part)).collect()
}

/// Numbers in which ranks send gradients to one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// Single precision, as they are.
    #[default]
    F32,
    /// bfloat16: half the bytes, and eight bits of a number.
    Bf16,
}

impl Wire {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A sum on its way.
pub struct PendingSum(Box<dyn FnOnce() -> Result<Tensor> + Send>);

impl PendingSum {
    /// A sum that `wait` waits for.
    pub fn new(wait: impl FnOnce() -> Result<Tensor> + Send + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// Waits for it.
    ///
    /// # Errors
    /// [`Error::Collective`] when the engine fails.
    pub fn wait(self) -> Result<Tensor> {
        self.0()
    }
}

impl Debug for PendingSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

/// Joins the job that this process was started for, if there is one. It is called once, before other threads run.
///
/// # Errors
/// [`Error::Collective`] where a launcher has started several ranks that cannot reach one another: a program without
/// MPI, or with another MPI than the launcher's.
pub fn join() -> Result<Arc<dyn Collective>> {
    let launcher = Launcher::of_environment();
    match launcher.filter(|launcher| launcher.share.world > 1) {
        Some(launcher) => with_others(&launcher),
        None => Ok(Arc::new(SingleProcess)),
    }
}

#[cfg(feature = "mpi")]
fn with_others(launcher: &Launcher) -> Result<Arc<dyn Collective>> {
    let mpi = mpi::Mpi::join(launcher)?;
    crate::device::choose(mpi.local_rank());
    #[cfg(feature = "nccl")]
    let mpi = nccl::Nccl::new(mpi);
    Ok(Arc::new(mpi))
}

#[cfg(not(feature = "mpi"))]
fn with_others(launcher: &Launcher) -> Result<Arc<dyn Collective>> {
    Err(Error::Collective {
        what: format!(
            "{} has started this as rank {} of {}, but the program was built without MPI; build it with \
             --features mpi (make build features=mpi)",
            launcher.name, launcher.share.rank, launcher.share.world
        ),
    })
}
