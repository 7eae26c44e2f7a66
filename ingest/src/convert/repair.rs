//! Repairs a data set: makes damaged files again from the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wellspring_store::{
    DatasetWriter, Flaw, Location, Manifest, Place, Reporter, Selection, Shard, Split, Trajectory,
};

use crate::catalogue::{Catalogue, Entry, Row};
use crate::convert::shards::{Filled, fill, fill_constants};
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
    let repair = Repair {
        catalogue: match catalogue(source, &selection, manifest, reporter).await {
            Ok(catalogue) => Arc::new(catalogue),
            Err(Error::NoFiles { .. }) => {
                return Err(Error::Unlike {
                    source_url: source.to_string(),
                    root: root.to_string(),
                    reason: "it has none of the files that the data set was made from".into(),
                });
            }
            Err(error) => return Err(error),
        },
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
    catalogue.retain(|split, entry| {
        let held = manifest.splits.get(&split);
        held.is_some_and(|held| held.trajectories.iter().any(|wanted| is_of(entry, wanted)))
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

struct Repair<'a> {
    catalogue: Arc<Catalogue>,
    writer: DatasetWriter,
    source: &'a Location,
    root: &'a Location,
    manifest: &'a Manifest,
}

impl Repair<'_> {
    async fn shard(&self, split: Split, index: usize) -> Result<()> {
        let held = &self.manifest.splits[&split];
        let wanted = &held.shards[index];
        let before: usize = held.shards[..index].iter().map(|shard| shard.rows).sum();
        let rows = self.rows(split, before, wanted.rows)?;
        let shard = self.writer.frames_at(&wanted.path)?;
        let affine = self.writer.affine().clone();
        let filled = fill(Arc::clone(&self.catalogue), split, rows, affine, shard).await?;
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
        let affine = self.writer.constant_affine();
        let filled = fill_constants(&self.catalogue, split, 0, affine, shard).await?;
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
    fn rows(&self, split: Split, mut skip: usize, count: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let trajectories = &self.manifest.splits[&split].trajectories;
        for (index, trajectory) in trajectories.iter().enumerate() {
            let start = skip.min(trajectory.frames);
            skip -= start;
            let steps = start..trajectory.frames.min(start + count - rows.len());
            if steps.is_empty() {
                continue;
            }
            let entry = self.entry(split, index)?;
            rows.extend(steps.map(|step| Row {
                entry,
                trajectory: index,
                step,
            }));
        }
        Ok(rows)
    }

    /// Index of a trajectory in the catalogue of the source.
    fn entry(&self, split: Split, trajectory: usize) -> Result<usize> {
        let wanted = &self.manifest.splits[&split].trajectories[trajectory];
        let entries = self.catalogue.splits.get(&split);
        let found =
            entries.and_then(|entries| entries.iter().position(|entry| is_of(entry, wanted)));
        found.ok_or_else(|| self.unlike(format!("it has no {split} trajectory {}", wanted.source)))
    }

    async fn put(&self, filled: Filled, wanted: &Shard) -> Result<()> {
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
