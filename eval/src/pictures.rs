//! The few predicted frames that are kept for pictures: `RESULTS/frames/ID.arrow`.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use crate::{Error, Result, tables};

/// One field of one predicted frame, beside the truth, in the field's own units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Picture {
    pub(crate) trajectory: u32,
    pub(crate) start: u32,
    pub(crate) lead: u32,
    pub(crate) patch: String,
    pub(crate) field: String,
    /// Points along each axis.
    pub(crate) shape: Vec<u32>,
    pub(crate) truth: Vec<Option<f32>>,
    pub(crate) prediction: Vec<Option<f32>>,
}

/// Where the frames of an evaluation lie.
pub(crate) fn file(results: &Location, run: &str) -> Location {
    results.join("frames").join(&format!("{run}.arrow"))
}

pub(crate) fn write(pictures: &[Picture]) -> Result<Vec<u8>> {
    let list = |kind: DataType| DataType::List(Arc::new(Field::new_list_field(kind, true)));
    let schema = Arc::new(Schema::new(vec![
        Field::new("trajectory", DataType::UInt32, false),
        Field::new("start", DataType::UInt32, false),
        Field::new("lead", DataType::UInt32, false),
        Field::new("patch", DataType::Utf8, false),
        Field::new("field", DataType::Utf8, false),
        Field::new("shape", list(DataType::UInt32), false),
        Field::new("truth", list(DataType::Float32), false),
        Field::new("prediction", list(DataType::Float32), false),
    ]));
    let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
    let mut decoder = arrow::json::ReaderBuilder::new(schema)
        .with_batch_size(pictures.len().max(1))
        .build_decoder()?;
    decoder.serialize(pictures)?;
    if let Some(batch) = decoder.flush()? {
        writer.write(&batch)?;
    }
    Ok(writer.into_inner()?)
}

/// The frames in a file, none if there is no file.
pub(crate) async fn read(place: &Location) -> Result<Vec<Picture>> {
    let Some(bytes) = place.get_opt().await? else {
        return Ok(Vec::new());
    };
    let malformed = |reason: String| Error::Malformed {
        object: place.to_string(),
        reason,
    };
    let reader = FileReader::try_new(Cursor::new(bytes), None)
        .map_err(|error| malformed(error.to_string()))?;
    let batches: Result<Vec<RecordBatch>, _> = reader.collect();
    tables::typed(&batches.map_err(|error| malformed(error.to_string()))?).map_err(malformed)
}
