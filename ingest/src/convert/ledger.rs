//! [`Ledger`]: the records of finished pieces, kept beside the data set until it is complete. With them an
//! ingest can be stopped at any moment, and divided among machines.
//!
//! ```text
//! ROOT/ingest/claim.json                   what is being made (the store's)
//! ROOT/ingest/STAMP/promise.json           how to make shards when they are first read
//! ROOT/ingest/STAMP/statistics/NNNNN.json  moments of a piece
//! ROOT/ingest/STAMP/SPLIT/NNNNN.json       a shard that is there
//! ```
//!
//! A record is written after the piece that it is about, completely or not at all. STAMP belongs to one work,
//! so records of others do not count. Listing the folder only saves requests for absent records: the list
//! may be older than the records.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wellspring_store::{self as store, Change, ChannelMoments, Location, Shard, ShardId};

use crate::findings::track::Track;
use crate::{Error, Result};

/// A shard that is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardRecord {
    pub(crate) shard: Shard,
    /// A checksum of what was read, for each row.
    pub(crate) digests: Vec<u64>,
    /// What was seen while it was filled, as far as there is something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tracks: Vec<Track>,
}

pub(crate) struct Ledger {
    root: Location,
    /// The folder of the records.
    folder: Location,
    /// Names of the records that were listed at the beginning.
    held: BTreeSet<String>,
}

/// The name of a piece's record.
pub(crate) fn piece(index: usize) -> String {
    format!("statistics/{index:05}")
}

impl Ledger {
    /// The records of a work.
    pub(crate) async fn of(change: &Change) -> Result<Self> {
        let folder = change.records();
        let listed = folder.list().await?.into_iter();
        let names = listed.filter_map(|place| place.below(&folder));
        Ok(Self {
            root: change.root().clone(),
            held: names
                .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
                .collect(),
            folder,
        })
    }

    /// The moments of a piece, if they were gathered.
    pub(crate) async fn moments(&self, piece: usize) -> Result<Option<Vec<ChannelMoments>>> {
        read(&self.place(&self::piece(piece))).await
    }

    /// Whether a record was listed at the beginning.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.held.contains(name)
    }

    /// The record of a shard, if that was listed and the shard is there.
    pub(crate) async fn shard(&self, id: ShardId) -> Result<Option<ShardRecord>> {
        match self.holds(&id.to_string()) {
            true => self.found(id).await,
            false => Ok(None),
        }
    }

    /// The record of a shard, if the shard is there.
    pub(crate) async fn found(&self, id: ShardId) -> Result<Option<ShardRecord>> {
        let place = self.place(&id.to_string());
        let Some(record) = read::<ShardRecord>(&place).await? else {
            return Ok(None);
        };
        let place = self.root.join(&record.shard.path);
        match place.size().await {
            Ok(bytes) => Ok((bytes == record.shard.bytes).then_some(record)),
            Err(store::Error::Io {
                source: object_store::Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn put(&self, name: &str, record: &impl Serialize) -> Result<()> {
        Ok(self.place(name).put(json(record)?).await?)
    }

    fn place(&self, name: &str) -> Location {
        self.folder.join(&format!("{name}.json"))
    }
}

/// How the shards of the work at `root` are made when they are first read, if they are; earlier versions said
/// it for whatever work there was.
pub(crate) async fn promised<T: DeserializeOwned>(root: &Location) -> Result<Option<T>> {
    let Some(records) = Change::claimed(root).await? else {
        return Ok(None);
    };
    match stated(&records.join(PROMISE)).await? {
        None => stated(&root.join("ingest").join(PROMISE)).await,
        promise => Ok(promise),
    }
}

/// Writes the promise.
pub(crate) async fn promise(change: &Change, promise: &impl Serialize) -> Result<()> {
    Ok(change.records().join(PROMISE).put(json(promise)?).await?)
}

const PROMISE: &str = "promise.json";

fn json(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| Error::Task {
        reason: error.to_string(),
    })
}

/// Reads a promise; one that cannot be read is an error, and not taken for absent.
async fn stated<T: DeserializeOwned>(place: &Location) -> Result<Option<T>> {
    let Some(bytes) = place.get_opt().await? else {
        return Ok(None);
    };
    let record = serde_json::from_slice(&bytes).map_err(|source| Error::Record {
        object: place.to_string(),
        source,
    })?;
    Ok(Some(record))
}

/// Reads a record of finished work; a damaged one does not count, and its work is done again.
async fn read<T: DeserializeOwned>(place: &Location) -> Result<Option<T>> {
    let bytes = place.get_opt().await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
