//! The few predicted frames that are kept for pictures: `RESULTS/frames/ID.arrow`.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use super::tables::{columns, typed};
use crate::{Error, Result};

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

/// File of the kept frames of an evaluation.
pub(crate) fn file(results: &Location, run: &str) -> Location {
    results.join("frames").join(&format!("{run}.arrow"))
}

fn schema() -> SchemaRef {
    let list = |kind: DataType| DataType::List(Arc::new(Field::new_list_field(kind, true)));
    Arc::new(Schema::new(vec![
        Field::new("trajectory", DataType::UInt32, false),
        Field::new("start", DataType::UInt32, false),
        Field::new("lead", DataType::UInt32, false),
        Field::new("patch", DataType::Utf8, false),
        Field::new("field", DataType::Utf8, false),
        Field::new("shape", list(DataType::UInt32), false),
        Field::new("truth", list(DataType::Float32), false),
        Field::new("prediction", list(DataType::Float32), false),
    ]))
}

pub(crate) fn write(pictures: &[Picture]) -> Result<Vec<u8>> {
    let schema = schema();
    let mut writer = FileWriter::try_new(Vec::new(), &schema)?;
    if !pictures.is_empty() {
        writer.write(&columns(&schema, pictures)?)?;
    }
    Ok(writer.into_inner()?)
}

/// The frames in a file, none if there is no file.
///
/// # Errors
/// [`Error::Malformed`] for a file that is cut off, another's, or of frames that do not fit their shape.
pub(crate) async fn read(place: &Location) -> Result<Vec<Picture>> {
    let Some(bytes) = place.get_opt().await? else {
        return Ok(Vec::new());
    };
    decode(bytes).map_err(|reason| Error::Malformed {
        object: place.to_string(),
        reason,
    })
}

fn decode(bytes: Bytes) -> Result<Vec<Picture>, String> {
    let reader =
        FileReader::try_new(Cursor::new(bytes), None).map_err(|error| error.to_string())?;
    let batches: Result<Vec<RecordBatch>, _> = reader.collect();
    let batches = batches.map_err(|error| error.to_string())?;
    for field in schema().fields() {
        let name = field.name();
        if batches
            .iter()
            .any(|batch| batch.column_by_name(name).is_none())
        {
            return Err(format!("there is no column {name}"));
        }
    }
    let mut pictures: Vec<Picture> = typed(&batches)?;
    for (row, picture) in pictures.iter_mut().enumerate() {
        if !picture.fits() {
            return Err(format!(
                "row {row} has not as many cells as its shape {:?}",
                picture.shape
            ));
        }
        for value in picture.truth.iter_mut().chain(&mut picture.prediction) {
            *value = value.filter(|x| x.is_finite());
        }
    }
    Ok(pictures)
}

impl Picture {
    /// Whether it has cells, and as many as its shape says.
    fn fits(&self) -> bool {
        let cells = self
            .shape
            .iter()
            .try_fold(1_usize, |cells, &n| cells.checked_mul(n as usize));
        let lengths = [self.truth.len(), self.prediction.len()];
        !self.shape.is_empty() && cells.is_some_and(|cells| cells > 0 && lengths == [cells; 2])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn kept() -> Picture {
        Picture {
            trajectory: 3,
            start: 7,
            lead: 2,
            patch: "16x8".into(),
            field: "density".into(),
            shape: vec![2, 1],
            truth: vec![Some(1.0), None],
            prediction: vec![None, Some(-2.0)],
        }
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let pictures = vec![kept(), Picture { lead: 3, ..kept() }];
        assert_eq!(decode(write(&pictures).unwrap().into()).unwrap(), pictures);
        assert_eq!(decode(write(&[]).unwrap().into()).unwrap(), []);
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused() {
        for shape in [vec![], vec![0, 2], vec![3], vec![u32::MAX; 4]] {
            let bytes = write(&[Picture { shape, ..kept() }]).unwrap();
            let reason = decode(bytes.into()).unwrap_err();
            assert!(reason.contains("its shape"), "{reason}");
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = write(&[kept()]).unwrap();
        for length in 0..whole.len() {
            assert!(decode(whole[..length].to_vec().into()).is_err(), "{length}");
        }
    }
}
