//! What an ingest has done so far, kept beside the data set until it is finished: so it can be
//! stopped at any moment and done by many machines.
//!
//! ```text
//! ROOT/ingest/claim.json                 what is being made; whoever makes something else is refused
//! ROOT/ingest/promise.json               how to make shards when they are first read
//! ROOT/ingest/KEY/statistics/NNNNN.json  moments of a piece
//! ROOT/ingest/KEY/SPLIT/NNNNN.json       a shard that is there
//! ```
//!
//! A record is written after what it is about, whole or not at all. KEY is the work's own name, so that
//! what is left of another counts for nothing. A list only spares requests for records that are not
//! there: it may be older than they are.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wellspring_store::{self as store, ChannelMoments, Location, Shard, Split};

use crate::findings::track::Track;
use crate::{Error, Result};

/// What is being made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// A name for sources and options together.
    pub(crate) key: String,
    /// Files of the data set that is being replaced.
    pub(crate) stale: Vec<String>,
}

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
    /// Of the records.
    folder: Location,
    /// Names of the records that were listed at the beginning.
    held: BTreeSet<String>,
}

/// The name of a piece's record.
pub(crate) fn piece(index: usize) -> String {
    format!("statistics/{index:05}")
}

/// The name of a shard's record.
pub(crate) fn shard(split: Split, index: usize) -> String {
    format!("{split}/{index:05}")
}

/// The name of the record of a split's constants.
pub(crate) fn constants(split: Split) -> String {
    format!("{split}/constants")
}

impl Ledger {
    /// Claims a place for what is to be made, or goes on with it.
    ///
    /// # Errors
    /// [`Error::Underway`] when something else is being made there and may not be replaced.
    pub(crate) async fn claim(
        root: &Location,
        claim: &Claim,
        replace: bool,
    ) -> Result<(Self, Claim)> {
        let folder = root.join("ingest");
        let place = folder.join("claim.json");
        let ours = json(claim)?;
        while !place.put_new(ours.clone()).await? {
            match stated::<Claim>(&place).await {
                Ok(Some(found)) if found.key == claim.key => {
                    return Ok((Self::open(root, &found).await?, found));
                }
                Ok(Some(found)) if !replace => {
                    return Err(Error::Underway {
                        root: root.to_string(),
                        found: found.key,
                        wanted: claim.key.clone(),
                    });
                }
                // It was there, and is gone.
                Ok(None) => {}
                Ok(Some(_)) => clear(&folder).await?,
                Err(Error::Record { .. }) if replace => clear(&folder).await?,
                Err(error) => return Err(error),
            }
        }
        Ok((Self::open(root, claim).await?, claim.clone()))
    }

    async fn open(root: &Location, claim: &Claim) -> Result<Self> {
        let folder = root.join("ingest").join(&claim.key);
        let listed = folder.list().await?.into_iter();
        let names = listed.filter_map(|place| place.below(&folder));
        Ok(Self {
            root: root.clone(),
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
    pub(crate) async fn shard(&self, name: &str) -> Result<Option<ShardRecord>> {
        match self.holds(name) {
            true => self.found(name).await,
            false => Ok(None),
        }
    }

    /// The record of a shard, if the shard is there.
    pub(crate) async fn found(&self, name: &str) -> Result<Option<ShardRecord>> {
        let Some(record) = read::<ShardRecord>(&self.place(name)).await? else {
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

    /// Gives up a work whose source is refused: its shards go, then its records, then the claim. Only the
    /// claim of another work stays, and of one that replaces a data set, whose files it remembers.
    pub(crate) async fn give_up(&self, claim: &Claim) -> Result<()> {
        if !claim.stale.is_empty() {
            return Ok(());
        }
        for place in self.folder.list().await? {
            if let Some(record) = read::<ShardRecord>(&place).await? {
                self.root.join(&record.shard.path).delete().await?;
            }
        }
        release(&self.root, &claim.key).await
    }

    pub(crate) async fn put(&self, name: &str, record: &impl Serialize) -> Result<()> {
        Ok(self.place(name).put(json(record)?).await?)
    }

    fn place(&self, name: &str) -> Location {
        self.folder.join(&format!("{name}.json"))
    }
}

/// How the shards of the work at `root` are made when they are first read, if they are.
pub(crate) async fn promised<T: DeserializeOwned>(root: &Location) -> Result<Option<T>> {
    stated(&root.join(PROMISE)).await
}

/// Says so.
pub(crate) async fn promise(root: &Location, promise: &impl Serialize) -> Result<()> {
    Ok(root.join(PROMISE).put(json(promise)?).await?)
}

const PROMISE: &str = "ingest/promise.json";

/// The files of the data set that a work replaced, if that is the work that was done here.
pub(crate) async fn stale(root: &Location, key: &str) -> Result<Vec<String>> {
    let claim: Option<Claim> = read(&root.join("ingest/claim.json")).await?;
    let own = claim.filter(|claim| claim.key == key);
    Ok(own.map(|claim| claim.stale).unwrap_or_default())
}

/// Removes the claim of a work, and all records.
async fn release(root: &Location, key: &str) -> Result<()> {
    let folder = root.join("ingest");
    let claim: Option<Claim> = read(&folder.join("claim.json")).await?;
    match claim.is_some_and(|claim| claim.key == key) {
        true => clear(&folder).await,
        false => Ok(()),
    }
}

/// Forgets everything that was recorded, the claim last.
pub(crate) async fn clear(folder: &Location) -> Result<()> {
    let claim = folder.join("claim.json");
    for place in folder.list().await? {
        if place.path() != claim.path() {
            place.delete().await?;
        }
    }
    Ok(claim.delete().await?)
}

fn json(record: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| Error::Task {
        reason: error.to_string(),
    })
}

/// What a claim or a promise says, which nobody may take for absent.
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

/// A record of work that was done; one that is damaged counts for nothing, and the work is done again.
async fn read<T: DeserializeOwned>(place: &Location) -> Result<Option<T>> {
    let bytes = place.get_opt().await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
