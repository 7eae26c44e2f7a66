//! Writes an Arrow IPC file whose buffers go to the store without a copy.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamEncoder, write_message,
};
use arrow::ipc::{Block, CompressionType, FooterBuilder, MetadataVersion};
use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use xxhash_rust::xxh3::Xxh3;

use super::buffer_pool::{BufferPool, Segment};
use crate::Compression;

/// Cache lines and vector registers.
pub(super) const ALIGNMENT: usize = 64;

const MAGIC: &[u8; 6] = b"ARROW1";

/// What the stream of messages ends with.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// An Arrow IPC file as the segments that it is made of.
pub(super) struct File {
    encoder: StreamEncoder,
    pub(super) segments: Vec<Bytes>,
    pub(super) length: usize,
    blocks: Vec<Block>,
    pub(super) checksum: Xxh3,
    recycled: BufferPool,
}

impl File {
    pub(super) fn begin(
        columns: &SchemaRef,
        compression: Compression,
        recycled: BufferPool,
    ) -> Result<Self, ArrowError> {
        let codec = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
            Compression::Zstd => Some(CompressionType::ZSTD),
        };
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?
            .try_with_compression(codec)?;
        let mut head = MAGIC.to_vec();
        head.resize(ALIGNMENT, 0);
        let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            columns,
            &mut DictionaryTracker::new(true),
            &options,
        );
        write_message(&mut head, schema, &options)?;
        let mut encoder = StreamEncoder::try_new_with_options(columns, options)?;
        // Its first answer has the schema in front.
        encoder.encode(&RecordBatch::new_empty(Arc::clone(columns)))?;
        let mut file = Self {
            encoder,
            segments: Vec::new(),
            length: 0,
            blocks: Vec::new(),
            checksum: Xxh3::new(),
            recycled,
        };
        file.append(head.into());
        Ok(file)
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let start = self.length;
        let message = self.encoder.encode(batch)?;
        let head = message_head(&message)?;
        for buffer in message {
            if !buffer.is_empty() {
                let recycled = self.recycled.clone();
                self.append(Bytes::from_owner(Segment { buffer, recycled }));
            }
        }
        let body = self.length - start - head;
        self.blocks
            .push(Block::new(start as i64, head as i32, body as i64));
        Ok(())
    }

    pub(super) fn end(mut self, columns: &SchemaRef) -> Self {
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let batches = builder.create_vector(&self.blocks);
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, columns);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let footer = footer.finish();
        builder.finish(footer, None);
        let footer = builder.finished_data();
        let mut tail = END.to_vec();
        tail.extend_from_slice(footer);
        tail.extend_from_slice(&(footer.len() as i32).to_le_bytes());
        tail.extend_from_slice(MAGIC);
        self.append(tail.into());
        self
    }

    fn append(&mut self, bytes: Bytes) {
        self.checksum.update(&bytes);
        self.length += bytes.len();
        self.segments.push(bytes);
    }
}

/// Bytes of a message before its body: a marker, a length, and as much as the length says.
fn message_head(message: &[Buffer]) -> Result<usize, ArrowError> {
    let mut bytes = message.iter().flat_map(|buffer| buffer.iter().copied());
    let mut length = [0; 4];
    for (place, byte) in length.iter_mut().zip(bytes.by_ref().skip(4)) {
        *place = byte;
    }
    let length = i32::from_le_bytes(length);
    match usize::try_from(length) {
        Ok(length) if length > 0 => Ok(8 + length),
        _ => Err(ArrowError::IpcError(format!(
            "a message head of {length} bytes"
        ))),
    }
}
