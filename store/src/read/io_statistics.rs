//! Counts requests, bytes and waiting time of reading a data set.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What reading a data set has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct IoStatistics {
    /// Requests for bytes of shards.
    pub requests: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Requests that were made again.
    pub retries: u64,
    /// How often shards were found in memory or in the cache folder when they were wanted.
    pub hits: u64,
    /// How often shards had to be opened: mapped, or fetched.
    pub misses: u64,
    /// Bytes of shards held at once, at most: in memory, or in files of the cache folder.
    pub peak: u64,
    /// Seconds that consumers of loaders waited for a batch.
    pub waited: f64,
}

/// Counters behind [`IoStatistics`], updated while reading goes on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    peak: AtomicU64,
    waited_nanos: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn held(&self, bytes: u64) {
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self, time: Duration) {
        Self::add(&self.waited_nanos, time.as_nanos() as u64);
    }

    pub(crate) fn read(&self) -> IoStatistics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoStatistics {
            requests: of(&self.requests),
            bytes: of(&self.bytes),
            retries: of(&self.retries),
            hits: of(&self.hits),
            misses: of(&self.misses),
            peak: of(&self.peak),
            waited: of(&self.waited_nanos) as f64 / 1e9,
        }
    }
}
