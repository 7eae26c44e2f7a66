//! Repairs a data set: makes damaged files again from the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wellspring_store::{
    DatasetWriter, Flaw, Location, Manifest, Offsets, Place, Reporter, Selection, Shard, Split,
    Trajectory,
};

use crate::catalogue::{Catalogue, Entry, Row};
use crate::convert::shards::{FilledShard, fill, fill_constants};
use crate::convert::work;
use crate::{Error, Result};

/// Makes only the files with flaws again, and replaces them if the new bytes match the manifest, which does
/// not change.
///
/// # Errors
/// [`Error::Unlike`] when the source lacks trajectories of a shard, or gives other bytes: then the data
/// set was made from another source, or by another version of the program.
pub async fn repair(
    source: &Location,
    root: &Location,
    manifest: &Manifest,
    flaws: &[Flaw],
    reporter: &dyn Reporter,
) -> Result<()> {
    let mut selection = manifest
        .provenance
        .as_ref()
        .map(|made| made.selection.clone())
        .unwrap_or_default();
    // What was left out is seen by what is there; a source may hold more by now.
    selection.trajectories = None;
    selection.exclude.clear();
    selection.exclude_trajectories.clear();
    let catalogue = match catalogue(source, &selection, manifest, reporter).await {
        Ok(catalogue) => Arc::new(catalogue),
        Err(Error::NoFiles { .. }) => {
            return Err(Error::Unlike {
                source_url: source.to_string(),
                root: root.to_string(),
                reason: "it has none of the files that the data set was made from".into(),
            });
        }
        Err(error) => return Err(error),
    };
    let repair = Repair {
        entries: entries(&catalogue, manifest),
        catalogue,
        writer: DatasetWriter::again(root, manifest).await?,
        source,
        root,
        manifest,
    };
    reporter.begin("repairing", Some(flaws.len() as u64), "files");
    for flaw in flaws {
        match &flaw.place {
            Place::Shard(split, index) => repair.shard(*split, *index).await?,
            Place::Constants(split) => repair.constants(*split).await?,
            Place::Structure(index) => repair.structure(*index).await?,
            // What it said is not in the source.
            Place::Generation(_) => {}
        }
        reporter.advance(1);
    }
    reporter.end();
    Ok(())
}

/// What a data set was made from, as far as a source has it; the source may hold more, and its folders may
/// have other names.
async fn catalogue(
    source: &Location,
    selection: &Selection,
    manifest: &Manifest,
    reporter: &dyn Reporter,
) -> Result<Catalogue> {
    fn name(path: &str) -> &str {
        path.rsplit('/').next().unwrap_or_default()
    }
    let made = manifest.provenance.iter().flat_map(|made| &made.sources);
    let names: BTreeSet<&str> = made.map(|source| name(&source.name)).collect();
    let is_needed = |below: &str| names.is_empty() || names.contains(name(below));
    let mut catalogue = work::catalogue_of(source, selection, is_needed, reporter).await?;
    catalogue.set_transforms_of(&manifest.schema);
    let mut wanted: BTreeMap<(Split, &str), Vec<&Trajectory>> = BTreeMap::new();
    for (&split, held) in &manifest.splits {
        for trajectory in &held.trajectories {
            let name = (split, trajectory.source.as_str());
            wanted.entry(name).or_default().push(trajectory);
        }
    }
    catalogue.retain(|split, entry| {
        let named = wanted.get(&(split, entry.trajectory.source.as_str()));
        named.is_some_and(|named| named.iter().any(|wanted| is_of(entry, wanted)))
    });
    Ok(catalogue)
}

/// Whether an entry of a source is a trajectory of a data set; earlier versions kept no coordinates.
fn is_of(entry: &Entry, wanted: &Trajectory) -> bool {
    let found = &entry.trajectory;
    match wanted.coordinates.is_empty() {
        true => {
            Trajectory {
                coordinates: BTreeMap::new(),
                ..found.clone()
            } == *wanted
        }
        false => found == wanted,
    }
}

/// The entry of a source that each trajectory of a data set is, by split, as far as it is there.
fn entries(catalogue: &Catalogue, manifest: &Manifest) -> BTreeMap<Split, Vec<Option<usize>>> {
    let splits = manifest.splits.iter().map(|(&split, held)| {
        let mut named: BTreeMap<&str, Vec<(usize, &Entry)>> = BTreeMap::new();
        for entry in catalogue
            .splits
            .get(&split)
            .into_iter()
            .flatten()
            .enumerate()
        {
            let name = entry.1.trajectory.source.as_str();
            named.entry(name).or_default().push(entry);
        }
        let find = |wanted: &Trajectory| {
            let mut known = named.get(wanted.source.as_str())?.iter();
            known
                .find(|(_, entry)| is_of(entry, wanted))
                .map(|(index, _)| *index)
        };
        (split, held.trajectories.iter().map(find).collect())
    });
    splits.collect()
}

struct Repair<'a> {
    catalogue: Arc<Catalogue>,
    /// The entry in the catalogue that each trajectory of the data set is; looked up once.
    entries: BTreeMap<Split, Vec<Option<usize>>>,
    writer: DatasetWriter,
    source: &'a Location,
    root: &'a Location,
    manifest: &'a Manifest,
}

impl Repair<'_> {
    async fn shard(&self, split: Split, index: usize) -> Result<()> {
        let held = &self.manifest.splits[&split];
        let wanted = &held.shards[index];
        let rows = self.rows(split, index)?;
        let shard = self.writer.frames_at(&wanted.path)?;
        let normalizer = self.writer.normalizer().clone();
        let catalogue = Arc::clone(&self.catalogue);
        let filled = fill(catalogue, split, rows, normalizer, shard).await?;
        self.put(filled, wanted).await
    }

    async fn constants(&self, split: Split) -> Result<()> {
        let held = &self.manifest.splits[&split];
        let Some(wanted) = &held.constants else {
            return Ok(());
        };
        let mut entries = Vec::new();
        for trajectory in 0..held.trajectories.len() {
            entries.push(self.entry(split, trajectory)?);
        }
        if entries.iter().copied().ne(0..entries.len()) {
            return Err(self.unlike(format!("it has not all trajectories of {}", wanted.path)));
        }
        let shard = self.writer.constants_at(&wanted.path)?;
        let normalizer = self.writer.constant_normalizer();
        let filled = fill_constants(&self.catalogue, split, 0, normalizer, shard).await?;
        self.put(filled, wanted).await
    }

    async fn structure(&self, index: usize) -> Result<()> {
        let made = self.manifest.provenance.as_ref();
        let Some(wanted) = made.and_then(|made| made.sources.get(index)) else {
            return Ok(());
        };
        let files = self.catalogue.files.iter();
        let mut described = files.zip(&self.catalogue.described);
        let found = described.position(|(file, (_, structure))| {
            let content = (&structure.checksum, structure.bytes);
            file.below == wanted.name
                && content == (&wanted.structure.checksum, wanted.structure.bytes)
        });
        let Some(file) = found else {
            return Err(self.unlike(format!("{} is missing or another", wanted.name)));
        };
        let bytes = self.catalogue.contents(file).await?;
        Ok(self.root.join(&wanted.structure.path).put(bytes).await?)
    }

    /// The rows of a shard, as the source has them.
    fn rows(&self, split: Split, index: usize) -> Result<Vec<Row>> {
        let held = &self.manifest.splits[&split];
        let shards = Offsets::of(held.shards.iter().map(|shard| shard.rows));
        let trajectories = Offsets::of(held.trajectories.iter().map(|held| held.frames));
        let mut rows = Vec::new();
        for (trajectory, steps) in trajectories.cut(shards.range(index)) {
            let entry = self.entry(split, trajectory)?;
            rows.extend(steps.map(|step| Row {
                entry,
                trajectory,
                step,
            }));
        }
        Ok(rows)
    }

    /// Index of a trajectory in the catalogue of the source.
    fn entry(&self, split: Split, trajectory: usize) -> Result<usize> {
        let entries = self.entries.get(&split);
        let found = entries.and_then(|entries| entries[trajectory]);
        found.ok_or_else(|| {
            let wanted = &self.manifest.splits[&split].trajectories[trajectory];
            self.unlike(format!("it has no {split} trajectory {}", wanted.source))
        })
    }

    async fn put(&self, filled: FilledShard, wanted: &Shard) -> Result<()> {
        let (shard, payload) = filled.shard.encoded()?;
        if shard != *wanted {
            let reason = format!(
                "it gives {} with checksum {}, not {}; it may have changed, or another version of this \
                 program made the data set",
                wanted.path, shard.checksum, wanted.checksum
            );
            return Err(self.unlike(reason));
        }
        Ok(self.root.join(&wanted.path).put(payload).await?)
    }

    fn unlike(&self, reason: String) -> Error {
        Error::Unlike {
            source_url: self.source.to_string(),
            root: self.root.to_string(),
            reason,
        }
    }
}
