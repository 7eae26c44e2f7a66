//! Open shards: local ones mapped into memory, remote ones fetched whole and kept under a budget.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::shard::ShardData;
use crate::{Error, Location, Result, Shard};

/// Shards in use or used lately.
#[derive(Debug)]
pub(crate) struct ShardCache {
    root: Location,
    budget: u64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    shards: HashMap<String, Entry>,
    /// Bytes fetched and held.
    held: u64,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    shard: Arc<OnceCell<Arc<ShardData>>>,
    bytes: u64,
    used: u64,
}

impl ShardCache {
    pub(crate) fn new(root: Location, budget: u64) -> Self {
        Self {
            root,
            budget,
            open: Mutex::default(),
        }
    }

    /// The shard's rows. Its checksum is compared the first time, so damage never gets further.
    pub(crate) async fn get(&self, shard: &Shard, columns: &SchemaRef) -> Result<Arc<ShardData>> {
        let cell = self.cell(shard);
        let open = cell
            .get_or_try_init(|| open(self.root.join(&shard.path), shard.clone(), columns.clone()));
        open.await.cloned()
    }

    /// One cell per shard: two who want the same shard wait for one reading of it.
    fn cell(&self, shard: &Shard) -> Arc<OnceCell<Arc<ShardData>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        if let Some(entry) = open.shards.get_mut(&shard.path) {
            entry.used = now;
            return Arc::clone(&entry.shard);
        }
        // Mapped files are the system's to keep or drop.
        let bytes = if self.root.local_path().is_some() {
            0
        } else {
            shard.bytes
        };
        open.make_room(self.budget.saturating_sub(bytes));
        open.held += bytes;
        let cell = Arc::new(OnceCell::new());
        let entry = Entry {
            shard: Arc::clone(&cell),
            bytes,
            used: now,
        };
        open.shards.insert(shard.path.clone(), entry);
        cell
    }
}

impl Open {
    /// Forgets the shards that were used longest ago until no more than `budget` bytes are held.
    fn make_room(&mut self, budget: u64) {
        while self.held > budget {
            let oldest = self
                .shards
                .iter()
                .filter(|(_, entry)| entry.bytes > 0)
                .min_by_key(|(_, entry)| entry.used);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            if let Some(entry) = self.shards.remove(&path) {
                self.held -= entry.bytes;
            }
        }
    }
}

async fn open(place: Location, shard: Shard, columns: SchemaRef) -> Result<Arc<ShardData>> {
    let bytes = match place.local_path() {
        Some(_) => None,
        None => Some(place.get().await?),
    };
    let opened = tokio::task::spawn_blocking(move || {
        let bytes = match (bytes, place.local_path()) {
            (Some(bytes), _) => bytes,
            (None, path) => map(&path.unwrap_or_default())?,
        };
        decode(bytes, &shard, &columns, &place.to_string()).map(Arc::new)
    });
    opened.await.map_err(|source| Error::Task {
        reason: source.to_string(),
    })?
}

/// Checks bytes against the manifest's record and decodes them.
pub(crate) fn decode(
    bytes: Bytes,
    shard: &Shard,
    columns: &SchemaRef,
    object: &str,
) -> Result<ShardData> {
    shard.check(&bytes, object)?;
    let data = ShardData::decode(&Buffer::from(bytes), columns, object)?;
    if data.rows() != shard.rows {
        let reason = format!(
            "it has {} rows, the manifest says {}",
            data.rows(),
            shard.rows
        );
        return Err(Error::malformed(object, reason));
    }
    Ok(data)
}

fn map(path: &Path) -> Result<Bytes> {
    let failed = |source| Error::Map {
        path: path.to_owned(),
        source,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "object_store has no memory maps, and they save a copy"
    )]
    let file = std::fs::File::open(path).map_err(failed)?;
    // SAFETY: the bytes are only read. Shards are written once and replaced by renaming, so none
    // changes under the map unless somebody truncates it by hand.
    #[expect(unsafe_code, reason = "a memory map cannot be had otherwise")]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
    Ok(Bytes::from_owner(map))
}
