//! [`Nccl`]: ranks on GPUs. MPI starts them and carries what is small; NCCL carries vectors from card to card.
//!
//! A sum is not NCCL's own, whose order depends on how cards are wired: the parts are sent, and each rank adds those that
//! it gets, in the order of ranks. That moves as many bytes.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr};
use candle_core::cuda_backend::cudarc::nccl::{
    Comm, Id, NcclType, result::NcclError, safe::group_end, safe::group_start,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Device, Storage, Tensor};
use wellspring_store::Share;

use super::mpi::Mpi;
use super::{Collective, PendingSum};
use crate::{Error, Result};

/// Ranks of MPI whose GPUs speak to one another.
#[derive(Debug)]
pub(super) struct Nccl {
    mpi: Mpi,
    /// Made when the first vector lies on a GPU.
    channel: Mutex<Option<Channel>>,
}

/// NCCL's communicator.
#[derive(Debug)]
struct Channel(Comm);

#[allow(unsafe_code, reason = "a communicator is a pointer of NCCL's")]
// SAFETY: NCCL's calls may come from any thread, one at a time, which the lock sees to.
unsafe impl Send for Channel {}

impl Nccl {
    pub(super) fn new(mpi: Mpi) -> Self {
        Self {
            mpi,
            channel: Mutex::new(None),
        }
    }

    /// Does something with the communicator, which all ranks make together the first time.
    fn with_channel<T>(
        &self,
        device: &CudaDevice,
        work: impl FnOnce(&Comm) -> std::result::Result<T, NcclError>,
    ) -> Result<T> {
        let mut held = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(self.open(device)?);
        }
        match &*held {
            Some(Channel(comm)) => work(comm).map_err(failed),
            None => Err(Error::Collective {
                what: "NCCL did not start".into(),
            }),
        }
    }

    fn open(&self, device: &CudaDevice) -> Result<Channel> {
        let share = self.share();
        let own = match share.rank {
            0 => Some(Id::new().map_err(failed)?),
            _ => None,
        };
        let own = own.map(|id| id.internal().map(|byte| byte as u8));
        let said = self.mpi.exchange(own.as_ref().map_or(&[], |id| id))?;
        let first: Option<[u8; 128]> = said[0].as_slice().try_into().ok();
        let id = first.ok_or_else(|| Error::Collective {
            what: "the first rank has no name for NCCL".into(),
        })?;
        let id = Id::uninit(id.map(|byte| byte as std::ffi::c_char));
        let stream = device.cuda_stream();
        let comm = Comm::from_rank(stream, share.rank, share.world, id).map_err(failed)?;
        Ok(Channel(comm))
    }

    /// Sends parts of a vector to all ranks, and takes theirs.
    fn swap(&self, values: &Tensor, sent: &[Range<usize>], received: &[usize]) -> Result<Tensor> {
        let values = values.contiguous()?;
        let (storage, layout) = values.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else {
            return Err(Error::Collective {
                what: "ranks differ in the device that they compute on".into(),
            });
        };
        let (device, from) = (storage.device().clone(), layout.start_offset());
        let parts = offsets(received);
        let sent: Vec<_> = sent
            .iter()
            .map(|part| part.start + from..part.end + from)
            .collect();
        let slice = self.with_slice(&storage.slice, &device, &sent, &parts)?;
        let count: usize = received.iter().sum();
        let storage = Storage::Cuda(CudaStorage { slice, device });
        Ok(Tensor::from_storage(
            storage,
            count,
            BackpropOp::none(),
            false,
        ))
    }

    fn with_slice(
        &self,
        slice: &CudaStorageSlice,
        device: &CudaDevice,
        sent: &[Range<usize>],
        received: &[Range<usize>],
    ) -> Result<CudaStorageSlice> {
        Ok(match slice {
            CudaStorageSlice::F32(values) => {
                CudaStorageSlice::F32(self.moved(values, device, sent, received)?)
            }
            CudaStorageSlice::BF16(values) => {
                CudaStorageSlice::BF16(self.moved(values, device, sent, received)?)
            }
            _ => {
                return Err(Error::Collective {
                    what: "ranks send f32 and bf16 alone".into(),
                });
            }
        })
    }

    fn moved<N: NcclType + DeviceRepr>(
        &self,
        values: &CudaSlice<N>,
        device: &CudaDevice,
        sent: &[Range<usize>],
        received: &[Range<usize>],
    ) -> Result<CudaSlice<N>> {
        let count = received.last().map_or(0, |part| part.end);
        #[allow(unsafe_code, reason = "memory that is not cleared")]
        // SAFETY: all of it is received before anything reads it: one stream has all the work.
        let mut came = unsafe { device.alloc::<N>(count.max(1))? };
        self.with_channel(device, |comm| {
            group_start()?;
            for (rank, part) in sent.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                comm.send(&values.slice(part.clone()), rank as i32)?;
            }
            for (rank, part) in received.iter().enumerate() {
                if !part.is_empty() {
                    comm.recv(&mut came.slice_mut(part.clone()), rank as i32)?;
                }
            }
            group_end().map(drop)
        })?;
        Ok(came)
    }
}

impl Collective for Nccl {
    fn share(&self) -> Share {
        self.mpi.share()
    }

    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.mpi.exchange(own)
    }

    fn reduce_scatter(&self, values: &Tensor, counts: &[usize]) -> Result<PendingSum> {
        if !matches!(values.device(), Device::Cuda(_)) {
            return self.mpi.reduce_scatter(values, counts);
        }
        let share = self.share();
        let own = counts[share.rank];
        let came = self.swap(values, &offsets(counts), &vec![own; share.world])?;
        // On the stream: nothing waits.
        let mut sum = came.narrow(0, 0, own)?.to_dtype(DType::F32)?;
        for rank in 1..share.world {
            sum = (sum + came.narrow(0, rank * own, own)?.to_dtype(DType::F32)?)?;
        }
        Ok(PendingSum::new(move || Ok(sum)))
    }

    fn all_gather(&self, own: &Tensor, counts: &[usize]) -> Result<Tensor> {
        if !matches!(own.device(), Device::Cuda(_)) {
            return self.mpi.all_gather(own, counts);
        }
        let whole = 0..own.elem_count();
        self.swap(own, &vec![whole; counts.len()], counts)
    }

    fn abort(&self, code: i32) {
        self.mpi.abort(code);
    }
}

/// Where parts of some lengths lie, one after the other.
fn offsets(counts: &[usize]) -> Vec<Range<usize>> {
    let mut from = 0;
    let part = |&count: &usize| {
        from += count;
        from - count..from
    };
    counts.iter().map(part).collect()
}

fn failed(error: NcclError) -> Error {
    Error::Collective {
        what: format!("NCCL failed: {error:?}; NCCL_DEBUG=WARN says more"),
    }
}
