//! Writing a shard: rows are gathered into record batches, the file is stored whole.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float16Array, Float32Array, Float64Array, RecordBatch,
    UInt32Array,
};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{CompressionType, MetadataVersion};
use half::f16;
use half::slice::HalfFloatSliceExt as _;

use crate::{Compression, Dtype, Error, Frames, Location, Result, Shard};

/// Bytes of a record batch, about: enough for long contiguous runs, few enough to read alone.
const BATCH_BYTES: usize = 8 << 20;

/// Cache lines and vector registers.
const ALIGNMENT: usize = 64;

/// Collects the rows of one file; about one shard is held in memory.
pub struct ShardWriter {
    object: Location,
    path: String,
    columns: SchemaRef,
    dtype: Dtype,
    file: FileWriter<Vec<u8>>,
    pending: Rows,
    batch_rows: usize,
    rows: usize,
}

/// Rows not yet in a record batch.
#[derive(Debug, Default)]
struct Rows {
    trajectory: Vec<u32>,
    step: Vec<u32>,
    time: Vec<f64>,
    channels: Vec<Vec<f32>>,
}

impl ShardWriter {
    pub(crate) fn new(
        root: &Location,
        path: String,
        columns: SchemaRef,
        (dtype, compression): (Dtype, Compression),
        cells: usize,
    ) -> Result<Self> {
        let object = root.join(&path);
        let channels = columns.fields().len() - super::KEYS.len();
        let file = open(&columns, compression).map_err(|source| encoding(&object, source))?;
        Ok(Self {
            object,
            path,
            columns,
            dtype,
            file,
            pending: Rows {
                channels: vec![Vec::new(); channels],
                ..Rows::default()
            },
            batch_rows: (BATCH_BYTES / (channels * cells * dtype.bytes()).max(1)).max(1),
            rows: 0,
        })
    }

    /// Appends one frame, (1, 1, C, *space), of normalised values.
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
        if (frame.time(), frame.batch(), frame.channels()) != (1, 1, self.pending.channels.len()) {
            return Err(Error::Shape {
                what: format!("channels of a frame for {}", self.object),
                expected: self.pending.channels.len().to_string(),
                found: frame.channels().to_string(),
            });
        }
        for (channel, values) in self.pending.channels.iter_mut().enumerate() {
            let frame = frame.channel(0, 0, channel);
            self.dtype.check(frame).map_err(|value| {
                let name = self.columns.field(channel + super::KEYS.len()).name();
                let reason = format!(
                    "{name} of trajectory {trajectory} step {step} is {value}, which {} cannot hold",
                    format!("{:?}", self.dtype).to_lowercase()
                );
                Error::malformed(&self.object, reason)
            })?;
            values.extend_from_slice(frame);
        }
        self.pending.trajectory.push(trajectory);
        self.pending.step.push(step);
        self.pending.time.push(time);
        self.rows += 1;
        if self.pending.step.len() == self.batch_rows {
            self.flush()?;
        }
        Ok(())
    }

    /// Stores the file and gives its record for the manifest.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be stored.
    pub async fn finish(mut self) -> Result<Shard> {
        if !self.pending.step.is_empty() {
            self.flush()?;
        }
        let bytes = self
            .file
            .into_inner()
            .map_err(|source| encoding(&self.object, source))?;
        let shard = Shard::of(self.path, self.rows, &bytes);
        self.object.put(bytes).await?;
        Ok(shard)
    }

    fn flush(&mut self) -> Result<()> {
        let fresh = Rows {
            channels: vec![Vec::new(); self.pending.channels.len()],
            ..Rows::default()
        };
        let rows = std::mem::replace(&mut self.pending, fresh);
        rows.into_batch(&self.columns, self.dtype)
            .and_then(|batch| self.file.write(&batch))
            .map_err(|source| encoding(&self.object, source))
    }
}

impl Rows {
    fn into_batch(self, columns: &SchemaRef, dtype: Dtype) -> Result<RecordBatch, ArrowError> {
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(self.trajectory)),
            Arc::new(UInt32Array::from(self.step)),
            Arc::new(Float64Array::from(self.time)),
        ];
        for (values, field) in self
            .channels
            .into_iter()
            .zip(&columns.fields()[super::KEYS.len()..])
        {
            let arrow::datatypes::DataType::FixedSizeList(item, cells) = field.data_type() else {
                return Err(ArrowError::SchemaError(format!(
                    "{} is no tensor",
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
}

fn halved(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}

impl Dtype {
    /// The first value that this type would turn into infinity or that is no number.
    fn check(self, values: &[f32]) -> Result<(), f32> {
        let limit = match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
        };
        match values
            .iter()
            .find(|value| value.is_nan() || value.abs() > limit)
        {
            Some(&value) => Err(value),
            None => Ok(()),
        }
    }
}

fn open(columns: &SchemaRef, compression: Compression) -> Result<FileWriter<Vec<u8>>, ArrowError> {
    let codec = match compression {
        Compression::None => None,
        Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        Compression::Zstd => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?
        .try_with_compression(codec)?;
    FileWriter::try_new_with_options(Vec::new(), columns, options)
}

fn encoding(object: &Location, source: ArrowError) -> Error {
    Error::Arrow {
        action: "encode",
        object: object.to_string(),
        source,
    }
}
