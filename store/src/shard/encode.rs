//! Encodes a shard: gathers rows into record batches.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Float64Array, RecordBatch,
    UInt32Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use half::f16;
use half::slice::HalfFloatSliceExt as _;
use object_store::PutPayload;

use super::buffer_pool::BufferPool;
use super::file::File;
use crate::{Compression, Dtype, Error, Frames, Location, Result, Shard};

/// Bytes of a record batch, about: enough for long contiguous runs, few enough to read alone.
const BATCH_BYTES: usize = 8 << 20;

/// The trajectory, step and time of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Index of the trajectory in its split.
    pub trajectory: u32,
    /// Index of the frame in the trajectory.
    pub step: u32,
    /// Time in the simulation's units.
    pub time: f64,
}

/// Collects the rows of one file; about one shard is held in memory.
pub struct ShardWriter {
    object: Location,
    path: String,
    columns: SchemaRef,
    dtype: Dtype,
    cells: usize,
    file: File,
    /// Rows not yet in a record batch, and a list of their values for each channel.
    pending: (Vec<Row>, Vec<Vec<f32>>),
    batch_rows: usize,
    rows: usize,
    recycled: BufferPool,
}

impl ShardWriter {
    pub(crate) fn new(
        object: Location,
        path: String,
        columns: SchemaRef,
        dtype: Dtype,
        compression: Compression,
        cells: usize,
        recycled: &BufferPool,
    ) -> Result<Self> {
        let channels = columns.fields().len() - super::KEYS.len();
        let file = File::begin(&columns, compression, recycled.clone())
            .map_err(|source| encoding(&object, source))?;
        Ok(Self {
            object,
            path,
            columns,
            dtype,
            cells,
            file,
            pending: (Vec::new(), vec![Vec::new(); channels]),
            batch_rows: (BATCH_BYTES / (channels * cells * dtype.bytes()).max(1)).max(1),
            rows: 0,
            recycled: recycled.clone(),
        })
    }

    /// A list for the values of each channel of some rows, for [`ShardWriter::push_rows`]; what is in
    /// it is of no meaning.
    #[must_use]
    pub fn lists(&self, rows: usize) -> Vec<Vec<f32>> {
        let most = rows.max(self.batch_rows) * self.cells;
        let list = |_: &Vec<f32>| self.recycled.take(rows * self.cells, most);
        self.pending.1.iter().map(list).collect()
    }

    /// Rows of a record batch: what [`ShardWriter::push_rows`] takes at a time, the last ones aside.
    #[must_use]
    pub fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    /// Appends one frame, (1, 1, C, *space), of normalized values.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels; [`Error::Malformed`] for a value that the
    /// stored type cannot hold.
    pub fn push(
        &mut self,
        (trajectory, step): (u32, u32),
        time: f64,
        frame: &Frames,
    ) -> Result<()> {
        let channels = self.pending.1.len();
        if (frame.time(), frame.batch(), frame.channels()) != (1, 1, channels) {
            return Err(Error::Shape {
                what: format!("channels of a frame for {}", self.object),
                expected: channels.to_string(),
                found: frame.channels().to_string(),
            });
        }
        let row = Row {
            trajectory,
            step,
            time,
        };
        self.pending.0.push(row);
        for (channel, values) in self.pending.1.iter_mut().enumerate() {
            values.extend_from_slice(frame.channel(0, 0, channel));
        }
        if self.pending.0.len() == self.batch_rows {
            self.flush()?;
        }
        Ok(())
    }

    /// Appends a record batch: rows, and for each channel its normalized values, row after row. The
    /// values are not copied. They must be finite; whether they fit a smaller type is checked.
    ///
    /// # Errors
    /// As [`ShardWriter::push`].
    pub fn push_rows(&mut self, rows: Vec<Row>, channels: Vec<Vec<f32>>) -> Result<()> {
        let expected = rows.len() * self.cells;
        if channels.len() != self.pending.1.len() || channels.iter().any(|c| c.len() != expected) {
            return Err(Error::Shape {
                what: format!("values of {} rows for {}", rows.len(), self.object),
                expected: format!("{} channels of {expected}", self.pending.1.len()),
                found: format!("{:?}", channels.iter().map(Vec::len).collect::<Vec<_>>()),
            });
        }
        self.flush()?;
        if self.dtype != Dtype::F32 {
            self.check(&rows, &channels)?;
        }
        self.write(rows, channels)
    }

    /// Stores the file and gives its record for the manifest.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be stored.
    pub async fn finish(self) -> Result<Shard> {
        let object = self.object.clone();
        let (shard, payload) = self.encoded()?;
        object.put(payload).await?;
        Ok(shard)
    }

    /// The file, not yet stored, and its record for the manifest.
    ///
    /// # Errors
    /// As [`ShardWriter::push`].
    pub fn encoded(mut self) -> Result<(Shard, PutPayload)> {
        self.flush()?;
        let file = self.file.end(&self.columns);
        let shard = Shard {
            path: self.path,
            rows: self.rows,
            bytes: file.length as u64,
            checksum: format!("{:016x}", file.checksum.digest()),
        };
        Ok((shard, file.segments.into_iter().collect()))
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.0.is_empty() {
            return Ok(());
        }
        let channels = vec![Vec::new(); self.pending.1.len()];
        let (rows, channels) = std::mem::replace(&mut self.pending, (Vec::new(), channels));
        self.check(&rows, &channels)?;
        self.write(rows, channels)
    }

    fn check(&self, rows: &[Row], channels: &[Vec<f32>]) -> Result<()> {
        for (channel, values) in channels.iter().enumerate() {
            if let Err((index, value)) = self.dtype.check(values) {
                let (name, row) = (
                    self.columns.field(channel + super::KEYS.len()).name(),
                    rows[index / self.cells.max(1)],
                );
                let reason = format!(
                    "{name} of trajectory {} step {} is {value}, which {} cannot hold",
                    row.trajectory,
                    row.step,
                    format!("{:?}", self.dtype).to_lowercase()
                );
                return Err(Error::malformed(&self.object, reason));
            }
        }
        Ok(())
    }

    fn write(&mut self, rows: Vec<Row>, channels: Vec<Vec<f32>>) -> Result<()> {
        self.rows += rows.len();
        record_batch(&rows, channels, &self.columns, self.dtype)
            .and_then(|batch| self.file.push(&batch))
            .map_err(|source| encoding(&self.object, source))
    }
}

fn record_batch(
    rows: &[Row],
    channels: Vec<Vec<f32>>,
    columns: &SchemaRef,
    dtype: Dtype,
) -> Result<RecordBatch, ArrowError> {
    let trajectories = rows.iter().map(|row| row.trajectory);
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(trajectories)),
        Arc::new(UInt32Array::from_iter_values(
            rows.iter().map(|row| row.step),
        )),
        Arc::new(Float64Array::from_iter_values(
            rows.iter().map(|row| row.time),
        )),
    ];
    for (values, field) in channels
        .into_iter()
        .zip(&columns.fields()[super::KEYS.len()..])
    {
        let DataType::FixedSizeList(item, cells) = field.data_type() else {
            return Err(ArrowError::SchemaError(format!(
                "{} is not a tensor",
                field.name()
            )));
        };
        let values: ArrayRef = match dtype {
            Dtype::F32 => Arc::new(Float32Array::from(values)),
            Dtype::F16 => Arc::new(Float16Array::from(halved(&values))),
        };
        arrays.push(Arc::new(FixedSizeListArray::try_new(
            Arc::clone(item),
            *cells,
            values,
            None,
        )?));
    }
    RecordBatch::try_new(Arc::clone(columns), arrays)
}

fn halved(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}

impl Dtype {
    /// Finds the first value, and where it is, that is not a number or that this type would turn
    /// into infinity.
    fn check(self, values: &[f32]) -> Result<(), (usize, f32)> {
        let limit = match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
        };
        // A comparison with a value that is not a number is false.
        let fits = |value: &f32| value.abs() <= limit;
        // Without an early end the compiler makes vectors of it.
        let all = |block: &[f32]| block.iter().fold(true, |all, value| all & fits(value));
        for (block, values) in values.chunks(1 << 12).enumerate() {
            if !all(values) {
                let bad = values.iter().position(|value| !fits(value)).unwrap_or(0);
                return Err(((block << 12) + bad, values[bad]));
            }
        }
        Ok(())
    }
}

fn encoding(object: &Location, source: ArrowError) -> Error {
    Error::Arrow {
        action: "encode",
        object: object.to_string(),
        source,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
    use arrow::ipc::{CompressionType, MetadataVersion};

    use super::super::file::ALIGNMENT;
    use super::*;
    use crate::sample;

    /// Arrow's own writer gives the same bytes.
    #[tokio::test]
    async fn a_shard_is_what_arrow_writes() {
        let schema = sample::schema();
        let columns = super::super::columns(&schema.grid, &schema.channels(), Dtype::F32);
        let root = Location::parse("memory:///ds").unwrap();
        for (compression, codec) in [
            (Compression::None, None),
            (Compression::Zstd, Some(CompressionType::ZSTD)),
        ] {
            let mut writer = ShardWriter::new(
                root.join("a"),
                "a".into(),
                columns.clone(),
                Dtype::F32,
                compression,
                24,
                &BufferPool::default(),
            )
            .unwrap();
            let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
                .unwrap()
                .try_with_compression(codec)
                .unwrap();
            let mut expected =
                FileWriter::try_new_with_options(Vec::new(), &columns, options).unwrap();
            for step in 0..3_u32 {
                let row = Row {
                    trajectory: 0,
                    step,
                    time: 0.5,
                };
                let frame = sample::frame(0, step as usize);
                let channels: Vec<Vec<f32>> =
                    (0..3).map(|c| frame.channel(0, 0, c).to_vec()).collect();
                let batch = record_batch(&[row], channels.clone(), &columns, Dtype::F32).unwrap();
                expected.write(&batch).unwrap();
                writer.push_rows(vec![row], channels).unwrap();
            }
            let shard = writer.finish().await.unwrap();
            let bytes = root.join("a").get().await.unwrap();
            let expected = expected.into_inner().unwrap();
            let same = bytes.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!((same, bytes.len()), (None, expected.len()));
            shard.check(&bytes, "a").unwrap();
        }
    }
}
