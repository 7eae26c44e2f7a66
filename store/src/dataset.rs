//! Reading a data set: any run of frames of any trajectory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::cache::{self, ShardCache};
use crate::shard::{self, ShardData};
use crate::{
    Error, Frames, Location, Manifest, Reporter, Result, Schema, Split, SplitManifest, Window,
};

/// Bytes of fetched shards that are kept in memory unless said otherwise.
pub const DEFAULT_CACHE_BYTES: u64 = 4 << 30;

/// A data set that can be read.
#[derive(Debug)]
pub struct Dataset {
    root: Location,
    manifest: Manifest,
    columns: SchemaRef,
    index: BTreeMap<Split, RowIndex>,
    cache: ShardCache,
}

/// Where rows are: a split's rows are numbered by (trajectory, step).
#[derive(Debug)]
struct RowIndex {
    /// Rows before each trajectory, and in all.
    trajectories: Vec<usize>,
    /// Rows before each shard, and in all.
    shards: Vec<usize>,
}

/// A run of frames, with the open shards that hold it.
pub(crate) struct Run {
    /// An open shard and rows of it, in order.
    pieces: Vec<(Arc<ShardData>, Range<usize>)>,
}

impl Dataset {
    /// Opens a data set: reads its manifest and nothing else.
    ///
    /// # Errors
    /// [`Error::NotADataset`], [`Error::UnsupportedFormat`], [`Error::Malformed`], [`Error::Io`].
    pub async fn open(root: &Location) -> Result<Self> {
        Self::open_with_cache(root, DEFAULT_CACHE_BYTES).await
    }

    /// Like [`Dataset::open`], keeping at most so many bytes of fetched shards in memory beyond
    /// those in use.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub async fn open_with_cache(root: &Location, cache_bytes: u64) -> Result<Self> {
        let manifest = Manifest::load(root).await?;
        let columns = shard::columns(
            &manifest.schema.grid,
            &manifest.schema.channels(),
            manifest.dtype,
        );
        let index = manifest
            .splits
            .iter()
            .map(|(&split, held)| (split, RowIndex::of(held)))
            .collect();
        Ok(Self {
            cache: ShardCache::new(root.clone(), cache_bytes),
            root: root.clone(),
            columns,
            index,
            manifest,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.root
    }

    /// What it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its grid and fields.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// Frames of one trajectory as they are stored (normalised): (T, 1, C, *space).
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Damaged`] for a shard with other bytes than were written.
    pub async fn read(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
    ) -> Result<Frames> {
        let run = self.run(split, trajectory, steps.clone()).await?;
        let mut frames = self.empty(steps.len(), 1);
        run.copy(&mut frames, 0);
        Ok(frames)
    }

    /// Times of one trajectory's frames, in the simulation's units.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn times(
        &self,
        split: Split,
        trajectory: usize,
        steps: Range<usize>,
    ) -> Result<Vec<f64>> {
        let run = self.run(split, trajectory, steps).await?;
        Ok(run.rows().map(|(shard, row)| shard.key(row).2).collect())
    }

    /// The fields of one trajectory that do not vary in time, as they are stored: (1, 1, C, *space)
    /// with the channels of [`Schema::constant_channels`]; nothing when there are none.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn constants(&self, split: Split, trajectory: usize) -> Result<Option<Frames>> {
        let held = self.manifest.split(split)?;
        let Some(file) = &held.constants else {
            return Ok(None);
        };
        if trajectory >= file.rows {
            return Err(out_of_range(split, trajectory, 0..1, 0));
        }
        let shard = self.cache.get(file, &self.constant_columns()).await?;
        let channels = self.schema().constant_channels().len();
        let mut frame = Frames::zeros(1, 1, channels, self.schema().grid.shape());
        for channel in 0..channels {
            shard.copy(trajectory, channel, frame.channel_mut(0, 0, channel));
        }
        Ok(Some(frame))
    }

    /// Windows of equal length side by side: (T, B, C, *space).
    pub(crate) async fn runs(
        &self,
        split: Split,
        windows: &[Window],
        length: usize,
    ) -> Result<Vec<Run>> {
        let runs = windows.iter().map(|window| {
            let start = window.start as usize;
            self.run(split, window.trajectory as usize, start..start + length)
        });
        futures::future::try_join_all(runs).await
    }

    /// Zeros for so many frames of so many trajectories.
    pub(crate) fn empty(&self, time: usize, batch: usize) -> Frames {
        let schema = self.schema();
        Frames::zeros(time, batch, schema.channels().len(), schema.grid.shape())
    }

    async fn run(&self, split: Split, trajectory: usize, steps: Range<usize>) -> Result<Run> {
        let held = self.manifest.split(split)?;
        let index = &self.index[&split];
        let frames = held
            .trajectories
            .get(trajectory)
            .map_or(0, |trajectory| trajectory.frames);
        if steps.start > steps.end || steps.end > frames {
            return Err(out_of_range(split, trajectory, steps, frames));
        }
        let first = index.trajectories[trajectory];
        let mut pieces = Vec::new();
        for (shard, rows) in index.pieces(first + steps.start..first + steps.end) {
            pieces.push((
                self.cache.get(&held.shards[shard], &self.columns).await?,
                rows,
            ));
        }
        Ok(Run { pieces })
    }

    fn constant_columns(&self) -> SchemaRef {
        let schema = self.schema();
        shard::columns(
            &schema.grid,
            &schema.constant_channels(),
            self.manifest.dtype,
        )
    }

    /// Reads every byte and compares it with the manifest: sizes, checksums, columns, the number
    /// and the order of rows.
    ///
    /// # Errors
    /// The first damage found: [`Error::Damaged`], [`Error::Malformed`], [`Error::Io`].
    pub async fn verify(&self, reporter: &dyn Reporter) -> Result<()> {
        let files = || self.manifest.splits.values().flat_map(SplitManifest::files);
        let total = files().map(|shard| shard.bytes).sum();
        reporter.begin("verifying", Some(total), "bytes");
        let answer = self.verify_files(reporter).await;
        reporter.end();
        answer
    }

    async fn verify_files(&self, reporter: &dyn Reporter) -> Result<()> {
        for (&split, held) in &self.manifest.splits {
            let mut keys = held
                .trajectories
                .iter()
                .enumerate()
                .flat_map(|(i, t)| (0..t.frames).map(move |step| (i, step)));
            for file in &held.shards {
                let shard = self.fetch(file, &self.columns).await?;
                for row in 0..shard.rows() {
                    let (trajectory, step, _) = shard.key(row);
                    let found = (trajectory as usize, step as usize);
                    let expected = keys.next();
                    if expected != Some(found) {
                        let reason = format!(
                            "row {row} is trajectory and step {found:?}, expected {expected:?}"
                        );
                        return Err(Error::malformed(self.root.join(&file.path), reason));
                    }
                }
                reporter.advance(file.bytes);
            }
            if let Some(file) = &held.constants {
                let shard = self.fetch(file, &self.constant_columns()).await?;
                if shard.rows() != held.trajectories.len() {
                    let reason = format!(
                        "{} rows for {} {split} trajectories",
                        shard.rows(),
                        held.trajectories.len()
                    );
                    return Err(Error::malformed(self.root.join(&file.path), reason));
                }
                reporter.advance(file.bytes);
            }
        }
        Ok(())
    }

    /// A file from its bytes at rest, past the cache.
    async fn fetch(&self, file: &crate::Shard, columns: &SchemaRef) -> Result<ShardData> {
        let place = self.root.join(&file.path);
        cache::decode(place.get().await?, file, columns, &place.to_string())
    }
}

impl RowIndex {
    fn of(held: &SplitManifest) -> Self {
        let sums = |counts: Vec<usize>| {
            let mut before = vec![0];
            before.extend(counts.iter().scan(0, |sum, count| {
                *sum += count;
                Some(*sum)
            }));
            before
        };
        Self {
            trajectories: sums(
                held.trajectories
                    .iter()
                    .map(|trajectory| trajectory.frames)
                    .collect(),
            ),
            shards: sums(held.shards.iter().map(|shard| shard.rows).collect()),
        }
    }

    /// The shards that hold a range of rows, each with its own rows of that range.
    fn pieces(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let first = self
            .shards
            .partition_point(|&before| before <= rows.start)
            .saturating_sub(1);
        (first..self.shards.len() - 1)
            .take_while(move |&shard| self.shards[shard] < rows.end)
            .map(move |shard| {
                let (low, high) = (self.shards[shard], self.shards[shard + 1]);
                (shard, rows.start.max(low) - low..rows.end.min(high) - low)
            })
            .filter(|(_, rows)| !rows.is_empty())
    }
}

impl Run {
    fn rows(&self) -> impl Iterator<Item = (&ShardData, usize)> {
        self.pieces
            .iter()
            .flat_map(|(shard, rows)| rows.clone().map(|row| (shard.as_ref(), row)))
    }

    /// Copies the run into trajectory `batch` of some frames.
    pub(crate) fn copy(&self, frames: &mut Frames, batch: usize) {
        let channels = frames.channels();
        for (time, (shard, row)) in self.rows().enumerate() {
            for channel in 0..channels {
                shard.copy(row, channel, frames.channel_mut(time, batch, channel));
            }
        }
    }
}

fn out_of_range(split: Split, trajectory: usize, steps: Range<usize>, frames: usize) -> Error {
    Error::OutOfRange {
        split: split.to_string(),
        trajectory,
        start: steps.start,
        end: steps.end,
        frames,
    }
}
