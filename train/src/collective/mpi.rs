//! [`Mpi`]: ranks that MPI carries, on processors.
//!
//! One thread makes all calls of MPI, in the order in which they are asked for, so sums go on while the model computes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use candle_core::{DType, Device, Tensor};
use half::bf16;
use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use wellspring_store::Share;

use super::{Collective, Launcher, PendingSum};
use crate::{Error, Result};

/// A call of MPI.
type Call = Box<dyn FnOnce(&SimpleCommunicator) + Send>;

/// The world that a launcher of MPI has started.
#[derive(Debug)]
pub(super) struct Mpi {
    share: Share,
    local_rank: usize,
    /// None when it ends.
    calls: Option<Sender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Mpi {
    /// Takes leave of the other ranks, which MPI demands of a process that ends well.
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Mpi {
    /// Starts MPI, and refuses a world that is not the launcher's.
    pub(super) fn join(launcher: &Launcher) -> Result<Self> {
        let (calls, asked) = channel();
        let (say, said) = channel();
        let thread = std::thread::Builder::new()
            .name("mpi".into())
            .spawn(move || serve(&say, &asked))
            .map_err(|error| failed(format!("no thread for MPI: {error}")))?;
        let (share, local_rank) = said.recv().map_err(|_| failed("MPI did not start"))?;
        if share != launcher.share {
            return Err(failed(format!(
                "{} has started this as rank {} of {}, but for the program's MPI ({}) it is rank {} of {}: start it \
                 with the launcher of that MPI, or build the program with the launcher's",
                launcher.name,
                launcher.share.rank,
                launcher.share.world,
                library(),
                share.rank,
                share.world
            )));
        }
        Ok(Self {
            share,
            local_rank,
            calls: Some(calls),
            thread: Some(thread),
        })
    }

    /// The number of this rank among those of its machine.
    pub(super) fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Asks for a call; the answer comes when it was made.
    fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&SimpleCommunicator) -> T + Send + 'static,
    ) -> Result<Receiver<T>> {
        let (say, said) = channel();
        let call: Call = Box::new(move |world| {
            // Nobody may be left to hear it.
            say.send(call(world)).ok();
        });
        let calls = self.calls.as_ref().ok_or_else(ended)?;
        calls.send(call).map_err(|_| ended())?;
        Ok(said)
    }
}

/// Parts of a buffer.
#[derive(Debug, Default)]
struct Offsets {
    starts: Vec<i32>,
    counts: Vec<i32>,
    sum: usize,
}

impl Offsets {
    /// Where the part of each rank begins, and all of them: as MPI counts.
    fn of(counts: &[usize]) -> Result<Self> {
        let number = |count: usize| {
            i32::try_from(count).map_err(|_| failed("MPI counts at most 2³¹ − 1 numbers in a call"))
        };
        let mut offsets = Self::default();
        let mut sum = 0;
        for &count in counts {
            offsets.starts.push(number(sum)?);
            offsets.counts.push(number(count)?);
            sum += count;
        }
        number(sum)?;
        offsets.sum = sum;
        Ok(offsets)
    }
}

/// The parts that a rank sends, and those that it gets.
struct Parts {
    sent: Offsets,
    received: Offsets,
    /// Numbers of this rank's part.
    own: usize,
}

impl Parts {
    /// Sends each rank its part of some values, and sums what comes for this one, in the order of ranks.
    fn sum<N: Equivalence + Copy + Default>(
        &self,
        world: &SimpleCommunicator,
        values: &[N],
        number: impl Fn(N) -> f32,
    ) -> Vec<f32> {
        let (sent, received) = (&self.sent, &self.received);
        let mut came = vec![N::default(); received.sum];
        let from = Partition::new(values, &sent.counts[..], &sent.starts[..]);
        let mut into = PartitionMut::new(&mut came[..], &received.counts[..], &received.starts[..]);
        world.all_to_all_varcount_into(&from, &mut into);
        let mut sum = vec![0.0; self.own];
        for part in came.chunks_exact(self.own.max(1)) {
            sum.iter_mut()
                .zip(part)
                .for_each(|(sum, &value)| *sum += number(value));
        }
        sum
    }
}

/// Makes calls until nobody can ask for one.
fn serve(say: &Sender<(Share, usize)>, asked: &Receiver<Call>) {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Multiple) else {
        return;
    };
    let world = universe.world();
    let share = Share {
        rank: world.rank() as usize,
        world: world.size() as usize,
    };
    let local = world.split_shared(world.rank());
    say.send((share, local.rank() as usize)).ok();
    asked.iter().for_each(|call| call(&world));
}

/// The name of the MPI that the program was built with.
fn library() -> String {
    let name = mpi::environment::library_version().unwrap_or_default();
    name.split(',').next().unwrap_or_default().trim().to_owned()
}

impl Collective for Mpi {
    fn share(&self) -> Share {
        self.share
    }

    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut own = own.to_vec();
        // The address of an empty vector of bytes is 1, which Open MPI takes for MPI_IN_PLACE.
        own.reserve(1);
        let found = self.ask(move |world| {
            let mut lengths = vec![0; world.size() as usize];
            world.all_gather_into(&(own.len() as i32), &mut lengths[..]);
            let starts: Vec<i32> = lengths
                .iter()
                .scan(0, |sum, &length| {
                    Some(std::mem::replace(sum, *sum + length))
                })
                .collect();
            let mut bytes = vec![0_u8; lengths.iter().sum::<i32>() as usize];
            bytes.reserve(1);
            let mut parts = PartitionMut::new(&mut bytes[..], &lengths[..], &starts[..]);
            world.all_gather_varcount_into(&own[..], &mut parts);
            let part = |(&start, &length): (&i32, &i32)| {
                bytes[start as usize..(start + length) as usize].to_vec()
            };
            starts.iter().zip(&lengths).map(part).collect()
        })?;
        found.recv().map_err(|_| ended())
    }

    fn reduce_scatter(&self, values: &Tensor, counts: &[usize]) -> Result<PendingSum> {
        let (share, device) = (self.share, values.device().clone());
        let sent = Offsets::of(counts)?;
        let own = counts[share.rank];
        let received = Offsets::of(&vec![own; share.world])?;
        let parts = Parts {
            sent,
            received,
            own,
        };
        let sum = match values.dtype() {
            DType::BF16 => {
                let values: Vec<bf16> = values.to_device(&Device::Cpu)?.to_vec1()?;
                let bits: Vec<u16> = values.into_iter().map(bf16::to_bits).collect();
                let number = |bits| bf16::from_bits(bits).to_f32();
                self.ask(move |world| parts.sum(world, &bits, number))?
            }
            _ => {
                let values = on_host(values)?;
                self.ask(move |world| parts.sum(world, &values, |value| value))?
            }
        };
        Ok(PendingSum::new(move || {
            let sum = sum.recv().map_err(|_| ended())?;
            Ok(Tensor::from_vec(sum, own, &device)?)
        }))
    }

    fn all_gather(&self, own: &Tensor, counts: &[usize]) -> Result<Tensor> {
        let offsets = Offsets::of(counts)?;
        let (sum, device) = (offsets.sum, own.device().clone());
        let own = on_host(own)?;
        let all = self.ask(move |world| {
            let mut all = vec![0.0_f32; offsets.sum];
            let mut parts =
                PartitionMut::new(&mut all[..], &offsets.counts[..], &offsets.starts[..]);
            world.all_gather_varcount_into(&own[..], &mut parts);
            all
        })?;
        let all = all.recv().map_err(|_| ended())?;
        Ok(Tensor::from_vec(all, sum, &device)?)
    }

    fn abort(&self, code: i32) {
        // Not by the thread of the calls: it may wait for a rank for ever.
        SimpleCommunicator::world().abort(code);
    }
}

/// Numbers of a tensor in this machine's memory.
fn on_host(values: &Tensor) -> Result<Vec<f32>> {
    let values = values.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(values.flatten_all()?.to_vec1()?)
}

fn failed(what: impl Into<String>) -> Error {
    Error::Collective { what: what.into() }
}

fn ended() -> Error {
    failed("the thread that speaks to the other ranks has ended")
}
