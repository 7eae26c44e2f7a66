//! [`Scanner`]: reads some columns of some frames as Arrow, in the fields' own units, for SQL.
//!
//! The manifest tells which rows are which frames, so choosing frames costs nothing. The footer of a shard
//! and the heads of its record batches are read once; then each record batch costs a request for every
//! run of neighbouring columns. Checksums cover whole files, so they are not compared here; `wellspring
//! verify` compares them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray as _, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Schema as ArrowSchema, SchemaRef,
};
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use crate::plan::rows::RowIndex;
use crate::shard::{self, KEYS, ShardIndex};
use crate::{Dataset, Dtype, Error, Normalizer, Result, Split};

/// Record batches of a piece that are read at once.
const AHEAD: usize = 2;

/// What is wanted of frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameColumns {
    /// Whether the times of frames are read.
    pub time: bool,
    /// Channels by number, as [`crate::Schema::channels`] has them.
    pub channels: Vec<usize>,
}

/// Neighbouring rows of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRows {
    /// The part of the data set.
    pub split: Split,
    /// Number of the shard within the split.
    pub shard: usize,
    /// Rows of the split.
    pub rows: Range<usize>,
}

/// Reads columns of a data set.
#[derive(Debug)]
pub struct Scanner {
    dataset: Arc<Dataset>,
    columns: SchemaRef,
    normalizer: Normalizer,
    rows: BTreeMap<Split, RowIndex>,
    indices: Mutex<HashMap<String, Arc<OnceCell<Arc<ShardIndex>>>>>,
}

impl Scanner {
    /// A scanner of a data set; reads nothing yet.
    #[must_use]
    pub fn new(dataset: Arc<Dataset>) -> Self {
        let manifest = dataset.manifest();
        let schema = &manifest.schema;
        Self {
            columns: shard::columns(&schema.grid, &schema.channels(), manifest.dtype),
            normalizer: dataset.normalizer().clone(),
            rows: manifest
                .splits
                .iter()
                .map(|(&split, held)| (split, RowIndex::of(split, held)))
                .collect(),
            indices: Mutex::default(),
            dataset,
        }
    }

    /// What is scanned.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// The columns of an answer: `time`, then tensors of f32.
    #[must_use]
    pub fn schema(&self, wanted: &FrameColumns) -> SchemaRef {
        let grid = &self.dataset.schema().grid;
        let all = shard::columns(grid, &self.dataset.schema().channels(), Dtype::F32);
        let time = wanted.time.then(|| all.field(KEYS.len() - 1).clone());
        let channels = wanted.channels.iter();
        let channels = channels.map(|channel| all.field(KEYS.len() + channel).clone());
        Arc::new(ArrowSchema::new(
            time.into_iter().chain(channels).collect::<Vec<Field>>(),
        ))
    }

    /// The rows of some frames of a trajectory, among those of the split; none where it has no such
    /// frames.
    #[must_use]
    pub fn rows(&self, split: Split, trajectory: usize, steps: Range<usize>) -> Range<usize> {
        let Some(index) = self.rows.get(&split) else {
            return 0..0;
        };
        let Some(whole) = index.trajectories.get(trajectory) else {
            return 0..0;
        };
        let row = |step: usize| whole.start.saturating_add(step).min(whole.end);
        row(steps.start)..row(steps.end)
    }

    /// Trajectory and step of a row.
    ///
    /// # Panics
    /// When the data set has no such split.
    #[must_use]
    pub fn frame(&self, split: Split, row: usize) -> (usize, usize) {
        let trajectories = &self.rows[&split].trajectories;
        let trajectory = trajectories.find(row);
        (trajectory, row - trajectories.start(trajectory))
    }

    /// The shards' pieces of a range of a split's rows.
    #[must_use]
    pub fn pieces(&self, split: Split, rows: Range<usize>) -> Vec<ShardRows> {
        let Some(RowIndex { shards, .. }) = self.rows.get(&split) else {
            return Vec::new();
        };
        let piece = |(shard, own): (usize, Range<usize>)| {
            let first = shards.start(shard);
            ShardRows {
                split,
                shard,
                rows: first + own.start..first + own.end,
            }
        };
        shards.cut(rows).map(piece).collect()
    }

    /// A piece's frames, a stored record batch at a time.
    pub fn scan(
        self: Arc<Self>,
        piece: ShardRows,
        wanted: FrameColumns,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        let whole = async move {
            let rows = self.within(&piece, &wanted)?;
            let index = self.index(&piece).await?;
            let reads = index.batches(&rows).into_iter();
            Ok(stream::iter(reads)
                .map(move |(batch, rows)| {
                    let (scanner, index, wanted) =
                        (Arc::clone(&self), Arc::clone(&index), wanted.clone());
                    async move { scanner.read(&index, batch, rows, &wanted).await }
                })
                .buffered(AHEAD))
        };
        stream::once(whole).try_flatten()
    }

    /// The rows of a piece's own shard. A piece may come from another machine.
    fn within(&self, piece: &ShardRows, wanted: &FrameColumns) -> Result<Range<usize>> {
        let channels = self.dataset.schema().channels().len();
        if let Some(channel) = wanted.channels.iter().find(|&&channel| channel >= channels) {
            return Err(Error::Shape {
                what: format!("a channel of {}", self.dataset.location()),
                expected: format!("less than {channels}"),
                found: channel.to_string(),
            });
        }
        let index = self.rows.get(&piece.split);
        let own = index.and_then(|index| index.shards.get(piece.shard));
        let own = own.unwrap_or(0..0);
        let rows = &piece.rows;
        if rows.start < own.start || rows.start > rows.end || rows.end > own.end {
            return Err(Error::Shape {
                what: format!("rows of {} shard {}", piece.split, piece.shard),
                expected: format!("{own:?}"),
                found: format!("{rows:?}"),
            });
        }
        Ok(rows.start - own.start..rows.end - own.start)
    }

    async fn read(
        &self,
        index: &ShardIndex,
        batch: usize,
        rows: Range<usize>,
        wanted: &FrameColumns,
    ) -> Result<RecordBatch> {
        let time = wanted.time.then_some(KEYS.len() - 1);
        let channels = wanted.channels.iter().map(|channel| KEYS.len() + channel);
        let columns: Vec<usize> = time.into_iter().chain(channels).collect();
        // A decoder gives the columns in their stored order.
        let mut stored = columns.clone();
        stored.sort_unstable();
        stored.dedup();
        let batch = index.read(batch, rows, &stored).await?;
        let schema = self.schema(wanted);
        let arrays = columns.iter().zip(schema.fields()).map(|(column, field)| {
            let array = batch.column(stored.partition_point(|other| other < column));
            match column.checked_sub(KEYS.len()) {
                None => Ok(Arc::clone(array)),
                Some(channel) => self.in_units(array, channel, field),
            }
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>, _>>();
        arrays
            .and_then(|arrays| RecordBatch::try_new(Arc::clone(&schema), arrays))
            .map_err(|source| Error::Arrow {
                action: "decode",
                object: self.dataset.location().to_string(),
                source,
            })
    }

    /// A channel's stored values as f32 in the field's units.
    fn in_units(
        &self,
        stored: &ArrayRef,
        channel: usize,
        field: &Field,
    ) -> Result<ArrayRef, arrow::error::ArrowError> {
        let list = stored.as_fixed_size_list();
        let mut values: Vec<f32> = match list.values().data_type() {
            DataType::Float16 => {
                let halves = list.values().as_primitive::<Float16Type>().values();
                halves.iter().map(|x| x.to_f32()).collect()
            }
            _ => list
                .values()
                .as_primitive::<Float32Type>()
                .values()
                .to_vec(),
        };
        self.normalizer.channels()[channel].denormalize(&mut values);
        let DataType::FixedSizeList(item, width) = field.data_type() else {
            return Ok(Arc::clone(stored));
        };
        let values = Arc::new(Float32Array::from(values));
        let list = FixedSizeListArray::try_new(Arc::clone(item), *width, values, None)?;
        Ok(Arc::new(list))
    }

    /// Where the columns of a piece's shard lie; read once.
    async fn index(&self, piece: &ShardRows) -> Result<Arc<ShardIndex>> {
        let shard = &self.dataset.manifest().split(piece.split)?.shards[piece.shard];
        let cell = {
            let mut indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(indices.entry(shard.path.clone()).or_default())
        };
        let place = self.dataset.location().join(&shard.path);
        let index = cell.get_or_try_init(|| async {
            ShardIndex::fetch(place, shard, Arc::clone(&self.columns))
                .await
                .map(Arc::new)
        });
        index.await.cloned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
