//! Reuses the memory of fetched objects: the system clears every fresh page first, which costs more than
//! filling it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::MmapMut;

/// Memory in use, and memory that waits to be.
#[derive(Debug)]
pub(super) struct Regions {
    /// Bytes in all, unless more are in use.
    limit: u64,
    held: Mutex<FreeRegions>,
}

#[derive(Debug, Default)]
struct FreeRegions {
    /// The one given back last comes last.
    free: Vec<MmapMut>,
    /// Bytes of these and of all in use.
    bytes: u64,
}

impl Regions {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, FreeRegions> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, size: usize) -> io::Result<MmapMut> {
        // Twice as much as is asked for would be more than a cache's limit knows of.
        let fits = |memory: &MmapMut| (size..=size.saturating_mul(2)).contains(&memory.len());
        {
            let mut held = self.held();
            if let Some(place) = held.free.iter().rposition(fits) {
                return Ok(held.free.remove(place));
            }
            while held.bytes.saturating_add(size as u64) > self.limit && !held.free.is_empty() {
                held.bytes -= held.free.remove(0).len() as u64;
            }
        }
        let memory = map(size)?;
        self.held().bytes += memory.len() as u64;
        Ok(memory)
    }

    fn give(&self, memory: MmapMut) {
        let mut held = self.held();
        match held.bytes <= self.limit {
            true => held.free.push(memory),
            false => held.bytes -= memory.len() as u64,
        }
    }
}

/// Memory that goes back when it is no longer read.
pub(super) struct Region {
    /// The memory, present until the drop.
    memory: Option<MmapMut>,
    size: usize,
    home: Arc<Regions>,
}

impl Region {
    /// Room for so many bytes, with anything in it. A size that cannot be is an error here, not the
    /// end of the process.
    pub(super) fn new(home: &Arc<Regions>, size: u64) -> io::Result<Self> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        Ok(Self {
            memory: Some(home.take(size)?),
            size,
            home: Arc::clone(home),
        })
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory
            .as_deref_mut()
            .map_or(&mut [], |memory| &mut memory[..self.size])
    }
}

impl AsRef<[u8]> for Region {
    fn as_ref(&self) -> &[u8] {
        self.memory
            .as_deref()
            .map_or(&[], |memory| &memory[..self.size])
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.home.give(memory);
        }
    }
}

/// Fresh memory, in large pages where there are any.
fn map(size: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(size.max(1))?;
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    Ok(memory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_within_the_limit_and_used_again() {
        let home = Arc::new(Regions::new(100));
        let region = |size| Region::new(&home, size).unwrap();
        let address = |region: &Region| region.as_ref().as_ptr();
        let (first, second, third) = (region(40), region(40), region(40));
        let (kept, lost) = (address(&second), third);
        drop(lost);
        assert_eq!(home.held().bytes, 80, "the third is more than may be kept");
        drop(second);
        let again = region(30);
        assert_eq!((address(&again), again.as_ref().len()), (kept, 30));
        drop((first, again));
        assert_eq!(home.held().bytes, 80);
        // Neither fits, so they make room.
        let other = region(90);
        assert_eq!(home.held().bytes, 90);
        drop(other);
        assert!(Region::new(&home, u64::MAX).is_err());
        assert_eq!(home.held().bytes, 0, "what could not be had is not counted");
    }
}
