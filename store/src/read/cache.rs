//! The cache of open shards. Local shards are mapped; remote ones are fetched whole, into memory or into
//! a folder that processes share. Their total size stays below a limit.

pub(crate) mod folder;
pub(crate) mod ledger;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};

use crate::read::fetch::Fetcher;
use crate::read::io_statistics::{Counters, IoStatistics};
use crate::shard::{self, ShardData};
use crate::threads::blocking;
use crate::{Compression, Error, Location, Manifest, Result, Shard, ShardProvider};

use crate::manifest::ShardId;
use folder::Folder;
use ledger::{CacheLedger, WhenFull};

/// Bytes of shards that are held in memory unless said otherwise.
pub const DEFAULT_CACHE_BYTES: u64 = 4 << 30;

/// Options of the cache of a data set's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// Bytes of shards in memory: those that are fetched, and those that must be decompressed.
    pub memory: u64,
    /// A folder for shards that are fetched, and the bytes that it may take. Processes may share it,
    /// at the same time and one after another. Uncompressed shards in it take no other memory. It is
    /// made for this user alone (mode 700); a group shares one on purpose that has its bit (`chgrp GROUP
    /// cache; chmod 2770 cache`), and any other that others can write to is refused.
    pub folder: Option<(PathBuf, u64)>,
    /// Whether uncompressed local shards, and the folder's, are mapped into memory. Mapped files take no
    /// other memory and are not copied; but a file that is truncated while it is mapped ends the process
    /// with a bus error. Read instead, they take `memory`, and such a file is an error that names it.
    pub map: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            memory: DEFAULT_CACHE_BYTES,
            folder: None,
            map: true,
        }
    }
}

type Cell = Arc<OnceCell<Arc<ShardData>>>;

/// Shards in use or used lately.
#[derive(Debug)]
pub(crate) struct ShardCache {
    root: Location,
    manifest: Arc<Manifest>,
    /// Makes the shards that are not there yet, for a data set on demand.
    origin: Option<Arc<dyn ShardProvider>>,
    columns: SchemaRef,
    constant_columns: SchemaRef,
    folder: Option<Folder>,
    /// Whether shards are local files that are mapped, and not fetched.
    maps: bool,
    fetcher: Fetcher,
    /// Requests to the store that had been made again before this.
    retried: u64,
    ledger: Mutex<CacheLedger<Cell>>,
    /// Rung whenever a lease ends.
    ended: Notify,
}

/// Shards that stay open until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    cache: Arc<ShardCache>,
    shards: Vec<(ShardId, Cell)>,
}

impl ShardCache {
    pub(crate) fn new(
        root: Location,
        manifest: Arc<Manifest>,
        origin: Option<Arc<dyn ShardProvider>>,
        options: CacheOptions,
    ) -> Result<Arc<Self>> {
        let schema = &manifest.schema;
        let columns = |channels: &[String]| shard::columns(&schema.grid, channels, manifest.dtype);
        let folder = options.folder.filter(|_| root.local_path().is_none());
        // Files of the folder that are mapped take its bytes, not memory's.
        let limit = match (&folder, manifest.compression) {
            (Some((_, limit)), Compression::None) if options.map => *limit,
            _ => options.memory,
        };
        // What is decompressed takes memory of its own.
        let kept = match manifest.compression {
            Compression::None => options.memory,
            _ => options.memory / 8,
        };
        Ok(Arc::new(Self {
            columns: columns(&schema.channels()),
            constant_columns: columns(&schema.constant_channels()),
            folder: folder
                .map(|(path, limit)| Folder::open(path, limit, options.map))
                .transpose()?,
            fetcher: Fetcher::new(Arc::new(Counters::default()), kept),
            ledger: Mutex::new(CacheLedger::new(limit)),
            ended: Notify::new(),
            maps: options.map && root.local_path().is_some(),
            retried: root.retries(),
            root,
            manifest,
            origin,
        }))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.fetcher.counters
    }

    pub(crate) fn io_statistics(&self) -> IoStatistics {
        self.counters().held(self.ledger().peak());
        let mut traffic = self.counters().read();
        traffic.retries += self.root.retries() - self.retried;
        traffic
    }

    /// Opens shards, each named once, and begins to fetch those that are not there.
    ///
    /// # Errors
    /// [`Error::Budget`] when they could never be held at once.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        shards: &[ShardId],
        room: WhenFull,
    ) -> Result<Lease> {
        let wanted = self.costs(shards)?;
        loop {
            // Before the look at the ledger, lest a bell is missed.
            let ended = self.ended.notified();
            if let Some(lease) = self.try_lease(&wanted, room) {
                return Ok(lease);
            }
            tracing::debug!(root = %self.root, shards = wanted.len(), limit = self.limit(), "waits for memory that other shards hold");
            ended.await;
        }
    }

    /// What shards take while they are held; an error where they could never be.
    pub(crate) fn costs(&self, shards: &[ShardId]) -> Result<Vec<(ShardId, u64)>> {
        let (mut wanted, mut needed) = (Vec::new(), 0_u64);
        for &id in shards {
            let bytes = self.cost(id, self.file(id)?);
            needed = needed.saturating_add(bytes);
            wanted.push((id, bytes));
        }
        let limit = self.limit();
        match needed <= limit {
            true => Ok(wanted),
            false => Err(Error::Budget {
                root: self.root.to_string(),
                needed,
                limit,
            }),
        }
    }

    fn try_lease(self: &Arc<Self>, wanted: &[(ShardId, u64)], room: WhenFull) -> Option<Lease> {
        let grant = self.ledger().lease(wanted, room)?;
        let counters = self.counters();
        Counters::add(&counters.misses, grant.missing.len() as u64);
        Counters::add(&counters.hits, (wanted.len() - grant.missing.len()) as u64);
        Some(Lease {
            cache: Arc::clone(self),
            shards: grant.shards,
        })
    }

    fn ledger(&self) -> MutexGuard<'_, CacheLedger<Cell>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may be held.
    pub(crate) fn limit(&self) -> u64 {
        self.ledger().limit()
    }

    /// A file's record.
    pub(crate) fn file(&self, id: ShardId) -> Result<&Shard> {
        let held = self.manifest.split(id.split)?;
        let file = match id.index {
            Some(index) => held.shards.get(index),
            None => held.constants.as_ref(),
        };
        file.ok_or_else(|| Error::malformed(&self.root, format!("it has no shard {id}")))
    }

    /// Bytes that a file takes while it is held. Mapped files are the system's to keep or drop.
    fn cost(&self, id: ShardId, file: &Shard) -> u64 {
        match (self.manifest.compression, self.maps) {
            (Compression::None, true) => 0,
            (Compression::None, false) if self.origin.is_none() => file.bytes,
            _ => (file.rows as u64).saturating_mul(row_bytes(self.columns_of(id))),
        }
    }

    fn columns_of(&self, id: ShardId) -> &SchemaRef {
        match id.index {
            Some(_) => &self.columns,
            None => &self.constant_columns,
        }
    }

    /// Whether shards are mapped, and not fetched.
    pub(crate) fn maps(&self) -> bool {
        self.maps
    }

    pub(crate) fn origin(&self) -> Option<&Arc<dyn ShardProvider>> {
        self.origin.as_ref()
    }

    /// The shard's rows. Its checksum is compared whenever it is opened, so damage gets no further;
    /// damage that may have come on the way is looked for a second time.
    async fn open(self: &Arc<Self>, id: ShardId) -> Result<Arc<ShardData>> {
        let made;
        let file = match &self.origin {
            Some(origin) => {
                made = origin.shard(id).await?;
                &made
            }
            None => self.file(id)?,
        };
        match self.read(id, file).await {
            Err(Error::Damaged { .. }) if self.root.local_path().is_none() => {
                Counters::add(&self.counters().retries, 1);
                self.read(id, file).await
            }
            answer => answer,
        }
    }

    #[tracing::instrument(name = "open shard", level = "debug", skip_all, fields(root = %self.root, path = %file.path, bytes = file.bytes))]
    async fn read(&self, id: ShardId, file: &Shard) -> Result<Arc<ShardData>> {
        let place = self.root.join(&file.path);
        let opening = ShardCheck {
            shard: file.clone(),
            columns: self.columns_of(id).clone(),
            object: place.to_string(),
        };
        match (place.local_path().filter(|_| self.maps), &self.folder) {
            (Some(path), _) => {
                opening
                    .run(move |opening| opening.checked(map(&path)?))
                    .await
            }
            (None, Some(folder)) => {
                let bytes = folder.get(&place, file, &self.fetcher).await?;
                opening.run(|_| Ok(bytes)).await
            }
            (None, None) => {
                let bytes = self.fetcher.whole(&place, file.bytes).await?;
                opening.run(|opening| opening.checked(bytes)).await
            }
        }
    }
}

/// Bytes of a row, decompressed.
fn row_bytes(columns: &SchemaRef) -> u64 {
    let of = |kind: &DataType| match kind {
        DataType::FixedSizeList(item, cells) => {
            *cells as u64 * item.data_type().primitive_width().unwrap_or(0) as u64
        }
        kind => kind.primitive_width().unwrap_or(0) as u64,
    };
    columns
        .fields()
        .iter()
        .map(|field| of(field.data_type()))
        .sum()
}

impl Lease {
    /// Waits for one of its shards; nothing if it is not one of them.
    pub(crate) async fn open(&self, id: ShardId) -> Result<Option<Arc<ShardData>>> {
        let Some((_, cell)) = self.shards.iter().find(|(held, _)| *held == id) else {
            return Ok(None);
        };
        // Two who want the same shard wait for one reading of it.
        let shard = cell.get_or_try_init(|| self.cache.open(id)).await?;
        Ok(Some(Arc::clone(shard)))
    }

    /// Begins to open all that is not open. An error is found by those who ask for the shard.
    pub(crate) fn prefetch(&self) {
        for (id, cell) in &self.shards {
            if cell.initialized() {
                continue;
            }
            let (cache, id, cell) = (Arc::clone(&self.cache), *id, Arc::clone(cell));
            tokio::spawn(async move { drop(cell.get_or_try_init(|| cache.open(id)).await) });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let shards = self.shards.drain(..).map(|(id, _)| id);
        self.cache.ledger().release(shards);
        self.cache.ended.notify_waiters();
    }
}

/// What a file is checked against and read with.
#[derive(Debug, Clone)]
struct ShardCheck {
    shard: Shard,
    columns: SchemaRef,
    object: String,
}

impl ShardCheck {
    /// Decodes bytes: work for a processor, as their check is, not for the runtime's threads.
    async fn run(
        self,
        bytes: impl FnOnce(&Self) -> Result<Bytes> + Send + 'static,
    ) -> Result<Arc<ShardData>> {
        let work = move || self.decode(bytes(&self)?).map(Arc::new);
        blocking(work).await
    }

    fn checked(&self, bytes: Bytes) -> Result<Bytes> {
        self.shard.check(&bytes, &self.object)?;
        Ok(bytes)
    }

    fn decode(&self, bytes: Bytes) -> Result<ShardData> {
        let data = ShardData::decode(&Buffer::from(bytes), &self.columns, &self.object)?;
        if data.rows() == self.shard.rows {
            return Ok(data);
        }
        let (found, expected) = (data.rows(), self.shard.rows);
        let reason = format!("it has {found} rows, the manifest says {expected}");
        Err(Error::malformed(&self.object, reason))
    }
}

fn map(path: &Path) -> Result<Bytes> {
    #[expect(
        clippy::disallowed_methods,
        reason = "object_store has no memory maps, and they save a copy"
    )]
    let file = std::fs::File::open(path);
    file.and_then(|file| map_file(&file))
        .map_err(|source| Error::Map {
            path: path.to_owned(),
            source,
        })
}

fn map_file(file: &std::fs::File) -> std::io::Result<Bytes> {
    // SAFETY: the bytes are only read, and nobody may change them while they are mapped: of shards that
    // is the contract of `Dataset::open`, which this program keeps, since it replaces files by renaming;
    // files of the cache's folder are read-only and this user's own.
    #[expect(unsafe_code, reason = "a memory map cannot be had otherwise")]
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}
