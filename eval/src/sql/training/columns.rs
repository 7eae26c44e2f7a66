//! The columns of `training`: those that are known of a run, and those that its log has.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{MapArray, MapBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;

/// Number of the columns that are known of a segment before it is read.
pub(super) const KNOWN: usize = 5;

/// The column that says up to which step the rows of a segment count. It is not part of the table.
pub(super) const UNTIL: &str = "until";

/// Name of the run, URL of its folder, its configuration, the number of the segment (0 is `log.jsonl`), and how many
/// steps the run has taken after those of the segment.
pub(super) fn known() -> Vec<Field> {
    vec![
        Field::new("run", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("config", config_type(), false),
        Field::new("segment", DataType::UInt64, false),
        Field::new("steps_after", DataType::UInt64, false),
    ]
}

/// Those that are known of a run, and those that are known of a segment.
pub(super) const OF_RUN: [&str; 3] = ["run", "path", "config"];
pub(super) const OF_PART: [&str; 2] = ["segment", "steps_after"];

/// What is known of each file.
pub(super) fn of_files() -> Vec<FieldRef> {
    let until = Field::new(UNTIL, DataType::UInt64, false);
    known().into_iter().chain([until]).map(Arc::new).collect()
}

/// The columns that a log has.
pub(super) fn read() -> Vec<Field> {
    let schema = wellspring_log::schema();
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        // Words that repeat are not copied for each row.
        DataType::Utf8 => field.as_ref().clone().with_data_type(DataType::Utf8View),
        _ => field.as_ref().clone(),
    });
    fields.collect()
}

fn config_type() -> DataType {
    let entries = vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ];
    let entries = DataType::Struct(entries.into());
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// A map of keys to values for each configuration.
pub(super) fn configs<'a>(
    configs: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> Result<MapArray, ArrowError> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for config in configs {
        for (key, value) in config {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        maps.append(true)?;
    }
    Ok(maps.finish())
}
