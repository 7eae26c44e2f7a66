//! Shards: Arrow IPC files of frames, one row a frame.

mod buffer_pool;
mod decode;
mod encode;
mod file;
mod index;
pub(crate) mod pool;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};

pub(crate) use buffer_pool::BufferPool;
pub(crate) use decode::ShardData;
pub use decode::StoredValues;
pub use encode::{Row, ShardWriter};
pub(crate) use index::ShardIndex;

use crate::{Dtype, Grid};

/// The columns before the channels: whose frame it is and when.
pub(crate) const KEYS: [&str; 3] = ["trajectory", "step", "time"];

/// The Arrow schema of a shard: the keys, then one fixed-shape tensor for each channel.
pub(crate) fn columns(grid: &Grid, channels: &[String], dtype: Dtype) -> SchemaRef {
    let mut fields = vec![
        Field::new(KEYS[0], DataType::UInt32, false),
        Field::new(KEYS[1], DataType::UInt32, false),
        Field::new(KEYS[2], DataType::Float64, false),
    ];
    fields.extend(channels.iter().map(|channel| tensor(channel, grid, dtype)));
    Arc::new(ArrowSchema::new(fields))
}

/// A column of the canonical `arrow.fixed_shape_tensor` type, which pyarrow reads as tensors.
fn tensor(channel: &str, grid: &Grid, dtype: Dtype) -> Field {
    let shape: Vec<String> = grid.shape().iter().map(usize::to_string).collect();
    let metadata = HashMap::from([
        (
            "ARROW:extension:name".to_owned(),
            "arrow.fixed_shape_tensor".to_owned(),
        ),
        (
            "ARROW:extension:metadata".to_owned(),
            format!("{{\"shape\":[{}]}}", shape.join(",")),
        ),
    ]);
    // The schema's validation has seen to it that the cells fit.
    let list = DataType::FixedSizeList(item(dtype), grid.cells() as i32);
    Field::new(channel, list, false).with_metadata(metadata)
}

fn item(dtype: Dtype) -> Arc<Field> {
    let value = match dtype {
        Dtype::F32 => DataType::Float32,
        Dtype::F16 => DataType::Float16,
    };
    Arc::new(Field::new("item", value, false))
}
