//! Bookkeeping of the cache: which shards are in use, their sizes, and which are evicted. It does no input
//! or output, so that a plan's read cost is computed by the rules that reading follows.

use std::collections::HashMap;

use crate::manifest::ShardId;

/// Files that are mapped at once, at most, beyond those in use: systems limit their number.
const MOST: usize = 16_384;

/// Shards in use or used lately.
#[derive(Debug)]
pub(crate) struct CacheLedger<V> {
    /// Bytes that may be held.
    limit: u64,
    held: u64,
    peak: u64,
    clock: u64,
    entries: HashMap<ShardId, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    leases: usize,
    used: u64,
}

/// What is done when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Wait until others are done.
    Wait,
    /// Go over the limit, by no more than what is in use.
    Take,
}

/// The shards of a lease.
#[derive(Debug)]
pub(crate) struct Grant<V> {
    pub(crate) shards: Vec<(ShardId, V)>,
    /// Shards of the lease that were not in the cache.
    pub(crate) missing: Vec<ShardId>,
}

impl<V: Clone + Default> CacheLedger<V> {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: 0,
            peak: 0,
            clock: 0,
            entries: HashMap::new(),
        }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes held at once, at most.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Leases shards, each named once with its bytes: all of them or, when there is no room and the
    /// caller waits, none. What nobody uses is let go for them, the longest unused first.
    pub(crate) fn lease(&mut self, wanted: &[(ShardId, u64)], room: WhenFull) -> Option<Grant<V>> {
        let missing = wanted
            .iter()
            .filter(|(id, _)| !self.entries.contains_key(id));
        let (missing, more): (Vec<ShardId>, Vec<u64>) = missing.copied().unzip();
        let more = more
            .iter()
            .fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        let idle = |(id, entry): (&ShardId, &Entry<V>)| {
            let kept = entry.leases > 0 || wanted.iter().any(|(wanted, _)| wanted == id);
            if kept { 0 } else { entry.bytes }
        };
        if self.held.saturating_add(more) > self.limit && room == WhenFull::Wait {
            let idle: u64 = self.entries.iter().map(idle).sum();
            if (self.held - idle).saturating_add(more) > self.limit {
                return None;
            }
        }
        self.clock += 1;
        // In use from here on, so that none of them makes room for another.
        let mut shards = Vec::new();
        for &(id, bytes) in wanted {
            let entry = self.entries.entry(id).or_insert_with(|| {
                self.held += bytes;
                Entry {
                    value: V::default(),
                    bytes,
                    leases: 0,
                    used: 0,
                }
            });
            entry.leases += 1;
            entry.used = self.clock;
            shards.push((id, entry.value.clone()));
        }
        self.tidy();
        self.peak = self.peak.max(self.held);
        Some(Grant { shards, missing })
    }

    /// Gives leases back.
    pub(crate) fn release(&mut self, shards: impl Iterator<Item = ShardId>) {
        for id in shards {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.leases -= 1;
            }
        }
        self.tidy();
    }

    /// Lets go of the longest unused until the limit is kept.
    fn tidy(&mut self) {
        while self.held > self.limit || self.entries.len() > MOST {
            let over = self.held > self.limit;
            let idle = self
                .entries
                .iter()
                .filter(|(_, entry)| entry.leases == 0 && (entry.bytes > 0 || !over));
            let Some((&oldest, _)) = idle.min_by_key(|(_, entry)| entry.used) else {
                return;
            };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.held -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use crate::Split;

    use super::*;

    fn id(index: usize) -> ShardId {
        ShardId {
            split: Split::Train,
            index: Some(index),
        }
    }

    fn of(indices: &[usize]) -> Vec<(ShardId, u64)> {
        indices.iter().map(|&index| (id(index), 10)).collect()
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_in_use_stays() {
        let mut ledger = CacheLedger::<()>::new(30);
        for shards in [&[0, 1][..], &[2]] {
            assert_eq!(
                ledger
                    .lease(&of(shards), WhenFull::Wait)
                    .unwrap()
                    .missing
                    .len(),
                shards.len()
            );
        }
        assert!(ledger.lease(&of(&[3]), WhenFull::Wait).is_none());
        ledger.release([id(0), id(1)].into_iter());
        assert_eq!(
            ledger
                .lease(&of(&[1, 3]), WhenFull::Wait)
                .unwrap()
                .missing
                .len(),
            1
        );
        ledger.release([id(1), id(2), id(3)].into_iter());
        assert_eq!(
            ledger
                .lease(&of(&[1, 2, 3]), WhenFull::Wait)
                .unwrap()
                .missing
                .len(),
            0
        );
        assert_eq!(ledger.peak(), 30);
    }

    proptest! {
        #[test]
        fn those_who_wait_never_pass_the_limit(
            steps in prop::collection::vec((prop::collection::btree_set(0..9_usize, 1..4), any::<bool>()), 1..60),
        ) {
            let mut ledger = CacheLedger::<()>::new(40);
            let mut open = Vec::new();
            for (shards, close) in steps {
                if close && !open.is_empty() {
                    let shards: Vec<ShardId> = open.remove(0);
                    ledger.release(shards.into_iter());
                }
                let shards: Vec<usize> = shards.into_iter().collect();
                if let Some(grant) = ledger.lease(&of(&shards), WhenFull::Wait) {
                    open.push(grant.shards.into_iter().map(|(id, ())| id).collect());
                }
                prop_assert!(ledger.held <= 40 && ledger.peak() <= 40);
            }
            open.into_iter().for_each(|shards| ledger.release(shards.into_iter()));
            prop_assert!(ledger.lease(&of(&[0, 1, 2, 3]), WhenFull::Wait).is_some());
        }
    }
}
