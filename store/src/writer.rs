//! Writing a data set: shards from any number of tasks, the statistics, and the manifest last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use crate::generation;
use crate::manifest::FORMAT_VERSION;
use crate::shard::Recycled;
use crate::{
    Affine, Compression, Dtype, Error, Location, Manifest, Normalization, Provenance, Result,
    Schema, Shard, ShardWriter, Split, SplitManifest, Statistics, Trajectory, shard,
};

/// What a data set is to be.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Grid and fields.
    pub schema: Schema,
    /// Type of the stored values.
    pub dtype: Dtype,
    /// Compression of the shards.
    pub compression: Compression,
    /// How values are normalised.
    pub normalization: Normalization,
    /// What they are normalised by, for every channel.
    pub statistics: Statistics,
    /// Target size of a shard, before compression; a shard has at least one frame.
    pub shard_bytes: u64,
    /// Whether a data set that is there may be replaced.
    pub overwrite: bool,
}

/// Writes a data set. Until [`DatasetWriter::finish`] there is none: an interruption leaves shards
/// that the next attempt writes over.
#[derive(Debug)]
pub struct DatasetWriter {
    root: Location,
    options: WriterOptions,
    columns: SchemaRef,
    affine: Affine,
    /// Files of the data set that is replaced.
    stale: Vec<String>,
    /// Of the manifest to be.
    generation: u64,
    recycled: Recycled,
}

impl DatasetWriter {
    /// Begins a data set at `root`.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one and it may not be replaced; [`Error::Malformed`] when
    /// schema and statistics do not fit.
    pub async fn create(root: &Location, options: WriterOptions) -> Result<Self> {
        options.schema.validate()?;
        let channels = options.schema.channels();
        let affine = options
            .statistics
            .affine(options.normalization, &channels)?;
        let place = root.join("manifest.json");
        let mut stale = Vec::new();
        if place.exists().await? {
            if !options.overwrite {
                return Err(Error::Exists {
                    root: root.to_string(),
                });
            }
            // One that cannot be read is replaced all the same; its files are not known.
            if let Ok(old) = Manifest::load(root).await {
                stale = old.paths().map(str::to_owned).collect();
            }
            place.delete().await?;
        }
        Self::new(root, options, affine, stale, 0)
    }

    /// Begins the next generation of a data set: more shards in the way of those that are there,
    /// under names of their own. [`DatasetWriter::succeed`] ends it.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the manifest's parts do not fit.
    pub fn next(root: &Location, manifest: &Manifest, shard_bytes: u64) -> Result<Self> {
        let options = WriterOptions {
            schema: manifest.schema.clone(),
            dtype: manifest.dtype,
            compression: manifest.compression,
            normalization: manifest.normalization,
            statistics: manifest.statistics.clone(),
            shard_bytes,
            overwrite: false,
        };
        let affine = manifest.affine();
        Self::new(root, options, affine, Vec::new(), manifest.generation + 1)
    }

    fn new(
        root: &Location,
        options: WriterOptions,
        affine: Affine,
        stale: Vec<String>,
        generation: u64,
    ) -> Result<Self> {
        let channels = options.schema.channels();
        Ok(Self {
            root: root.clone(),
            columns: shard::columns(&options.schema.grid, &channels, options.dtype),
            affine,
            options,
            stale,
            generation,
            recycled: Recycled::default(),
        })
    }

    /// The map from field units to stored values.
    #[must_use]
    pub fn affine(&self) -> &Affine {
        &self.affine
    }

    /// How the trajectories of a split, of so many frames each, are laid into shards: ranges of rows,
    /// in order. A shard holds whole trajectories, so that no window needs two; one that is longer than
    /// a shard is cut into parts of about the same length. A pure function of the options, so that the
    /// files do not depend on who writes them when.
    #[must_use]
    pub fn shards(&self, trajectories: impl IntoIterator<Item = usize>) -> Vec<Range<usize>> {
        let row = self.row_bytes().max(1) as u64;
        let most = ((self.options.shard_bytes / row) as usize).max(1);
        laid(trajectories, most)
    }

    /// Bytes of a frame, stored and not compressed.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let schema = &self.options.schema;
        schema.channels().len() * schema.grid.cells() * self.options.dtype.bytes()
    }

    /// The [`Manifest::outline`] of the data set that these trajectories make.
    ///
    /// # Errors
    /// [`Error::Malformed`] when they are too many.
    pub fn outline(&self, trajectories: BTreeMap<Split, Vec<Trajectory>>) -> Result<Manifest> {
        let has_constants = !self.options.schema.constant_channels().is_empty();
        let splits = trajectories.into_iter().map(|(split, trajectories)| {
            let file = |name: &str, rows| Shard {
                path: self.path(split, name),
                rows,
                bytes: 0,
                checksum: String::new(),
            };
            let frames = trajectories.iter().map(|held| held.frames);
            let shards = self.shards(frames).into_iter().enumerate();
            let held = SplitManifest {
                shards: shards
                    .map(|(index, rows)| file(&format!("{index:05}"), rows.len()))
                    .collect(),
                constants: has_constants.then(|| file("constants", trajectories.len())),
                trajectories,
            };
            (split, held)
        });
        self.manifest(splits.collect(), None)
    }

    /// A writer for the `index`-th shard of a split.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn shard(&self, split: Split, index: usize) -> Result<ShardWriter> {
        self.frames_at(&self.path(split, &format!("{index:05}")))
    }

    /// A writer for the fields of a split that do not vary in time: one row a trajectory, step 0.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn constants(&self, split: Split) -> Result<ShardWriter> {
        self.constants_at(&self.path(split, "constants"))
    }

    /// A writer for the frames' shard of this path, whatever the generation: to write again what was
    /// lost.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn frames_at(&self, path: &str) -> Result<ShardWriter> {
        self.writer_at(path, self.columns.clone())
    }

    /// As [`DatasetWriter::frames_at`], for constants.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn constants_at(&self, path: &str) -> Result<ShardWriter> {
        let schema = &self.options.schema;
        let columns = shard::columns(
            &schema.grid,
            &schema.constant_channels(),
            self.options.dtype,
        );
        self.writer_at(path, columns)
    }

    /// Files of later generations do not take the names of those before them.
    fn path(&self, split: Split, name: &str) -> String {
        match self.generation {
            0 => format!("{split}/{name}.arrow"),
            generation => format!("{split}/{name}.g{generation}.arrow"),
        }
    }

    fn writer_at(&self, path: &str, columns: SchemaRef) -> Result<ShardWriter> {
        let options = &self.options;
        ShardWriter::new(
            self.root.join(path),
            path.to_owned(),
            columns,
            (options.dtype, options.compression),
            options.schema.grid.cells(),
            &self.recycled,
        )
    }

    /// Writes `stats.yaml` and then `manifest.json`: from now on there is a data set.
    ///
    /// # Errors
    /// [`Error::Exists`] when another writer was first; [`Error::Malformed`] when the shards do not
    /// hold the trajectories' frames.
    pub async fn finish(self, splits: BTreeMap<Split, SplitManifest>) -> Result<Manifest> {
        self.finish_with(splits, None).await
    }

    /// As [`DatasetWriter::finish`], saying what the data set was made from.
    ///
    /// # Errors
    /// As [`DatasetWriter::finish`].
    pub async fn finish_with(
        self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let (root, stale) = (self.root.clone(), self.stale.clone());
        let manifest = self.manifest(splits, provenance)?;
        let yaml = manifest.statistics.to_yaml(&manifest.schema)?;
        root.join("stats.yaml").put(yaml).await?;
        let json = manifest.to_json()?;
        if !root.join("manifest.json").put_new(json).await? {
            return Err(Error::Exists {
                root: root.to_string(),
            });
        }
        let kept: BTreeSet<&str> = manifest.paths().collect();
        for path in stale.iter().filter(|path| !kept.contains(path.as_str())) {
            root.join(path).delete().await?;
        }
        Ok(manifest)
    }

    /// Puts the next generation in the place of the one that it was begun from.
    ///
    /// # Errors
    /// [`Error::Overtaken`] when another writer was first; [`Error::Malformed`] when the shards do
    /// not hold the trajectories' frames.
    pub async fn succeed(
        self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let root = self.root.clone();
        let manifest = self.manifest(splits, provenance)?;
        generation::publish(&root, &manifest).await?;
        Ok(manifest)
    }

    fn manifest(
        &self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let options = self.options.clone();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            schema: options.schema,
            dtype: options.dtype,
            compression: options.compression,
            normalization: options.normalization,
            statistics: options.statistics,
            splits,
            generation: self.generation,
            provenance,
        };
        let place = self.root.join("manifest.json");
        Manifest::from_json(manifest.to_json()?.as_bytes(), &place.to_string())
    }
}

/// Ranges of at most so many rows each.
fn laid(trajectories: impl IntoIterator<Item = usize>, most: usize) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut first, mut end) = (0, 0);
    for frames in trajectories {
        if first < end && end - first + frames > most {
            shards.push(first..end);
            first = end;
        }
        end += frames;
        if frames > most {
            let length = frames.div_ceil(frames.div_ceil(most));
            let starts = (first..end).step_by(length);
            shards.extend(starts.map(|start| start..(start + length).min(end)));
            first = end;
        }
    }
    if first < end {
        shards.push(first..end);
    }
    shards
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_trajectories_share_a_shard_and_long_ones_are_cut_evenly() {
        assert_eq!(laid([4, 4, 4], 10), [0..8, 8..12]);
        assert_eq!(
            laid([3, 11, 2, 0, 2], 5),
            [0..3, 3..7, 7..11, 11..14, 14..18]
        );
    }

    proptest! {
        #[test]
        fn a_layout_holds_every_row_once_and_cuts_no_short_trajectory(
            trajectories in prop::collection::vec(0..30_usize, 0..20),
            most in 1..20_usize,
        ) {
            let shards = laid(trajectories.iter().copied(), most);
            let rows: Vec<usize> = shards.iter().cloned().flatten().collect();
            prop_assert_eq!(rows, (0..trajectories.iter().sum()).collect::<Vec<_>>());
            prop_assert!(shards.iter().all(|shard| (1..=most).contains(&shard.len())));
            let mut first = 0;
            for frames in trajectories.into_iter().filter(|&frames| frames > 0) {
                let parts = shards.iter().filter(|shard| {
                    shard.start < first + frames && shard.end > first
                });
                prop_assert!(parts.count() <= frames.div_ceil(most));
                first += frames;
            }
        }
    }
}
