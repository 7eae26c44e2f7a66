//! A cache of blocks of remote files, kept on the local disk while there is room.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::Error;

/// Bytes of a block: little enough that a look at a file's structure fetches little else.
pub(super) const BLOCK: u64 = 256 << 10;

/// Blocks of one request at most.
const MOST: u64 = 64;

/// Blocks that are fetched ahead at most.
const AHEAD: u64 = 32;

/// Bytes that all remote files of a process keep on the disk at most.
const LIMIT: u64 = 16 << 30;

/// The cache that all remote files of the process share. Its file has no name, so nothing is left of
/// it once the last of them is closed, however the process ends.
#[derive(Debug)]
struct Cache {
    file: File,
    /// Blocks that there is room for.
    room: usize,
    table: Mutex<BlockTable>,
    /// A block has come, or will not.
    changed: Condvar,
}

/// A file, and a block of it.
type Key = (u64, u64);

#[derive(Debug, Default)]
struct BlockTable {
    files: u64,
    blocks: HashMap<Key, Block>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots that are not in use, by the time of their last use.
    idle: BTreeMap<u64, usize>,
    clock: u64,
}

#[derive(Debug)]
enum Block {
    /// The block is being fetched.
    FetchGuard,
    /// The block is in this slot.
    Held(usize),
}

/// A place for a block in the cache's file.
#[derive(Debug)]
struct Slot {
    key: Key,
    readers: usize,
    used: u64,
}

/// The blocks of one remote file.
#[derive(Debug)]
pub(super) struct Blocks {
    cache: Arc<Cache>,
    file: u64,
    /// Size of the remote file, in bytes.
    size: u64,
}

impl Blocks {
    /// The blocks of a file of `size` bytes, in the cache of the process.
    pub(super) fn shared(size: u64) -> crate::Result<Self> {
        static SHARED: Mutex<Weak<Cache>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = match shared.upgrade() {
            Some(cache) => cache,
            None => {
                let cache = Arc::new(Cache::new(LIMIT)?);
                *shared = Arc::downgrade(&cache);
                cache
            }
        };
        Ok(Self::in_cache(cache, size))
    }

    fn in_cache(cache: Arc<Cache>, size: u64) -> Self {
        let file = {
            let mut table = cache.table();
            table.files += 1;
            table.files
        };
        Self { cache, file, size }
    }

    /// Fills `into` with the bytes from `offset` on, all of which the file has. `fetch` is asked for
    /// ranges that are not here.
    pub(super) fn read(
        &self,
        offset: u64,
        into: &mut [u8],
        fetch: impl Fn(Range<u64>) -> io::Result<bytes::Bytes>,
    ) -> io::Result<()> {
        let end = offset + into.len() as u64;
        let mut at = offset;
        while at < end {
            let room = &mut into[(at - offset) as usize..];
            at += match self.claim(at / BLOCK, end.div_ceil(BLOCK)) {
                SlotClaim::Held(block) => block.copy(at % BLOCK, room)?,
                SlotClaim::Missing(blocks) => {
                    let range = blocks.range(self.size);
                    let bytes = fetch(range.clone())?;
                    let from = &bytes[(at - range.start) as usize..];
                    let count = room.len().min(from.len());
                    room[..count].copy_from_slice(&from[..count]);
                    blocks.keep(&bytes)?;
                    count as u64
                }
            };
        }
        Ok(())
    }

    /// A block that is here or, once nobody else fetches it, those from it on that are to be fetched:
    /// as far as `end` and, where the blocks before were read too, as many as these ahead.
    fn claim(&self, block: u64, end: u64) -> SlotClaim<'_> {
        let cache = self.cache.as_ref();
        let mut table = cache.table();
        loop {
            match table.blocks.get(&(self.file, block)) {
                Some(&Block::Held(slot)) => {
                    table.pin(slot);
                    return SlotClaim::Held(Pinned { cache, slot });
                }
                Some(Block::FetchGuard) => {
                    table = (cache.changed.wait(table)).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        let held = |at: &u64| matches!(table.blocks.get(&(self.file, *at)), Some(Block::Held(_)));
        let before = (block.saturating_sub(AHEAD)..block).rev().take_while(held);
        let end = end.max(block + before.count() as u64).min(block + MOST);
        let end = end.min(self.size.div_ceil(BLOCK));
        let known = |at: &u64| table.blocks.contains_key(&(self.file, *at));
        let end = (block..end).find(known).unwrap_or(end);
        for at in block..end {
            table.blocks.insert((self.file, at), Block::FetchGuard);
        }
        SlotClaim::Missing(FetchGuard {
            cache,
            file: self.file,
            blocks: block..end,
        })
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut table = self.cache.table();
        let table = &mut *table;
        table.blocks.retain(|key, block| match block {
            Block::Held(slot) if key.0 == self.file => {
                table.idle.remove(&table.slots[*slot].used);
                table.free.push(*slot);
                false
            }
            _ => true,
        });
    }
}

impl Cache {
    fn new(limit: u64) -> crate::Result<Self> {
        let disk = |source| Error::Disk {
            path: std::env::temp_dir(),
            source,
        };
        Ok(Self {
            file: tempfile::tempfile().map_err(disk)?,
            room: (limit / BLOCK) as usize,
            table: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn table(&self) -> MutexGuard<'_, BlockTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a block; it is not kept if every slot is being read.
    fn put(&self, key: Key, bytes: &[u8]) -> io::Result<()> {
        let Some(slot) = self.table().slot(key, self.room) else {
            return Ok(());
        };
        let written = self.file.write_all_at(bytes, slot as u64 * BLOCK);
        let mut table = self.table();
        match written {
            Ok(()) => {
                table.blocks.insert(key, Block::Held(slot));
                table.unpin(slot);
                self.changed.notify_all();
                Ok(())
            }
            Err(source) => {
                table.free.push(slot);
                Err(io::Error::other(Error::Room {
                    path: std::env::temp_dir(),
                    limit: LIMIT,
                    source,
                }))
            }
        }
    }
}

impl BlockTable {
    /// A slot for a block, read by whoever asked: a free one, a new one, or that of the block that
    /// was not read for the longest time.
    fn slot(&mut self, key: Key, room: usize) -> Option<usize> {
        let new = Slot {
            key,
            readers: 1,
            used: 0,
        };
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = new;
            return Some(slot);
        }
        if self.slots.len() < room {
            self.slots.push(new);
            return Some(self.slots.len() - 1);
        }
        let (_, slot) = self.idle.pop_first()?;
        self.blocks.remove(&self.slots[slot].key);
        self.slots[slot] = new;
        Some(slot)
    }

    fn pin(&mut self, slot: usize) {
        let held = &mut self.slots[slot];
        held.readers += 1;
        self.idle.remove(&held.used);
    }

    fn unpin(&mut self, slot: usize) {
        let held = &mut self.slots[slot];
        held.readers -= 1;
        if held.readers == 0 {
            self.clock += 1;
            held.used = self.clock;
            self.idle.insert(held.used, slot);
        }
    }
}

enum SlotClaim<'a> {
    Held(Pinned<'a>),
    Missing(FetchGuard<'a>),
}

/// A block that stays where it is while it is read.
struct Pinned<'a> {
    cache: &'a Cache,
    slot: usize,
}

impl Pinned<'_> {
    /// Copies what the block has from `offset` on, as far as there is room for it.
    fn copy(&self, offset: u64, room: &mut [u8]) -> io::Result<u64> {
        let count = (BLOCK - offset).min(room.len() as u64);
        let at = self.slot as u64 * BLOCK + offset;
        let file = &self.cache.file;
        file.read_exact_at(&mut room[..count as usize], at)?;
        Ok(count)
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.cache.table().unpin(self.slot);
    }
}

/// Blocks that others wait for until this is dropped.
struct FetchGuard<'a> {
    cache: &'a Cache,
    file: u64,
    blocks: Range<u64>,
}

impl FetchGuard<'_> {
    /// The blocks' range of bytes in a file of this size.
    fn range(&self, size: u64) -> Range<u64> {
        self.blocks.start * BLOCK..(self.blocks.end * BLOCK).min(size)
    }

    fn keep(self, bytes: &[u8]) -> io::Result<()> {
        let blocks = self.blocks.clone().zip(bytes.chunks(BLOCK as usize));
        for (block, bytes) in blocks {
            self.cache.put((self.file, block), bytes)?;
        }
        Ok(())
    }
}

impl Drop for FetchGuard<'_> {
    fn drop(&mut self) {
        let mut table = self.cache.table();
        for block in self.blocks.clone() {
            let key = (self.file, block);
            if matches!(table.blocks.get(&key), Some(Block::FetchGuard)) {
                table.blocks.remove(&key);
            }
        }
        self.cache.changed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn value(at: u64) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 13) as u8
    }

    fn made(range: Range<u64>) -> bytes::Bytes {
        range.map(value).collect()
    }

    fn with_room(blocks: u64, size: u64) -> Blocks {
        Blocks::in_cache(Arc::new(Cache::new(blocks * BLOCK).unwrap()), size)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Whatever there is room for, what is read is what was asked for.
        #[test]
        fn reads_are_the_files_bytes(
            room in 0..6_u64,
            reads in prop::collection::vec((0..2_000_000_u64, 1..900_000_u64), 1..12),
        ) {
            let size = 2_345_678;
            let blocks = with_room(room, size);
            for (offset, length) in reads {
                let range = offset..(offset + length).min(size);
                let mut into = vec![0; (range.end - range.start) as usize];
                blocks.read(offset, &mut into, |range| Ok(made(range))).unwrap();
                prop_assert!(into == made(range));
                prop_assert!(blocks.cache.table().slots.len() as u64 <= room);
            }
        }
    }

    /// Threads that want the same at the same time fetch it once, and none is left waiting.
    #[test]
    fn what_is_on_its_way_is_not_fetched_again() {
        let (size, fetched) = (24 * BLOCK, AtomicU64::new(0));
        let blocks = with_room(24, size);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for start in (0..size).step_by(3 * BLOCK as usize) {
                        let mut into = vec![0; 3 * BLOCK as usize];
                        let fetch = |range: Range<u64>| {
                            std::thread::sleep(std::time::Duration::from_millis(5));
                            fetched.fetch_add(range.end - range.start, Ordering::SeqCst);
                            Ok(made(range))
                        };
                        blocks.read(start, &mut into, fetch).unwrap();
                        assert!(into == made(start..start + 3 * BLOCK));
                    }
                });
            }
        });
        assert_eq!(fetched.into_inner(), size);
    }

    /// Reading on and on takes ever fewer requests, but no more bytes than were read before.
    #[test]
    fn a_file_that_is_read_on_is_fetched_ahead() {
        let blocks = with_room(1000, 400 * BLOCK);
        let requests = Mutex::new(Vec::new());
        let read = |offset| {
            let fetch = |range: Range<u64>| {
                requests.lock().unwrap().push(range.end - range.start);
                Ok(made(range))
            };
            blocks.read(offset, &mut [0; 1000], fetch).unwrap();
        };
        (0..100).for_each(|block| read(block * BLOCK));
        let sizes: Vec<u64> = requests.lock().unwrap().iter().map(|n| n / BLOCK).collect();
        assert_eq!(sizes, [1, 1, 2, 4, 8, 16, 32, 32, 32]);
        // A leap is not read ahead of.
        read(300 * BLOCK);
        assert_eq!(requests.lock().unwrap().last(), Some(&BLOCK));
    }

    #[test]
    fn a_request_that_failed_is_made_again() {
        let blocks = with_room(4, 4 * BLOCK);
        let mut into = [0; 10];
        let fail = |_| Err(io::Error::other("no line"));
        blocks.read(7, &mut into, fail).unwrap_err();
        blocks.read(7, &mut into, |range| Ok(made(range))).unwrap();
        assert_eq!(into.as_slice(), made(7..17));
    }

    #[test]
    fn a_disk_that_is_full_is_named() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let cache = Cache {
            file: full,
            ..Cache::new(4 * BLOCK).unwrap()
        };
        let blocks = Blocks::in_cache(Arc::new(cache), 4 * BLOCK);
        for _ in 0..2 {
            let error = blocks.read(0, &mut [0; 9], |range| Ok(made(range)));
            let told = error.unwrap_err().to_string();
            assert!(
                told.contains("has no room") && told.contains("TMPDIR"),
                "{told}"
            );
        }
        assert_eq!(blocks.cache.table().free, [0]);
    }

    #[test]
    fn a_file_that_is_closed_makes_room() {
        let cache = Arc::new(Cache::new(4 * BLOCK).unwrap());
        for _ in 0..3 {
            let blocks = Blocks::in_cache(Arc::clone(&cache), 4 * BLOCK);
            let mut into = vec![0; 4 * BLOCK as usize];
            blocks.read(0, &mut into, |range| Ok(made(range))).unwrap();
            assert_eq!(cache.table().blocks.len(), 4);
            drop(blocks);
            let table = cache.table();
            assert!(table.blocks.is_empty() && table.idle.is_empty());
        }
        assert_eq!(cache.table().slots.len(), 4);
    }
}
