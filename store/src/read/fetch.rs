//! Fetches the bytes of shards from a network: in parts, several at a time.

mod region;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::read::io_statistics::Counters;
use crate::{Error, Location, Result};

use region::{Region, Regions};

/// Bytes of a request, about: enough that its fixed cost does not count, few enough for several at a
/// time.
const PART: u64 = 8 << 20;

/// Requests at a time.
const AT_A_TIME: usize = 8;

/// Requests parts of objects, in the order of the calls.
#[derive(Debug)]
pub(crate) struct Fetcher {
    turns: Semaphore,
    regions: Arc<Regions>,
    pub(crate) counters: Arc<Counters>,
}

impl Fetcher {
    /// Memory is kept for other objects as far as, with what is in use, it takes so many bytes.
    pub(crate) fn new(counters: Arc<Counters>, kept: u64) -> Self {
        Self {
            turns: Semaphore::new(AT_A_TIME),
            regions: Arc::new(Regions::new(kept)),
            counters,
        }
    }

    /// An object of known size, in memory.
    pub(crate) async fn whole(&self, place: &Location, size: u64) -> Result<Bytes> {
        let mut region = Region::new(&self.regions, size).map_err(|source| Error::Memory {
            object: place.to_string(),
            bytes: size,
            source,
        })?;
        let part = part_bytes(size);
        let parts = region.bytes_mut().chunks_mut(part as usize).zip(0..);
        let parts = parts.map(|(into, index)| self.part(place, index * part, into));
        futures::future::try_join_all(parts.collect::<Vec<_>>()).await?;
        Ok(Bytes::from_owner(region))
    }

    /// One part of an object.
    #[tracing::instrument(name = "fetch", level = "debug", skip_all, fields(object = %place, start, bytes = into.len()))]
    pub(crate) async fn part(&self, place: &Location, start: u64, into: &mut [u8]) -> Result<()> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        Counters::add(&self.counters.requests, 1);
        place.read_range(start, into).await?;
        Counters::add(&self.counters.bytes, into.len() as u64);
        Ok(())
    }
}

/// Requests for an object of some size.
pub(crate) fn requests(size: u64) -> u64 {
    (size.saturating_add(PART / 2) / PART).max(1)
}

/// Bytes of each of them: all alike, so that none is for a small rest.
pub(crate) fn part_bytes(size: u64) -> u64 {
    size.div_ceil(requests(size)).max(1)
}
