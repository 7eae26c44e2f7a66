//! More trajectories for a data set that is there: its next generation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wellspring_store::{
    Dataset, DatasetWriter, Frames, Location, Manifest, NotFinite, Provenance, Reporter, Selection,
    ShardWriter, SourceRecord, Split, SplitManifest, checksum,
};

use crate::catalogue::Catalogue;
use crate::findings::judge;
use crate::findings::{Finding, FindingKind};
use crate::ledger::{Claim, Ledger};
use crate::options::IngestOptions;
use crate::records::{self, SplitRecords};
use crate::work;
use crate::writing::Writing;
use crate::{Error, Result};

/// Adds the trajectories of a source to a data set, normalised and stored as the others are: of the
/// options only threads, memory, what the selection leaves out and lets through, and `overwrite` count, the
/// last for another append that was begun and not finished. The old generation stays readable. An interruption leaves the data set as it was; the
/// same call goes on.
///
/// # Errors
/// [`Error::Unlike`] when the trajectories do not fit, or are there already; [`Error::Underway`];
/// [`Error::Store`] with [`wellspring_store::Error::Overtaken`] when another writer was first.
pub async fn append(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    let manifest = Manifest::load(root).await?;
    let made = manifest.provenance.as_ref();
    let recorded = made.map(|made| made.selection.clone()).unwrap_or_default();
    let selection = joined(recorded, &options.selection);
    let catalogue = Arc::new(work::catalogue(source, &selection, reporter).await?);
    fits(&manifest, &catalogue).map_err(|reason| Error::Unlike {
        source_url: source.to_string(),
        root: root.to_string(),
        reason,
    })?;
    let claim = Claim {
        key: key(&manifest, &catalogue)?,
        stale: Vec::new(),
    };
    let (ledger, claim) = Ledger::claim(root, &claim, options.overwrite).await?;
    let addition = Addition {
        before: &manifest,
        root,
        catalogue: &catalogue,
        selection,
        ledger: &ledger,
        key: claim.key.clone(),
    };
    match addition.make(options, reporter).await {
        Ok(manifest) => {
            work::tidy(root, &manifest).await?;
            Ok(manifest)
        }
        Err(error) => {
            // Nobody can go on with it: what it adds to is the past, or what it adds is refused.
            let is_past = matches!(
                &error,
                Error::Store(wellspring_store::Error::Overtaken { .. })
            );
            if is_past || error.refuses_values() {
                ledger.give_up(&claim).await?;
            }
            Err(error)
        }
    }
}

/// What is added to a data set.
struct Addition<'a> {
    before: &'a Manifest,
    root: &'a Location,
    catalogue: &'a Arc<Catalogue>,
    selection: Selection,
    ledger: &'a Ledger,
    /// Of the work.
    key: String,
}

impl Addition<'_> {
    /// Writes the shards that are missing, then the next generation.
    async fn make(&self, options: &IngestOptions, reporter: &dyn Reporter) -> Result<Manifest> {
        let (before, root, catalogue) = (self.before, self.root, self.catalogue);
        // Since the claim no other append begins; one that ended just before it left another manifest.
        if Manifest::load(root).await? != *before {
            return Err(Error::Store(wellspring_store::Error::Overtaken {
                root: root.to_string(),
                generation: before.generation + 1,
            }));
        }
        let made = before.provenance.as_ref();
        let shard_bytes = made.map_or(options.shard_bytes, |made| made.shard_bytes);
        let writer = DatasetWriter::next(root, before, shard_bytes, &self.key)?;
        let writing = Writing {
            catalogue,
            writer: &writer,
            ledger: self.ledger,
            options,
            reporter,
        };
        let starts = starts(before, catalogue);
        writing.all_shards(&starts).await?;
        for (&split, &first) in &starts {
            let old = async |shard: ShardWriter| earlier(root, before, split, shard).await;
            writing.constants(split, first, old).await?;
        }
        let records = records::all(catalogue, &writer, self.ledger, &starts).await?;
        let records = records.whole(root)?;
        let mut splits = before.splits.clone();
        for (&split, records) in &records {
            add(splits.entry(split).or_default(), records, catalogue, split);
        }
        let mut sources = made.map(|made| made.sources.clone()).unwrap_or_default();
        let new = records::sources(catalogue, &writer, &records);
        let mut findings = records::findings(catalogue, &records)?;
        findings.extend(twin_files(&sources, &new));
        judge::tell(&findings, reporter);
        sources.extend(new);
        let provenance = Provenance {
            program: work::program(),
            key: self.key.clone(),
            selection: self.selection.clone(),
            shard_bytes,
            sources,
        };
        records::attach(catalogue, &writer, root).await?;
        Ok(writer.succeed(splits, Some(provenance)).await?)
    }
}

/// Whether trajectories can stand beside those that are there.
fn fits(manifest: &Manifest, catalogue: &Catalogue) -> Result<(), String> {
    let (old, new) = (&manifest.schema, &catalogue.schema);
    if old.name != new.name {
        return Err(format!("it is of {}, not of {}", new.name, old.name));
    }
    if old.grid.shape() != new.grid.shape() {
        let shapes = (new.grid.shape(), old.grid.shape());
        return Err(format!("its grid is {:?}, not {:?}", shapes.0, shapes.1));
    }
    if old.fields != new.fields {
        return Err("its fields are others".into());
    }
    if old.boundaries() != new.boundaries() {
        return Err("its boundary conditions differ".into());
    }
    let made = manifest.provenance.iter().flat_map(|made| &made.sources);
    let known: Vec<&str> = made.map(|source| source.name.as_str()).collect();
    match catalogue
        .files
        .iter()
        .find(|file| known.contains(&file.below.as_str()))
    {
        Some(file) => Err(format!("{} is in the data set already", file.below)),
        None => Ok(()),
    }
}

/// Trajectories of each split that come before the new ones.
fn starts(manifest: &Manifest, catalogue: &Catalogue) -> BTreeMap<Split, usize> {
    let held = |split| {
        manifest
            .splits
            .get(split)
            .map_or(0, |held| held.trajectories.len())
    };
    catalogue
        .splits
        .keys()
        .map(|split| (*split, held(split)))
        .collect()
}

fn key(manifest: &Manifest, catalogue: &Catalogue) -> Result<String> {
    let names: Vec<_> = catalogue.files.iter().map(|file| &file.below).collect();
    let selection = serde_json::to_string(&catalogue.selection).map_err(|error| Error::Task {
        reason: error.to_string(),
    })?;
    let whole = format!(
        "{} {} {names:?} {:?} {selection}",
        work::program(),
        manifest.id(),
        catalogue.described
    );
    Ok(checksum(whole.as_bytes()))
}

/// What is taken of more trajectories: what was taken before, but for what they themselves leave out and
/// let through.
fn joined(recorded: Selection, more: &Selection) -> Selection {
    fn both(old: &[String], new: &[String]) -> Vec<String> {
        let all: BTreeSet<&String> = old.iter().chain(new).collect();
        all.into_iter().cloned().collect()
    }
    Selection {
        trajectories: None,
        name: more.name.clone().or(recorded.name),
        exclude: both(&recorded.exclude, &more.exclude),
        exclude_trajectories: both(&recorded.exclude_trajectories, &more.exclude_trajectories),
        allow: both(&recorded.allow, &more.allow),
        nan: match more.nan {
            NotFinite::Refuse => recorded.nan,
            NotFinite::Zero => NotFinite::Zero,
        },
        ..recorded
    }
}

/// New files with the values of files that are there.
fn twin_files(old: &[SourceRecord], new: &[SourceRecord]) -> Vec<Finding> {
    let pairs = new.iter().filter_map(|new| {
        let twin = |old: &&SourceRecord| old.checksum == new.checksum;
        Some((new, old.iter().find(twin)?))
    });
    let finding = |(new, old): (&SourceRecord, &SourceRecord)| {
        let kind = match new.split == old.split {
            true => FindingKind::Duplicate,
            false => FindingKind::Leak,
        };
        let (a, b) = (new.split, old.split);
        let message = format!("{} ({a}) has the values of {} ({b})", new.name, old.name);
        Finding::new(kind, &new.name, message)
    };
    pairs.map(finding).collect()
}

/// Puts the constants of the earlier trajectories, as they are stored, before the new ones.
async fn earlier(
    root: &Location,
    manifest: &Manifest,
    split: Split,
    mut shard: ShardWriter,
) -> Result<ShardWriter> {
    let count = manifest
        .splits
        .get(&split)
        .map_or(0, |held| held.trajectories.len());
    let dataset = Dataset::open(root).await?;
    for (trajectory, number) in (0..count).zip(0_u32..) {
        let frame: Option<Frames> = dataset.constants(split, trajectory).await?;
        let time = dataset.times(split, trajectory, 0..1).await?[0];
        if let Some(frame) = frame {
            shard.push((number, 0), time, &frame)?;
        }
    }
    Ok(shard)
}

fn add(held: &mut SplitManifest, records: &SplitRecords, catalogue: &Catalogue, split: Split) {
    let new = records.manifest(records::trajectories(catalogue, split));
    held.trajectories.extend(new.trajectories);
    held.shards.extend(new.shards);
    held.constants = new.constants.or(held.constants.take());
}
