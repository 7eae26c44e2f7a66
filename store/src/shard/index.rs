//! The index of a shard: offsets of its columns, from the footer and the heads of its record batches. It
//! needs none of the values, so reading a few columns of a few rows costs few requests and bytes.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, MetadataVersion, root_as_message};
use bytes::Bytes;
use futures::future::try_join_all;
use memmap2::MmapMut;

use super::KEYS;
use super::decode::{TRAILER, check_block, check_columns, footer};
use crate::{Error, Location, Offsets, Result, Shard};

/// Bytes of the end of a file that are asked for at first: footers are shorter.
const TAIL: u64 = 16 << 10;

/// Buffers no further apart are read in one request.
const GAP: u64 = 32 << 10;

/// Positions of the columns of one file.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    place: Location,
    columns: SchemaRef,
    version: MetadataVersion,
    batches: Vec<BatchIndex>,
    /// The rows of each batch.
    rows: Offsets,
}

#[derive(Debug)]
struct BatchIndex {
    /// Offset in the file.
    offset: u64,
    head: Bytes,
    body: u64,
    rows: usize,
    compressed: bool,
    /// Ranges of the buffers within the body.
    buffers: Vec<Range<u64>>,
}

impl ShardIndex {
    /// Reads the footer, and the head of every record batch.
    pub(crate) async fn fetch(place: Location, shard: &Shard, columns: SchemaRef) -> Result<Self> {
        let malformed = |reason: String| Error::malformed(&place, reason);
        let tail = tail(&place, shard).await?;
        let (version, blocks) = {
            let footer = footer(&tail).map_err(malformed)?;
            check_columns(&footer, &columns).map_err(malformed)?;
            let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
            (footer.version(), blocks)
        };
        let batches = blocks
            .iter()
            .map(|block| BatchIndex::fetch(&place, block, shard.bytes));
        let batches = try_join_all(batches).await?;
        let rows = Offsets::of(batches.iter().map(|batch| batch.rows));
        if rows.total() != shard.rows {
            let reason = format!(
                "it has {} rows, the manifest says {}",
                rows.total(),
                shard.rows
            );
            return Err(malformed(reason));
        }
        Ok(Self {
            place,
            columns,
            version,
            batches,
            rows,
        })
    }

    /// The record batches that hold some rows, and which of their rows those are.
    pub(crate) fn batches(&self, rows: &Range<usize>) -> Vec<(usize, Range<usize>)> {
        self.rows.cut(rows.clone()).collect()
    }

    /// Reads some columns of some rows of a record batch, and no other bytes except those between close ones.
    pub(crate) async fn read(
        &self,
        batch: usize,
        rows: Range<usize>,
        wanted: &[usize],
    ) -> Result<RecordBatch> {
        let malformed = |reason: String| Error::malformed(&self.place, reason);
        let index = &self.batches[batch];
        let mut ranges = Vec::new();
        for &column in wanted {
            let found = index.ranges(column, &rows, self.columns.field(column).data_type());
            ranges.extend(found.map_err(malformed)?);
        }
        let bytes = index.fetch_ranges(&self.place, joined(ranges)).await?;
        // The batch as it lies in the file, with zeros where nothing was asked for.
        let head = index.head.len() as i32;
        let block = Block::new(0, head, index.body as i64);
        let bytes = check_block(&bytes, &block).map_err(malformed)?;
        let decoder =
            FileDecoder::new(self.columns.clone(), self.version).with_projection(wanted.to_vec());
        let decoded = decoder
            .read_record_batch(&block, &bytes)
            .map_err(|source| Error::Arrow {
                action: "decode",
                object: self.place.to_string(),
                source,
            })?;
        match decoded {
            Some(decoded) if decoded.num_rows() >= rows.end => {
                Ok(decoded.slice(rows.start, rows.len()))
            }
            _ => Err(malformed(
                "a record batch has fewer rows than its head says".into(),
            )),
        }
    }
}

impl BatchIndex {
    async fn fetch(place: &Location, block: &Block, file: u64) -> Result<Self> {
        let malformed = |reason: &str| Error::malformed(place, reason);
        let whole = |n: i64| u64::try_from(n).map_err(|_| malformed("a negative length"));
        let (offset, body) = (whole(block.offset())?, whole(block.bodyLength())?);
        let head = whole(i64::from(block.metaDataLength()))?;
        let end = offset
            .checked_add(head)
            .and_then(|end| end.checked_add(body));
        if head < 8 || end.is_none_or(|end| end > file) {
            return Err(malformed("a record batch lies outside the file"));
        }
        let bytes = place.get_range(offset..offset + head).await?;
        let message = root_as_message(&bytes[8..])
            .map_err(|error| Error::malformed(place, format!("a record batch: {error}")))?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| malformed("a block is not a record batch"))?;
        let mut buffers = Vec::new();
        for buffer in batch.buffers().iter().flatten() {
            let (at, length) = (whole(buffer.offset())?, whole(buffer.length())?);
            match at.checked_add(length) {
                Some(end) if end <= body => buffers.push(at..end),
                _ => return Err(malformed("a buffer lies outside its record batch")),
            }
        }
        Ok(Self {
            offset,
            body,
            rows: usize::try_from(batch.length()).map_err(|_| malformed("a negative length"))?,
            compressed: batch.compression().is_some(),
            buffers,
            head: bytes.clone(),
        })
    }

    /// Ranges of a column's buffers within the body; for a tensor that is not compressed, only those of the
    /// rows' values.
    fn ranges(
        &self,
        column: usize,
        rows: &Range<usize>,
        kind: &DataType,
    ) -> Result<Vec<Range<u64>>, String> {
        // Keys have a mask and values, tensors a mask, and a mask and values of their cells.
        let first = 2 * column.min(KEYS.len()) + 3 * column.saturating_sub(KEYS.len());
        let last = first + if column < KEYS.len() { 1 } else { 2 };
        let mut found: Vec<Range<u64>> = self
            .buffers
            .get(first..=last)
            .ok_or("a record batch has too few buffers")?
            .to_vec();
        if let (DataType::FixedSizeList(item, cells), false) = (kind, self.compressed) {
            let row = *cells as u64 * item.data_type().primitive_width().unwrap_or(0) as u64;
            let values = &mut found[2];
            let high = row.checked_mul(rows.end as u64);
            let Some(high) = high.filter(|&high| high <= values.end - values.start) else {
                return Err("a column has fewer values than rows".into());
            };
            *values = values.start + row * rows.start as u64..values.start + high;
        }
        found.retain(|range| !range.is_empty());
        Ok(found)
    }

    async fn fetch_ranges(&self, place: &Location, ranges: Vec<Range<u64>>) -> Result<Buffer> {
        let start = self.offset + self.head.len() as u64;
        let reads = ranges
            .iter()
            .map(|range| place.get_range(start + range.start..start + range.end));
        let parts = try_join_all(reads).await?;
        // The system gives pages only for what is written to, and an error where there are none.
        let length = self.head.len() as u64 + self.body;
        let memory = |source| Error::Memory {
            object: place.to_string(),
            bytes: length,
            source,
        };
        let size = usize::try_from(length).map_err(|error| memory(std::io::Error::other(error)))?;
        let mut sparse = MmapMut::map_anon(size).map_err(memory)?;
        sparse[..self.head.len()].copy_from_slice(&self.head);
        for (range, part) in ranges.iter().zip(parts) {
            let at = self.head.len() + range.start as usize;
            sparse[at..at + part.len()].copy_from_slice(&part);
        }
        Ok(Buffer::from(Bytes::from_owner(sparse)))
    }
}

/// The end of a file, its footer at least.
async fn tail(place: &Location, shard: &Shard) -> Result<Buffer> {
    let size = shard.bytes;
    let bytes = place.get_range(size.saturating_sub(TAIL)..size).await?;
    let Some(trailer) = bytes.last_chunk::<TRAILER>() else {
        return Err(Error::malformed(place, "it is too short for an Arrow file"));
    };
    let length = read_footer_length(*trailer)
        .map_err(|error| Error::malformed(place, error))?
        .saturating_add(TRAILER) as u64;
    if length <= bytes.len() as u64 || length > size {
        return Ok(Buffer::from(bytes));
    }
    Ok(Buffer::from(place.get_range(size - length..size).await?))
}

/// Ranges in order, neighbours as one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + GAP => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
