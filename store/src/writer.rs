//! Writing a data set: shards from any number of tasks, the statistics, and the manifest last.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use crate::generation;
use crate::manifest::version_of;
use crate::shard::Recycled;
use crate::{
    Affine, Attachment, BoundedChannel, Compression, Dtype, Error, Location, Manifest,
    Normalization, Provenance, Result, ScaleBound, Schema, Shard, ShardWriter, Split,
    SplitManifest, Statistics, Trajectory, shard,
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
    constant_affine: Affine,
    scale_bound: ScaleBound,
    /// Files of the data set that is replaced.
    stale: Vec<String>,
    /// What the manifest to be is the next generation of.
    before: Option<Before>,
    recycled: Recycled,
}

/// A manifest that another is to take the place of, and the name of the work that makes that one.
#[derive(Debug)]
struct Before {
    manifest: Manifest,
    key: String,
}

impl DatasetWriter {
    /// Begins a data set at `root`.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one and it may not be replaced; [`Error::Malformed`] when
    /// schema and statistics do not fit.
    pub async fn create(root: &Location, options: WriterOptions) -> Result<Self> {
        options.schema.validate()?;
        let bound = options.statistics.scale_bound(options.normalization);
        let mut writer = Self::new(root, options, bound)?;
        writer.check_range()?;
        let place = root.join("manifest.json");
        if place.exists().await? {
            if !writer.options.overwrite {
                return Err(Error::Exists {
                    root: root.to_string(),
                });
            }
            // One that cannot be read is replaced all the same; its files are not known.
            match Manifest::load(root).await {
                Ok(old) => writer.stale = old.paths().map(str::to_owned).collect(),
                Err(error) if error.is_about_content() => {}
                Err(error) => return Err(error),
            }
            place.delete().await?;
        }
        Ok(writer)
    }

    /// Begins the next generation of a data set: more shards in the way of those that are there.
    /// Their names carry `key`, a name for what is being made that nothing else has, such as a
    /// checksum of all that it depends on. [`DatasetWriter::succeed`] ends it.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the manifest's parts do not fit.
    pub fn next(root: &Location, manifest: &Manifest, shard_bytes: u64, key: &str) -> Result<Self> {
        let options = WriterOptions {
            schema: manifest.schema.clone(),
            dtype: manifest.dtype,
            compression: manifest.compression,
            normalization: manifest.normalization,
            statistics: manifest.statistics.clone(),
            shard_bytes,
            overwrite: false,
        };
        let mut writer = Self::new(root, options, manifest.scale_bound)?;
        writer.before = Some(Before {
            manifest: manifest.clone(),
            key: key.to_owned(),
        });
        Ok(writer)
    }

    fn new(root: &Location, options: WriterOptions, scale_bound: ScaleBound) -> Result<Self> {
        let channels = options.schema.channels();
        let affine = |channels: &[String]| {
            let normalization = options.normalization;
            options
                .statistics
                .affine(normalization, scale_bound, channels)
        };
        Ok(Self {
            root: root.clone(),
            columns: shard::columns(&options.schema.grid, &channels, options.dtype),
            affine: affine(&channels)?,
            constant_affine: affine(&options.schema.constant_channels())?,
            scale_bound,
            options,
            stale: Vec::new(),
            before: None,
            recycled: Recycled::default(),
        })
    }

    /// Whether the stored type can hold values that are not normalised: those of a channel in small
    /// units would become 0.
    fn check_range(&self) -> Result<()> {
        let (dtype, least) = (self.options.dtype, self.options.dtype.least());
        if self.options.normalization != Normalization::None {
            return Ok(());
        }
        let mut channels = self.options.statistics.0.iter();
        match channels.find(|(_, held)| held.rms > 0.0 && held.rms < least) {
            Some((channel, held)) => Err(Error::Vanishing {
                channel: channel.clone(),
                rms: held.rms,
                dtype,
                least,
            }),
            None => Ok(()),
        }
    }

    /// The map from field units to stored values.
    #[must_use]
    pub fn affine(&self) -> &Affine {
        &self.affine
    }

    /// As [`DatasetWriter::affine`], of the fields that do not vary in time.
    #[must_use]
    pub fn constant_affine(&self) -> &Affine {
        &self.constant_affine
    }

    /// The channels that vary so little that the lower bound of scales is what they are divided by.
    #[must_use]
    pub fn bounded(&self) -> Vec<BoundedChannel> {
        let statistics = &self.options.statistics;
        statistics.bounded(self.options.normalization, self.scale_bound)
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

    /// Files of later generations take the names of no other writer's.
    pub(crate) fn path(&self, split: Split, name: &str) -> String {
        match &self.before {
            None => format!("{split}/{name}.arrow"),
            Some(before) => format!("{split}/{name}.{}.arrow", before.suffix()),
        }
    }

    /// The place of what a source holds beside fields: that of the data set as it was, if it has it, else
    /// one of this work's own, since who tidies up an earlier generation may delete the former any moment.
    #[must_use]
    pub fn attached(&self, attachment: &Attachment) -> Attachment {
        let mut attachment = attachment.clone();
        if let Some(before) = &self.before
            && before.manifest.paths().all(|path| path != attachment.path)
        {
            let (checksum, suffix) = (&attachment.checksum, before.suffix());
            attachment.path = format!("sources/{checksum}.{suffix}.json");
        }
        attachment
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
        let json = manifest.to_json();
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
        let Some(before) = &self.before else {
            return self.finish_with(splits, provenance).await;
        };
        let manifest = self.manifest(splits, provenance)?;
        generation::publish(&self.root, &before.manifest, &manifest).await?;
        Ok(manifest)
    }

    fn manifest(
        &self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let options = self.options.clone();
        let manifest = Manifest {
            format_version: version_of(self.scale_bound),
            schema: options.schema,
            dtype: options.dtype,
            compression: options.compression,
            normalization: options.normalization,
            statistics: options.statistics,
            scale_bound: self.scale_bound,
            splits,
            generation: self.before.as_ref().map_or(0, Before::next),
            provenance,
        };
        let place = self.root.join("manifest.json");
        Manifest::from_json(manifest.to_json().as_bytes(), &place.to_string())
    }
}

impl Before {
    /// The generation that comes after it.
    fn next(&self) -> u64 {
        self.manifest.generation + 1
    }

    /// A part of every name that is written for that.
    fn suffix(&self) -> String {
        format!("g{}-{}", self.next(), self.key)
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
