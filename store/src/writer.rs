//! Writing a data set: shards from any number of tasks, the statistics, and the manifest last.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::datatypes::SchemaRef;

use crate::manifest::FORMAT_VERSION;
use crate::{
    Affine, Compression, Dtype, Error, Location, Manifest, Normalization, Result, Schema,
    ShardWriter, Split, SplitManifest, Statistics, shard,
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
                stale = old
                    .splits
                    .values()
                    .flat_map(SplitManifest::files)
                    .map(|shard| shard.path.clone())
                    .collect();
            }
            place.delete().await?;
        }
        Ok(Self {
            root: root.clone(),
            columns: shard::columns(&options.schema.grid, &channels, options.dtype),
            affine,
            options,
            stale,
        })
    }

    /// The map from field units to stored values.
    #[must_use]
    pub fn affine(&self) -> &Affine {
        &self.affine
    }

    /// How so many frames of a split are cut into shards: ranges of rows, in order. A pure function
    /// of the options, so that the files do not depend on who writes them when.
    #[must_use]
    pub fn shards(&self, frames: usize) -> Vec<Range<usize>> {
        let schema = &self.options.schema;
        let row = schema.channels().len() * schema.grid.cells() * self.options.dtype.bytes();
        let rows = ((self.options.shard_bytes / row.max(1) as u64) as usize).max(1);
        (0..frames)
            .step_by(rows)
            .map(|start| start..(start + rows).min(frames))
            .collect()
    }

    /// A writer for the `index`-th shard of a split.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn shard(&self, split: Split, index: usize) -> Result<ShardWriter> {
        let path = format!("{split}/{index:05}.arrow");
        let (format, cells) = (self.format(), self.options.schema.grid.cells());
        ShardWriter::new(&self.root, path, self.columns.clone(), format, cells)
    }

    /// A writer for the fields of a split that do not vary in time: one row a trajectory, step 0.
    ///
    /// # Errors
    /// [`Error::Arrow`].
    pub fn constants(&self, split: Split) -> Result<ShardWriter> {
        let schema = &self.options.schema;
        let columns = shard::columns(
            &schema.grid,
            &schema.constant_channels(),
            self.options.dtype,
        );
        let path = format!("{split}/constants.arrow");
        ShardWriter::new(
            &self.root,
            path,
            columns,
            self.format(),
            schema.grid.cells(),
        )
    }

    fn format(&self) -> (Dtype, Compression) {
        (self.options.dtype, self.options.compression)
    }

    /// Writes `stats.yaml` and then `manifest.json`: from now on there is a data set.
    ///
    /// # Errors
    /// [`Error::Exists`] when another writer was first; [`Error::Malformed`] when the shards do not
    /// hold the trajectories' frames.
    pub async fn finish(self, splits: BTreeMap<Split, SplitManifest>) -> Result<Manifest> {
        let options = self.options;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            schema: options.schema,
            dtype: options.dtype,
            compression: options.compression,
            normalization: options.normalization,
            statistics: options.statistics,
            splits,
        };
        let json = manifest.to_json()?;
        Manifest::from_json(
            json.as_bytes(),
            &self.root.join("manifest.json").to_string(),
        )?;
        let yaml = manifest.statistics.to_yaml(&manifest.schema)?;
        self.root.join("stats.yaml").put(yaml).await?;
        if !self.root.join("manifest.json").put_new(json).await? {
            return Err(Error::Exists {
                root: self.root.to_string(),
            });
        }
        let kept: Vec<&str> = manifest
            .splits
            .values()
            .flat_map(SplitManifest::files)
            .map(|shard| shard.path.as_str())
            .collect();
        for path in self
            .stale
            .iter()
            .filter(|path| !kept.contains(&path.as_str()))
        {
            self.root.join(path).delete().await?;
        }
        Ok(manifest)
    }
}
