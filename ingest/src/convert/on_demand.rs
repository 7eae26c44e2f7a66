//! Data sets on demand: their shards are made from the source when they are first read, so the first epoch
//! of a training converts the data that it reads.
//!
//! A promise is an ingest that has its statistics but no shards yet; `promise.json` among its records has
//! everything that is needed to continue. Shards that a reader makes are recorded as in an ingest. So an
//! [`ingest`] with the same options makes the rest, readers in other processes find existing shards, and the
//! process that makes the last shard commits the data set, with the same bytes as any ingest.
//!
//! [`ingest`]: crate::ingest

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wellspring_store::{
    CacheOptions, Compression, Dataset, Dtype, Error as StoreError, Location, Manifest,
    Normalization, Reporter, Selection, Shard, ShardId, ShardProvider, Silent, Transform,
};

use crate::catalogue::options::{IngestOptions, Part};
use crate::convert::ledger;
use crate::convert::records;
use crate::convert::work::{Work, WorkStart, tell_bounds};
use crate::convert::writing::Output;
use crate::{Error, Result};

/// Promises a data set at `root`: gathers its statistics, unless the options name them, and leaves the shards
/// to be made on demand after [`open`]. Gives the manifest if the data set exists already.
///
/// # Errors
/// As [`ingest`](crate::ingest).
pub async fn promise(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Option<Manifest>> {
    let work = match Work::begin(source, root, options, reporter).await? {
        WorkStart::Work(work) => work,
        WorkStart::Done(manifest) => return Ok(Some(*manifest)),
    };
    work.gather(Part::WHOLE, reporter).await?;
    tell_bounds(&work.output().await?.writer, reporter);
    let promise = Promise {
        source: source.pinned().await?.to_string(),
        stats: options.stats.as_ref().map(Location::to_string),
        selection: options.selection.clone(),
        dtype: options.dtype,
        compression: options.compression,
        transforms: options.transforms.clone(),
        normalization: options.normalization,
        shard_bytes: options.shard_bytes,
    };
    ledger::promise(&work.change, &promise).await?;
    Ok(None)
}

/// Opens a data set, complete or on demand; `locate` finds a source by its path or URL.
///
/// # Errors
/// As [`Dataset::open_with`]; for a promised one also as [`ingest`](crate::ingest), and
/// [`Error::Unlike`] when its source has changed since.
pub async fn open(
    root: &Location,
    cache: CacheOptions,
    locate: impl Fn(&str) -> wellspring_store::Result<Location>,
    reporter: &dyn Reporter,
) -> Result<Dataset> {
    // Before the manifest: a data set that is promised anew stays until the new one is whole.
    let promise = match ledger::promised::<Promise>(root).await {
        Ok(promise) => promise,
        Err(Error::Store(StoreError::Claim { .. })) => None,
        Err(error) => return Err(error),
    };
    let Some(promise) = promise else {
        return Ok(Dataset::open_with(root, cache).await?);
    };
    let options = promise.options(&locate)?;
    let begun = Work::begin(&locate(&promise.source)?, root, &options, reporter).await;
    let work = match begun {
        Ok(WorkStart::Work(work)) => work,
        Ok(WorkStart::Done(_)) => return Ok(Dataset::open_with(root, cache).await?),
        Err(Error::Store(StoreError::Underway { .. } | StoreError::Exists { .. })) => {
            return Err(Error::Unlike {
                source_url: promise.source,
                root: root.to_string(),
                reason:
                    "it, the statistics that were given, or the data set that it was to replace \
                         changed since it was promised; promise it again and ask to overwrite, or \
                         purge what is there (wellspring drop DATASET --purge)"
                        .into(),
            });
        }
        Err(error) => return Err(error),
    };
    let (outline, origin) = OnDemand::new(*work).await?;
    if origin.missing() == 0 {
        origin.commit(reporter).await?;
        return Ok(Dataset::open_with(root, cache).await?);
    }
    Ok(Dataset::of_origin(root, outline, Arc::new(origin), cache)?)
}

/// Everything that is needed to make the shards, except for the location of the data set.
#[derive(Debug, Serialize, Deserialize)]
struct Promise {
    source: String,
    stats: Option<String>,
    selection: Selection,
    dtype: Dtype,
    compression: Compression,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    transforms: BTreeMap<String, Transform>,
    normalization: Normalization,
    shard_bytes: u64,
}

impl Promise {
    fn options(
        &self,
        locate: impl Fn(&str) -> wellspring_store::Result<Location>,
    ) -> Result<IngestOptions> {
        Ok(IngestOptions {
            dtype: self.dtype,
            compression: self.compression,
            transforms: self.transforms.clone(),
            normalization: self.normalization,
            stats: self.stats.as_deref().map(locate).transpose()?,
            selection: self.selection.clone(),
            shard_bytes: self.shard_bytes,
            ..IngestOptions::default()
        })
    }
}

/// The readers of a shard have no reporter, so notes go to the log.
struct LogNotes;

impl Reporter for LogNotes {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

/// Makes the shards of a promised data set.
struct OnDemand {
    work: Work,
    output: Output,
    /// As many shards are made at the same time as memory allows.
    turns: Semaphore,
    shards: Mutex<Shards>,
}

/// The files of the data set.
struct Shards {
    made: BTreeMap<ShardId, Shard>,
    missing: BTreeSet<ShardId>,
}

impl OnDemand {
    /// The outline of the data set, and what makes its shards.
    async fn new(work: Work) -> Result<(Manifest, Self)> {
        let output = work.output().await?;
        let Output { writer, layout } = &output;
        let splits = work.catalogue.splits.keys().copied();
        let trajectories =
            splits.map(|split| (split, records::trajectories(&work.catalogue, split)));
        let outline = writer.outline(trajectories.collect())?;
        let rows = layout.shards().into_iter().map(|id| layout.row_count(id));
        let largest = rows.max().map(|rows| rows as u64);
        let largest = largest.unwrap_or(1) * writer.row_bytes() as u64;
        let files = layout.files().into_iter();
        let missing = files.filter(|id| !work.ledger.holds(&id.to_string()));
        let origin = Self {
            turns: Semaphore::new(work.options.at_once(largest)),
            shards: Mutex::new(Shards {
                made: BTreeMap::new(),
                missing: missing.collect(),
            }),
            work,
            output,
        };
        Ok((outline, origin))
    }

    async fn find_or_make(&self, id: ShardId) -> Result<Shard> {
        if let Some(shard) = self.shards().made.get(&id) {
            return Ok(shard.clone());
        }
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let ledger = &self.work.ledger;
        let shard = match ledger.found(id).await? {
            Some(record) => record.shard,
            None => match self.committed(id).await? {
                Some(shard) => shard,
                None => {
                    self.make(id).await?;
                    let record = ledger.found(id).await?;
                    let gone = || Error::Unfinished {
                        root: self.work.root().to_string(),
                        missing: format!("{id} is gone as soon as it was written"),
                    };
                    record.ok_or_else(gone)?.shard
                }
            },
        };
        let is_last = {
            let mut shards = self.shards();
            shards.made.insert(id, shard.clone());
            shards.missing.remove(&id) && shards.missing.is_empty()
        };
        if is_last {
            self.commit(&LogNotes).await?;
        }
        Ok(shard)
    }

    async fn commit(&self, reporter: &dyn Reporter) -> Result<Manifest> {
        let committed = self.work.commit(&self.output, reporter).await;
        self.work.settled(committed).await
    }

    /// The shard of a data set that another process has finished meanwhile.
    async fn committed(&self, id: ShardId) -> Result<Option<Shard>> {
        let Some(manifest) = self.work.made_by_another().await else {
            return Ok(None);
        };
        let held = manifest.splits.get(&id.split);
        let shard = held.and_then(|held| match id.index {
            Some(index) => held.shards.get(index),
            None => held.constants.as_ref(),
        });
        Ok(shard.cloned())
    }

    async fn make(&self, id: ShardId) -> Result<()> {
        let writing = self.work.writing(&self.output, &Silent);
        if id.index.is_none() {
            let nothing = async |shard| Ok(shard);
            return writing.constants(id.split, nothing).await;
        }
        writing.shards(&[id]).await?;
        tracing::info!(root = %self.work.root(), shard = %id, "made a shard");
        Ok(())
    }

    fn shards(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ShardProvider for OnDemand {
    async fn shard(&self, id: ShardId) -> wellspring_store::Result<Shard> {
        let made = self.find_or_make(id).await;
        made.map_err(|error| wellspring_store::Error::ShardProvider {
            object: format!("{id} of {}", self.work.root()),
            source: Box::new(error),
        })
    }

    fn missing(&self) -> usize {
        self.shards().missing.len()
    }
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand")
            .field("root", self.work.root())
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}
