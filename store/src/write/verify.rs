//! Verifies every byte of a data set against its manifest, and lists everything that is wrong.

use futures::StreamExt as _;

use crate::manifest::sealed;
use crate::shard::{self, ShardData};
use crate::{Attachment, Error, Head, Location, Manifest, Reporter, Result, Split, SplitManifest};

/// Files that are read at the same time.
const AT_ONCE: usize = 4;

/// The object in which something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A shard of a split, by its index.
    Shard(Split, usize),
    /// The constants of a split.
    Constants(Split),
    /// What a source holds beside its fields, by the source's index.
    Structure(usize),
    /// An earlier manifest that was kept, by its path below the data set.
    Generation(String),
}

/// Something that is wrong.
#[derive(Debug)]
pub struct Flaw {
    /// The object that is wrong.
    pub place: Place,
    /// What is wrong, with the object's name.
    pub error: Error,
}

impl Flaw {
    /// Whether the object was not had, so that nothing is known of it: no permission, a store that does
    /// not answer. Others are damaged or missing.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        use object_store::Error::NotFound;
        match &self.error {
            Error::Io { source, .. } => !matches!(source, NotFound { .. }),
            Error::GaveUp { .. } | Error::Memory { .. } | Error::Task { .. } => true,
            _ => false,
        }
    }
}

/// Reads every byte of a data set and compares it with the manifest: sizes, checksums, columns, the
/// number and the order of rows; and earlier manifests with their own checksums. Gives everything that is
/// wrong, in the manifest's order.
///
/// # Errors
/// Only if the manifest itself cannot be read.
pub async fn verify(root: &Location, reporter: &dyn Reporter) -> Result<(Manifest, Vec<Flaw>)> {
    let place = root.join("manifest.json");
    let head = Head::load(root).await?;
    let manifest = head.manifest()?;
    if !sealed::check(&head.bytes(), &place.to_string())? {
        reporter.note(&format!(
            "{place} has no checksum of its own (it was edited, or written before there was one), so its \
             numbers are taken as they are; the next change of the data set gives it one"
        ));
    }
    let places = places(root, &manifest).await?;
    let total = places.iter().map(|place| size(&manifest, place)).sum();
    reporter.begin("verifying", Some(total), "bytes");
    let checks = places.into_iter().map(|place| async {
        let answer = check(root, &manifest, &place).await;
        reporter.advance(size(&manifest, &place));
        answer.err().map(|error| Flaw { place, error })
    });
    let flaws = futures::stream::iter(checks)
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    reporter.end();
    Ok((manifest, flaws))
}

async fn places(root: &Location, manifest: &Manifest) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for (&split, held) in &manifest.splits {
        places.extend((0..held.shards.len()).map(|index| Place::Shard(split, index)));
        places.extend(held.constants.is_some().then_some(Place::Constants(split)));
    }
    places.extend((0..sources(manifest).len()).map(Place::Structure));
    let kept = root.join("generations").list().await?;
    let kept = kept.iter().filter_map(|place| place.below(root));
    places.extend(kept.map(Place::Generation));
    Ok(places)
}

fn sources(manifest: &Manifest) -> Vec<&Attachment> {
    let made = manifest.provenance.iter().flat_map(|made| &made.sources);
    made.map(|source| &source.structure).collect()
}

fn size(manifest: &Manifest, place: &Place) -> u64 {
    match place {
        Place::Shard(split, index) => manifest.splits[split].shards[*index].bytes,
        Place::Constants(split) => {
            let constants = &manifest.splits[split].constants;
            constants.as_ref().map_or(0, |shard| shard.bytes)
        }
        Place::Structure(index) => sources(manifest)[*index].bytes,
        Place::Generation(_) => 0,
    }
}

async fn check(root: &Location, manifest: &Manifest, place: &Place) -> Result<()> {
    let (split, shard, constants) = match place {
        Place::Shard(split, index) => (split, &manifest.splits[split].shards[*index], false),
        Place::Constants(split) => match &manifest.splits[split].constants {
            Some(shard) => (split, shard, true),
            None => return Ok(()),
        },
        Place::Structure(index) => {
            return sources(manifest)[*index].fetch(root).await.map(drop);
        }
        Place::Generation(path) => return earlier(&root.join(path)).await,
    };
    let object = root.join(&shard.path);
    let bytes = object.get().await?;
    shard.check(&bytes, &object)?;
    let schema = &manifest.schema;
    let channels = match constants {
        true => schema.constant_channels(),
        false => schema.channels(),
    };
    let columns = shard::columns(&schema.grid, &channels, manifest.dtype);
    let data = ShardData::decode(&bytes.into(), &columns, &object.to_string())?;
    // Before a list is made of as many rows as the manifest claims.
    if data.rows() != shard.rows {
        let (found, expected) = (data.rows(), shard.rows);
        let reason = format!("it has {found} rows, not {expected}");
        return Err(Error::malformed(&object, reason));
    }
    let held = &manifest.splits[split];
    let expected = match constants {
        true => constant_rows(held),
        false => frame_rows(held, before(held, place), shard.rows),
    };
    rows(&data, &expected).map_err(|reason| Error::malformed(&object, reason))
}

async fn earlier(place: &Location) -> Result<()> {
    match place.get_opt().await? {
        Some(bytes) => Manifest::from_json(&bytes, &place.to_string()).map(drop),
        // Purged meanwhile.
        None => Ok(()),
    }
}

fn constant_rows(held: &SplitManifest) -> Vec<(usize, usize)> {
    (0..held.trajectories.len()).map(|row| (row, 0)).collect()
}

/// Rows of a split before those of a place.
fn before(held: &SplitManifest, place: &Place) -> usize {
    match place {
        Place::Shard(_, index) => held.shards[..*index].iter().map(|shard| shard.rows).sum(),
        _ => 0,
    }
}

/// Trajectory and step of some rows of a split.
fn frame_rows(held: &SplitManifest, mut skip: usize, rows: usize) -> Vec<(usize, usize)> {
    let mut expected = Vec::new();
    for (index, trajectory) in held.trajectories.iter().enumerate() {
        let steps = skip.min(trajectory.frames)..trajectory.frames;
        skip -= steps.start;
        expected.extend(steps.take(rows - expected.len()).map(|step| (index, step)));
    }
    expected
}

fn rows(data: &ShardData, expected: &[(usize, usize)]) -> Result<(), String> {
    if data.rows() != expected.len() {
        let (found, expected) = (data.rows(), expected.len());
        return Err(format!("it has {found} rows, not {expected}"));
    }
    for (row, &expected) in expected.iter().enumerate() {
        let (trajectory, step, _) = data.key(row);
        let found = (trajectory as usize, step as usize);
        if found != expected {
            return Err(format!(
                "row {row} is trajectory and step {found:?}, not {expected:?}"
            ));
        }
    }
    Ok(())
}
