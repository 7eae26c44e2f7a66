//! Builds the manifest's entries from the records of an ingest.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{
    DatasetWriter, Location, ShardId, SourceRecord, Split, SplitManifest, Trajectory,
};
use xxhash_rust::xxh3::Xxh3;

use crate::catalogue::{Catalogue, Entry, EntryId};
use crate::convert::layout::ShardLayout;
use crate::convert::ledger::{Ledger, ShardRecord};
use crate::findings::Finding;
use crate::findings::track::Track;
use crate::findings::twins::{Member, twins};
use crate::{Error, Result};

/// Records that are read at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// What is recorded of a split.
pub(crate) struct SplitRecords {
    shards: Vec<ShardRecord>,
    constants: Option<ShardRecord>,
}

impl SplitRecords {
    pub(crate) fn manifest(&self, trajectories: Vec<Trajectory>) -> SplitManifest {
        SplitManifest {
            trajectories,
            shards: self
                .shards
                .iter()
                .map(|record| record.shard.clone())
                .collect(),
            constants: self.constants.as_ref().map(|record| record.shard.clone()),
        }
    }
}

impl SplitRecords {
    /// The trajectories by the checksums of their values.
    fn members(&self, catalogue: &Catalogue, split: Split) -> Vec<Member> {
        let mut digests = self.shards.iter().flat_map(|record| &record.digests);
        let mut constants = self.constants.iter().flat_map(|record| &record.digests);
        let entries = catalogue.splits[&split].iter();
        let member = |entry: &Entry| {
            let mut sum = Xxh3::new();
            let own = digests.by_ref().take(entry.trajectory.frames);
            own.chain(constants.by_ref().take(1))
                .for_each(|digest| sum.update(&digest.to_le_bytes()));
            Member {
                split,
                file: catalogue.files[entry.file].below.clone(),
                sample: entry.sample,
                digest: sum.digest(),
            }
        };
        entries.map(member).collect()
    }
}

pub(crate) fn trajectories(catalogue: &Catalogue, split: Split) -> Vec<Trajectory> {
    let entries = catalogue.splits[&split].iter();
    entries.map(|entry| entry.trajectory.clone()).collect()
}

/// The records of all shards, as far as they are there.
pub(crate) struct Records {
    splits: BTreeMap<Split, SplitRecords>,
    missing: Vec<ShardId>,
}

impl Records {
    /// The records, if none is missing.
    pub(crate) fn whole(self, root: &Location) -> Result<BTreeMap<Split, SplitRecords>> {
        match self.missing.as_slice() {
            [] => Ok(self.splits),
            missing => Err(unfinished(root, missing)),
        }
    }
}

/// Reads the records of all files of a layout.
pub(crate) async fn all(layout: &ShardLayout, ledger: &Ledger) -> Result<Records> {
    let files = layout.files();
    // Collected, lest the closure's lifetimes keep the whole from being sent to another thread.
    let readings: Vec<_> = files.iter().map(|&id| ledger.found(id)).collect();
    let found: Vec<Option<ShardRecord>> = futures::stream::iter(readings)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let (mut splits, mut missing) = (BTreeMap::new(), Vec::new());
    for (id, found) in files.into_iter().zip(found) {
        let held = splits.entry(id.split).or_insert(SplitRecords {
            shards: Vec::new(),
            constants: None,
        });
        match (found, id.index) {
            (None, _) => missing.push(id),
            (Some(record), None) => held.constants = Some(record),
            (Some(record), Some(_)) => held.shards.push(record),
        }
    }
    Ok(Records { splits, missing })
}

/// The record of each source file, in the order of its trajectories.
pub(crate) fn sources(
    catalogue: &Catalogue,
    writer: &DatasetWriter,
    records: &BTreeMap<Split, SplitRecords>,
) -> Vec<SourceRecord> {
    let mut sums = vec![Xxh3::new(); catalogue.files.len()];
    let mut used = vec![false; catalogue.files.len()];
    for (split, held) in records {
        let mut digests = held.shards.iter().flat_map(|record| &record.digests);
        let mut constants = held.constants.iter().flat_map(|record| &record.digests);
        for entry in &catalogue.splits[split] {
            used[entry.file] = true;
            let own = digests.by_ref().take(entry.trajectory.frames);
            for digest in own.chain(constants.by_ref().take(1)) {
                sums[entry.file].update(&digest.to_le_bytes());
            }
        }
    }
    let files = catalogue.files.iter().zip(&catalogue.described);
    files
        .zip(sums.iter().zip(used))
        .filter(|(_, (_, used))| *used)
        .map(|((file, (bytes, structure)), (sum, _))| SourceRecord {
            name: file.below.clone(),
            split: file.split,
            bytes: *bytes,
            checksum: format!("{:016x}", sum.digest()),
            structure: writer.attached(structure),
        })
        .collect()
}

/// Findings about the frames that were read, and about trajectories that exist twice.
pub(crate) fn findings(
    catalogue: &Catalogue,
    records: &BTreeMap<Split, SplitRecords>,
) -> Result<Vec<Finding>> {
    let (mut findings, mut members) = (Vec::new(), Vec::new());
    for (&split, held) in records {
        let mut tracks: BTreeMap<(usize, usize), Track> = BTreeMap::new();
        let recorded = held.shards.iter().chain(&held.constants);
        for track in recorded.flat_map(|record| &record.tracks) {
            match tracks.get_mut(&(track.entry, track.field)) {
                Some(before) => before.join(track.clone()),
                None => drop(tracks.insert((track.entry, track.field), track.clone())),
            }
        }
        for (&(entry, field), track) in &tracks {
            let id = EntryId {
                split,
                index: entry,
            };
            let named = catalogue.named(id, field);
            let found = track.findings(&named).into_iter();
            let passed = found.map(|finding| catalogue.judge.pass(finding));
            findings.extend(passed.collect::<Result<Vec<_>>>()?);
        }
        members.extend(held.members(catalogue, split));
    }
    findings.extend(twins(&members));
    Ok(findings)
}

/// Stores what the sources hold beside fields, where it is not there or damaged.
pub(crate) async fn attach(
    catalogue: &Catalogue,
    writer: &DatasetWriter,
    root: &Location,
) -> Result<()> {
    for (index, (_, structure)) in catalogue.described.iter().enumerate() {
        let attached = writer.attached(structure);
        if attached.fetch(root).await.is_err() {
            let place = root.join(&attached.path);
            place.put(catalogue.contents(index).await?).await?;
        }
    }
    Ok(())
}

fn unfinished(root: &Location, missing: &[ShardId]) -> Error {
    let some: Vec<String> = missing.iter().take(5).map(ShardId::to_string).collect();
    let some = some.join(" ");
    let more = if missing.len() > 5 { " ..." } else { "" };
    Error::Unfinished {
        root: root.to_string(),
        missing: format!("{} shards are missing ({some}{more})", missing.len()),
    }
}
