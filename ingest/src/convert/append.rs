//! Adds trajectories to an existing data set, as its next generation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wellspring_store::{
    Change, Dataset, DatasetWriter, Frames, Head, Location, Manifest, NotFinite, Provenance,
    Reporter, Selection, ShardId, ShardWriter, SourceRecord, Split, SplitManifest, checksum,
};

use crate::catalogue::Catalogue;
use crate::catalogue::options::IngestOptions;
use crate::convert::layout::ShardLayout;
use crate::convert::ledger::Ledger;
use crate::convert::records::{self, SplitRecords};
use crate::convert::work;
use crate::convert::writing::{Output, ShardInputs};
use crate::findings::judge;
use crate::findings::{Finding, FindingKind};
use crate::{Error, Result};

/// Adds the trajectories of a source to a data set, transformed, normalized and stored as its own. Only these options
/// count: threads, memory, what the selection leaves out and accepts, and `overwrite`, which replaces another
/// work that was begun and not finished. The old generation stays readable. After an interruption the data
/// set has all of the new trajectories or none; the same call continues, and does nothing if all are there.
///
/// # Errors
/// [`Error::Unlike`] when the trajectories do not fit, or some of their files are there already;
/// [`Error::Store`] with [`wellspring_store::Error::Underway`] when another work was begun, and with
/// [`wellspring_store::Error::Overtaken`] when another writer was first.
pub async fn append(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    loop {
        let head = Head::load(root).await?;
        let addition = Addition::find(source, &head, options, reporter).await?;
        if addition.is_in(&addition.before) {
            reporter.note(&format!(
                "every file of {source} is in {root} already, by its name, size and structure; values \
                 were not compared, and nothing is added"
            ));
            Change::settle(root).await?;
            return Ok(addition.before);
        }
        fits(&addition.before, &addition.catalogue).map_err(|reason| Error::Unlike {
            source_url: source.to_string(),
            root: root.to_string(),
            reason,
        })?;
        // Unless the data set has changed since it was looked at.
        let key = addition.key()?;
        if let Some(change) = Change::extend(root, head, &key, options.overwrite).await? {
            let made = addition.make(&change, options, reporter).await;
            return work::settled(&change, made, |there| addition.is_in(there)).await;
        }
    }
}

/// An addition to a data set.
struct Addition {
    before: Manifest,
    catalogue: Arc<Catalogue>,
    selection: Selection,
}

impl Addition {
    async fn find(
        source: &Location,
        head: &Head,
        options: &IngestOptions,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let before = head.manifest()?;
        let made = before.provenance.as_ref();
        let recorded = made.map(|made| made.selection.clone()).unwrap_or_default();
        let selection = joined(recorded, &options.selection);
        let mut catalogue = work::catalogue(source, &selection, reporter).await?;
        catalogue.set_transforms_of(&before.schema);
        Ok(Self {
            before,
            catalogue: Arc::new(catalogue),
            selection,
        })
    }

    /// Whether a data set has every file of the source and every trajectory that is taken of them.
    fn is_in(&self, manifest: &Manifest) -> bool {
        let made = manifest.provenance.iter().flat_map(|made| &made.sources);
        let known: BTreeMap<_, _> = made
            .map(|source| ((source.split, source.name.as_str()), source))
            .collect();
        let entries = self.catalogue.splits.values().flatten();
        let used: BTreeSet<usize> = entries.map(|entry| entry.file).collect();
        let has_files = used.into_iter().all(|index| {
            let (file, (bytes, structure)) = (
                &self.catalogue.files[index],
                &self.catalogue.described[index],
            );
            let held = known.get(&(file.split, file.below.as_str()));
            held.is_some_and(|held| {
                (held.bytes, &held.structure.checksum) == (*bytes, &structure.checksum)
            })
        });
        let mut splits = self.catalogue.splits.iter();
        let has_trajectories = splits.all(|(split, entries)| {
            let held = manifest.splits.get(split);
            let held: BTreeSet<&str> = held
                .iter()
                .flat_map(|held| held.trajectories.iter().map(|held| held.source.as_str()))
                .collect();
            let mut sources = entries.iter().map(|entry| entry.trajectory.source.as_str());
            sources.all(|source| held.contains(source))
        });
        has_files && has_trajectories
    }

    /// A name for what is added.
    fn key(&self) -> Result<String> {
        let names: Vec<_> = self
            .catalogue
            .files
            .iter()
            .map(|file| &file.below)
            .collect();
        let selection = serde_json::to_string(&self.catalogue.selection);
        let selection = selection.map_err(|error| Error::Task {
            reason: error.to_string(),
        })?;
        let described = &self.catalogue.described;
        let whole = format!("{} {names:?} {described:?} {selection}", work::program());
        Ok(checksum(whole.as_bytes()))
    }

    /// Writes the shards that are missing, then the next generation.
    async fn make(
        &self,
        change: &Change,
        options: &IngestOptions,
        reporter: &dyn Reporter,
    ) -> Result<Manifest> {
        let (before, root, catalogue) = (&self.before, change.root(), &self.catalogue);
        let made = before.provenance.as_ref();
        let shard_bytes = made.map_or(options.shard_bytes, |made| made.shard_bytes);
        let writer = DatasetWriter::like(change, before, shard_bytes)?;
        let layout = ShardLayout::new(catalogue, &writer, &starts(before, catalogue));
        let output = Output { writer, layout };
        let ledger = Ledger::of(change).await?;
        let writing = ShardInputs {
            catalogue,
            output: &output,
            ledger: &ledger,
            options,
            reporter,
        };
        let Output { writer, layout } = &output;
        writing.shards(&layout.shards()).await?;
        for ShardId { split, .. } in layout.constants() {
            let old = async |shard: ShardWriter| earlier(root, before, split, shard).await;
            writing.constants(split, old).await?;
        }
        let records = records::all(layout, &ledger).await?.whole(root)?;
        let mut splits = before.splits.clone();
        for (&split, records) in &records {
            add(splits.entry(split).or_default(), records, catalogue, split);
        }
        let mut sources = made.map(|made| made.sources.clone()).unwrap_or_default();
        let new = records::sources(catalogue, writer, &records);
        let mut findings = records::findings(catalogue, &records)?;
        findings.extend(twin_files(&sources, &new));
        judge::tell(&findings, reporter);
        sources.extend(new);
        let provenance = Provenance {
            program: work::program(),
            key: change.key().to_owned(),
            selection: self.selection.clone(),
            shard_bytes,
            sources,
        };
        records::attach(catalogue, writer, root).await?;
        Ok(writer.finish_with(splits, Some(provenance)).await?)
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
        Some(file) => Err(format!(
            "{} is in the data set already, and not all that is added is",
            file.below
        )),
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
