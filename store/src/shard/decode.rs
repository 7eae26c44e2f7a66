//! Decodes a shard without copying its values. The bytes may be damaged or hostile, so every offset and
//! length is checked against the file before Arrow uses it.

use std::iter::StepBy;
use std::ops::Range;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, SchemaRef, UInt32Type};
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, Footer, MessageHeader, root_as_footer, root_as_message};
use half::f16;

use crate::{Error, Frames, Offsets, Result, Value};

/// Magic number and footer length at the end of a file.
pub(super) const TRAILER: usize = 10;

/// The rows of one file, ready to be copied from.
#[derive(Debug)]
pub(crate) struct ShardData {
    batches: Vec<Batch>,
    /// The rows of each batch.
    rows: Offsets,
}

#[derive(Debug)]
struct Batch {
    trajectory: ScalarBuffer<u32>,
    step: ScalarBuffer<u32>,
    time: ScalarBuffer<f64>,
    channels: Vec<StoredValues>,
    cells: usize,
}

/// Values of a channel as they are stored (normalized), in the memory of an open shard, which stays as long as they do.
#[derive(Debug, Clone)]
pub enum StoredValues {
    /// In single precision.
    F32(ScalarBuffer<f32>),
    /// In half precision.
    F16(ScalarBuffer<f16>),
}

impl StoredValues {
    /// `len` of them from `first` on, not copied.
    fn slice(&self, first: usize, len: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(values.slice(first, len)),
            Self::F16(values) => Self::F16(values.slice(first, len)),
        }
    }
}

impl ShardData {
    /// Decodes a file of the given columns; `object` names it in errors.
    pub(crate) fn decode(file: &Buffer, columns: &SchemaRef, object: &str) -> Result<Self> {
        let malformed = |reason: String| Error::malformed(object, reason);
        let footer = footer(file).map_err(malformed)?;
        check_columns(&footer, columns).map_err(malformed)?;
        let decoder = FileDecoder::new(columns.clone(), footer.version());
        let mut batches = Vec::new();
        for block in footer.recordBatches().iter().flatten() {
            let bytes = check_block(file, block).map_err(malformed)?;
            let batch =
                decoder
                    .read_record_batch(block, &bytes)
                    .map_err(|source| Error::Arrow {
                        action: "decode",
                        object: object.to_owned(),
                        source,
                    })?;
            let Some(batch) = batch else { continue };
            batches.push(
                Batch::of(&batch).ok_or_else(|| malformed("a column has another type".into()))?,
            );
        }
        Ok(Self {
            rows: Offsets::of(batches.iter().map(|batch: &Batch| batch.time.len())),
            batches,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows.total()
    }

    /// Trajectory, step and time of a row.
    pub(crate) fn key(&self, row: usize) -> (u32, u32, f64) {
        let (batch, row) = self.find(row);
        (batch.trajectory[row], batch.step[row], batch.time[row])
    }

    /// Copies every `stride`-th row of a range into successive frames of trajectory `batch`, the
    /// first of them at `time`.
    pub(crate) fn copy<T: Value>(
        &self,
        rows: Range<usize>,
        stride: usize,
        frames: &mut Frames<T>,
        mut time: usize,
        batch: usize,
    ) {
        let mut row = rows.start;
        while row < rows.end {
            let (held, first) = self.find(row);
            let end = rows.end.min(row - first + held.time.len());
            let here = (first..first + end - row).step_by(stride);
            let count = here.len();
            held.copy(here, frames, time, batch);
            time += count;
            row = row.saturating_add(count.saturating_mul(stride));
        }
    }

    /// Each channel of a range of rows, not copied; none where they lie in several record batches.
    pub(crate) fn stored(&self, rows: Range<usize>) -> Option<Vec<StoredValues>> {
        let last = rows.end.checked_sub(1).filter(|&last| last >= rows.start)?;
        let (batch, first) = self.find(rows.start);
        if self.rows.find(last) != self.rows.find(rows.start) {
            return None;
        }
        let (first, len) = (first * batch.cells, rows.len() * batch.cells);
        let channels = batch.channels.iter();
        Some(channels.map(|values| values.slice(first, len)).collect())
    }

    fn find(&self, row: usize) -> (&Batch, usize) {
        let batch = self.rows.find(row);
        (&self.batches[batch], row - self.rows.start(batch))
    }
}

impl Batch {
    /// A channel's rows follow one another, so this reads memory in one direction.
    fn copy<T: Value>(
        &self,
        rows: StepBy<Range<usize>>,
        frames: &mut Frames<T>,
        time: usize,
        batch: usize,
    ) {
        for (channel, values) in self.channels.iter().enumerate() {
            for (row, time) in rows.clone().zip(time..) {
                let cells = row * self.cells..(row + 1) * self.cells;
                let into = frames.channel_mut(time, batch, channel);
                match values {
                    StoredValues::F32(values) => T::gather_f32(&values[cells], into),
                    StoredValues::F16(values) => T::gather_f16(&values[cells], into),
                }
            }
        }
    }

    fn of(batch: &RecordBatch) -> Option<Self> {
        let key = |i: usize| {
            batch
                .column(i)
                .as_primitive_opt::<UInt32Type>()
                .map(|a| a.values().clone())
        };
        let mut cells = 0;
        let mut channels = Vec::new();
        for column in &batch.columns()[super::KEYS.len()..] {
            let list = column.as_fixed_size_list_opt()?;
            cells = list.value_length() as usize;
            let values = list.values();
            channels.push(match values.data_type() {
                DataType::Float32 => {
                    StoredValues::F32(values.as_primitive_opt::<Float32Type>()?.values().clone())
                }
                DataType::Float16 => {
                    StoredValues::F16(values.as_primitive_opt::<Float16Type>()?.values().clone())
                }
                _ => return None,
            });
        }
        Some(Self {
            trajectory: key(0)?,
            step: key(1)?,
            time: batch
                .column(2)
                .as_primitive_opt::<Float64Type>()?
                .values()
                .clone(),
            channels,
            cells,
        })
    }
}

/// The footer of a file, of which `file` is the end at least.
pub(super) fn footer(file: &Buffer) -> Result<Footer<'_>, String> {
    let body = file
        .len()
        .checked_sub(TRAILER)
        .ok_or("it is too short for an Arrow file")?;
    let mut trailer = [0; TRAILER];
    trailer.copy_from_slice(&file[body..]);
    let length = read_footer_length(trailer).map_err(|error| error.to_string())?;
    let start = body
        .checked_sub(length)
        .ok_or("its footer is longer than the file")?;
    root_as_footer(&file[start..body]).map_err(|error| format!("its footer: {error}"))
}

pub(super) fn check_columns(footer: &Footer<'_>, columns: &SchemaRef) -> Result<(), String> {
    let stored = footer
        .schema()
        .and_then(|schema| schema.fields())
        .ok_or("it has no schema")?;
    let stored: Vec<&str> = stored.iter().filter_map(|field| field.name()).collect();
    let expected: Vec<&str> = columns
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    if stored != expected {
        return Err(format!(
            "its columns are {}, not {}",
            stored.join(" "),
            expected.join(" ")
        ));
    }
    Ok(())
}

/// The bytes of a block, after every offset and length in it was found to lie within them.
pub(super) fn check_block(file: &Buffer, block: &Block) -> Result<Buffer, String> {
    let whole = |n: i64| usize::try_from(n).map_err(|_| "a negative length".to_owned());
    let (start, head) = (
        whole(block.offset())?,
        whole(i64::from(block.metaDataLength()))?,
    );
    let body = whole(block.bodyLength())?;
    let length = head.checked_add(body).ok_or("a length overflows")?;
    let end = start.checked_add(length).ok_or("a length overflows")?;
    if end > file.len() || head < 8 {
        return Err(format!(
            "a record batch at {start}..{end} lies outside the file"
        ));
    }
    let bytes = file.slice_with_length(start, length);
    let message =
        root_as_message(&bytes[8..head]).map_err(|error| format!("a record batch: {error}"))?;
    if message.header_type() != MessageHeader::RecordBatch {
        return Err("a block is not a record batch".into());
    }
    let batch = message
        .header_as_record_batch()
        .ok_or("a block is not a record batch")?;
    if batch.variadicBufferCounts().is_some() {
        return Err("a record batch has buffers of a type that shards do not use".into());
    }
    // A row needs 16 bytes of keys, so this bounds what a decoder may allocate.
    let most = file.len().saturating_mul(1 << 10);
    if batch
        .nodes()
        .iter()
        .flatten()
        .any(|node| whole(node.length()).map_or(true, |n| n > most))
    {
        return Err("a column claims more rows than the file could hold".into());
    }
    if batch
        .nodes()
        .iter()
        .flatten()
        .any(|node| node.null_count() != 0)
    {
        return Err("a column claims missing values".into());
    }
    for buffer in batch.buffers().iter().flatten() {
        let (at, size) = (whole(buffer.offset())?, whole(buffer.length())?);
        if at.checked_add(size).is_none_or(|end| end > body) {
            return Err("a buffer lies outside its record batch".into());
        }
        if batch.compression().is_some() && size >= 8 {
            let mut inflated = [0; 8];
            inflated.copy_from_slice(&bytes[head + at..head + at + 8]);
            let inflated = i64::from_le_bytes(inflated);
            if inflated > most as i64 {
                return Err("a compressed buffer claims an impossible size".into());
            }
        }
    }
    Ok(bytes)
}
