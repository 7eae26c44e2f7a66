//! [`DatasetWriter`]: writes shards from any number of tasks, then the statistics, and the manifest last.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;

use crate::manifest::version_of;
use crate::shard::BufferPool;
use crate::{
    Attachment, BoundedChannel, Change, Compression, Dtype, Error, Head, Location, Manifest,
    Normalization, Normalizer, Offsets, Provenance, Result, ScaleBound, Schema, Shard, ShardId,
    ShardWriter, Split, SplitManifest, Statistics, Trajectory, shard,
};

/// Schema, types and statistics of a data set that is written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Grid and fields.
    pub schema: Schema,
    /// Type of the stored values.
    pub dtype: Dtype,
    /// Compression of the shards.
    pub compression: Compression,
    /// How values are normalized.
    pub normalization: Normalization,
    /// Statistics of every channel, by which values are normalized.
    pub statistics: Statistics,
    /// Target size of a shard, before compression; a shard has at least one frame.
    pub shard_bytes: u64,
    /// Whether an existing data set may be replaced.
    pub overwrite: bool,
}

/// Writes a data set, or the next generation of one. Nothing changes before [`DatasetWriter::finish`]: an
/// interruption leaves shards that the next attempt overwrites.
#[derive(Debug)]
pub struct DatasetWriter {
    options: WriterOptions,
    columns: SchemaRef,
    normalizer: Normalizer,
    constant_normalizer: Normalizer,
    scale_bound: ScaleBound,
    /// What names its files and puts its manifest in place.
    change: Change,
    /// What the sources of the data set that it adds to hold beside fields.
    held: Vec<Attachment>,
    recycled: BufferPool,
}

impl DatasetWriter {
    /// Begins a data set at `root`. No other process may write there at the same time; use [`Change`] if
    /// one might. A data set that is replaced stays readable until [`DatasetWriter::finish`].
    ///
    /// # Errors
    /// [`Error::Exists`] when there is one that may not be replaced; [`Error::Malformed`] when
    /// schema and statistics do not fit.
    pub async fn create(root: &Location, options: WriterOptions) -> Result<Self> {
        let before = Head::find(root).await?;
        if before.is_some() && !options.overwrite {
            return Err(Error::Exists {
                root: root.to_string(),
            });
        }
        Self::of(&Change::unclaimed(root, before).await?, options)
    }

    /// Writes the data set of a change, whether or not one exists.
    ///
    /// # Errors
    /// [`Error::Malformed`] when schema and statistics do not fit; [`Error::Vanishing`].
    pub fn of(change: &Change, options: WriterOptions) -> Result<Self> {
        options.schema.validate()?;
        let bound = options.statistics.scale_bound(options.normalization);
        let writer = Self::new(change.clone(), options, bound)?;
        writer.check_range()?;
        Ok(writer)
    }

    /// Writes more shards for a data set, in the same format as its own.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the manifest's parts do not fit.
    pub fn like(change: &Change, manifest: &Manifest, shard_bytes: u64) -> Result<Self> {
        let options = WriterOptions {
            schema: manifest.schema.clone(),
            dtype: manifest.dtype,
            compression: manifest.compression,
            normalization: manifest.normalization,
            statistics: manifest.statistics.clone(),
            shard_bytes,
            overwrite: false,
        };
        let mut writer = Self::new(change.clone(), options, manifest.scale_bound)?;
        let made = manifest.provenance.iter().flat_map(|made| &made.sources);
        writer.held = made.map(|source| source.structure.clone()).collect();
        Ok(writer)
    }

    /// Writes files of a data set again, under the names that they have.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the manifest's parts do not fit; [`Error::Io`].
    pub async fn again(root: &Location, manifest: &Manifest) -> Result<Self> {
        let change = Change::unclaimed(root, Head::find(root).await?).await?;
        Self::like(&change, manifest, u64::MAX)
    }

    fn new(change: Change, options: WriterOptions, scale_bound: ScaleBound) -> Result<Self> {
        let channels = options.schema.channels();
        let normalizer = |time_varying| {
            let channels = options.schema.channel_transforms(time_varying);
            let statistics = &options.statistics;
            statistics.normalizer(options.normalization, scale_bound, channels)
        };
        Ok(Self {
            columns: shard::columns(&options.schema.grid, &channels, options.dtype),
            normalizer: normalizer(true)?,
            constant_normalizer: normalizer(false)?,
            scale_bound,
            options,
            change,
            held: Vec::new(),
            recycled: BufferPool::default(),
        })
    }

    /// Whether the stored type can hold values that are not normalized: those of a channel in small
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

    /// The maps from field units to stored values.
    #[must_use]
    pub fn normalizer(&self) -> &Normalizer {
        &self.normalizer
    }

    /// [`DatasetWriter::normalizer`] for the fields that do not vary in time.
    #[must_use]
    pub fn constant_normalizer(&self) -> &Normalizer {
        &self.constant_normalizer
    }

    /// The channels that vary so little that they are divided by the lower bound of scales.
    #[must_use]
    pub fn bounded(&self) -> Vec<BoundedChannel> {
        let statistics = &self.options.statistics;
        statistics.bounded(self.options.normalization, self.scale_bound)
    }

    /// How the trajectories of a split, of so many frames each, are laid into shards: the rows of each.
    /// A shard holds whole trajectories, so that no window needs two; one that is longer than a shard is
    /// cut into parts of about the same length. A pure function of the options, so that the files do not
    /// depend on who writes them when.
    #[must_use]
    pub fn shards(&self, trajectories: impl IntoIterator<Item = usize>) -> Offsets {
        let row = self.row_bytes().max(1) as u64;
        let most = ((self.options.shard_bytes / row) as usize).max(1);
        Offsets::of(laid(trajectories, most))
    }

    /// Uncompressed bytes of a stored frame.
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
            let file = |index, rows| Shard {
                path: self.path(ShardId { split, index }),
                rows,
                bytes: 0,
                checksum: String::new(),
            };
            let frames = trajectories.iter().map(|held| held.frames);
            let shards = self.shards(frames);
            let held = SplitManifest {
                shards: shards
                    .ranges()
                    .enumerate()
                    .map(|(index, rows)| file(Some(index), rows.len()))
                    .collect(),
                constants: has_constants.then(|| file(None, trajectories.len())),
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
        let index = Some(index);
        self.frames_at(&self.path(ShardId { split, index }))
    }

    /// A writer for the fields of a split that do not vary in time: one row a trajectory, step 0.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn constants(&self, split: Split) -> Result<ShardWriter> {
        self.constants_at(&self.path(ShardId { split, index: None }))
    }

    /// A writer for the shard of frames with this path, in any generation, to write a lost shard again.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn frames_at(&self, path: &str) -> Result<ShardWriter> {
        self.writer_at(path, self.columns.clone())
    }

    /// [`DatasetWriter::frames_at`] for constants.
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

    /// No other writer's file has this name.
    fn path(&self, id: ShardId) -> String {
        self.change.name(&id.to_string(), "arrow")
    }

    /// The place of what a source holds beside fields: that in the data set as it was, if it has it and stays,
    /// else one of this work's own, since who tidies up may delete any other.
    #[must_use]
    pub fn attached(&self, attachment: &Attachment) -> Attachment {
        let is_it = |held: &&Attachment| {
            (held.bytes, &held.checksum) == (attachment.bytes, &attachment.checksum)
        };
        if let Some(held) = self.held.iter().find(is_it) {
            return held.clone();
        }
        let stem = format!("sources/{}", attachment.checksum);
        Attachment {
            path: self.change.name(&stem, "json"),
            ..attachment.clone()
        }
    }

    fn writer_at(&self, path: &str, columns: SchemaRef) -> Result<ShardWriter> {
        let options = &self.options;
        ShardWriter::new(
            self.change.root().join(path),
            path.to_owned(),
            columns,
            options.dtype,
            options.compression,
            options.schema.grid.cells(),
            &self.recycled,
        )
    }

    /// Writes `manifest.json`, which commits the data set. Then it writes `stats.yaml` and tidies up; after an
    /// interruption the next writer does that.
    ///
    /// # Errors
    /// [`Error::Exists`] or [`Error::Overtaken`] when another writer was first; [`Error::Malformed`] when the
    /// shards do not hold the trajectories' frames.
    pub async fn finish(self, splits: BTreeMap<Split, SplitManifest>) -> Result<Manifest> {
        self.finish_with(splits, None).await
    }

    /// As [`DatasetWriter::finish`], saying what the data set was made from; those who share the writer may
    /// still hold it.
    ///
    /// # Errors
    /// As [`DatasetWriter::finish`].
    pub async fn finish_with(
        &self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let manifest = self.manifest(splits, provenance)?;
        self.change.publish(&manifest).await?;
        self.change.finish().await?;
        Ok(manifest)
    }

    fn manifest(
        &self,
        splits: BTreeMap<Split, SplitManifest>,
        provenance: Option<Provenance>,
    ) -> Result<Manifest> {
        let options = self.options.clone();
        let manifest = Manifest {
            format_version: version_of(&options.schema, self.scale_bound),
            schema: options.schema,
            dtype: options.dtype,
            compression: options.compression,
            normalization: options.normalization,
            statistics: options.statistics,
            scale_bound: self.scale_bound,
            splits,
            generation: self.change.generation(),
            provenance,
        };
        let place = self.change.root().join("manifest.json");
        Manifest::outline_from_json(manifest.to_json().as_bytes(), &place.to_string())
    }
}

/// The rows of each shard, at most so many.
fn laid(trajectories: impl IntoIterator<Item = usize>, most: usize) -> Vec<usize> {
    let mut shards = Vec::new();
    // Rows of the shard that more trajectories may join.
    let mut rows = 0;
    for frames in trajectories {
        if rows > 0 && rows + frames > most {
            shards.push(rows);
            rows = 0;
        }
        if frames > most {
            let length = frames.div_ceil(frames.div_ceil(most));
            let starts = (0..frames).step_by(length);
            shards.extend(starts.map(|start| length.min(frames - start)));
        } else {
            rows += frames;
        }
    }
    shards.extend((rows > 0).then_some(rows));
    shards
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_trajectories_share_a_shard_and_long_ones_are_cut_evenly() {
        assert_eq!(laid([4, 4, 4], 10), [8, 4]);
        assert_eq!(laid([3, 11, 2, 0, 2], 5), [3, 4, 4, 3, 4]);
    }

    proptest! {
        #[test]
        fn a_layout_holds_every_row_once_and_cuts_no_short_trajectory(
            trajectories in prop::collection::vec(0..30_usize, 0..20),
            most in 1..20_usize,
        ) {
            let shards = Offsets::of(laid(trajectories.iter().copied(), most));
            prop_assert_eq!(shards.total(), trajectories.iter().sum::<usize>());
            prop_assert!(shards.ranges().all(|shard| (1..=most).contains(&shard.len())));
            let mut first = 0;
            for frames in trajectories.into_iter().filter(|&frames| frames > 0) {
                let parts = shards.cut(first..first + frames).count();
                prop_assert!(parts <= frames.div_ceil(most));
                first += frames;
            }
        }
    }
}
