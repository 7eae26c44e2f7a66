//! The evaluations that a results folder holds.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, new_null_array};
use arrow::datatypes::{Field, UInt32Type};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use wellspring_store::Location;

use super::{RunRecord, TABLE_VERSION, Table, typed};
use crate::{Error, Result};

/// Rows of `runs` that are read at once.
const READS: usize = 64;

/// The committed evaluations: their names, and their rows of `runs` as the present schema has them.
pub(crate) struct Committed {
    pub(crate) runs: Vec<String>,
    pub(crate) records: RecordBatch,
}

impl Committed {
    /// Reads the row of every evaluation, many at once.
    pub(crate) async fn read(results: &Location) -> Result<Self> {
        let files = Table::Runs.files(results).await?;
        let runs: Vec<String> = files.into_iter().map(|file| file.run).collect();
        let records = runs.iter().map(|run| {
            let file = Table::Runs.file(results, run);
            // Decoding takes longer than reading, and may take all cores.
            tokio::spawn(async move { record(file.get().await?, &file.to_string()) })
        });
        let records = futures::stream::iter(records)
            .buffered(READS)
            .map(|record| {
                record.unwrap_or_else(|failed| {
                    Err(Error::Malformed {
                        object: Table::Runs.name().into(),
                        reason: failed.to_string(),
                    })
                })
            });
        let records: Vec<RecordBatch> = records.try_collect().await?;
        let records = arrow::compute::concat_batches(&Table::Runs.schema(), &records)?;
        Ok(Self { runs, records })
    }

    /// Every evaluation with its key.
    pub(crate) fn held(&self) -> Result<Vec<Held>> {
        typed(std::slice::from_ref(&self.records)).map_err(|reason| Error::Malformed {
            object: Table::Runs.name().into(),
            reason,
        })
    }
}

/// What identifies an evaluation among others: a second one with an equal key takes the first one's
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) dataset_id: String,
    pub(crate) split: String,
    pub(crate) schedule: String,
}

/// What decides an evaluation's numbers besides its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Work {
    pub(crate) weights: Option<String>,
    pub(crate) bands: Option<String>,
    pub(crate) train_steps: u64,
    pub(crate) context: u64,
    pub(crate) rollout: u64,
    pub(crate) starts: u64,
}

/// A committed evaluation.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Held {
    pub(crate) run: String,
    #[serde(flatten)]
    pub(crate) key: Key,
    #[serde(flatten)]
    pub(crate) work: Work,
}

impl RunRecord {
    pub(crate) fn key(&self) -> Key {
        Key {
            name: self.name.clone(),
            dataset_id: self.dataset_id.clone(),
            split: self.split.clone(),
            schedule: self.schedule.clone(),
        }
    }

    pub(crate) fn work(&self) -> Work {
        Work {
            weights: self.weights.clone(),
            bands: self.bands.clone(),
            train_steps: self.train_steps,
            context: self.context,
            rollout: self.rollout,
            starts: self.starts,
        }
    }
}

/// An evaluation's row of `runs`, whatever version of this program wrote it.
fn record(bytes: Bytes, object: &str) -> Result<RecordBatch> {
    let malformed = |reason: String| Error::Malformed {
        object: object.to_owned(),
        reason,
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| malformed(error.to_string()))?;
    let batches: Result<Vec<RecordBatch>, _> = reader.collect();
    let batches = batches.map_err(|error| malformed(error.to_string()))?;
    let [batch] = batches.as_slice() else {
        return Err(malformed("it has no row".into()));
    };
    let version = batch.column_by_name("table_version");
    let version = version.and_then(|column| column.as_primitive_opt::<UInt32Type>());
    match version.filter(|column| !column.is_empty()) {
        Some(version) if version.value(0) <= TABLE_VERSION => {}
        Some(version) => {
            return Err(Error::NewerTables {
                object: object.to_owned(),
                found: version.value(0),
                supported: TABLE_VERSION,
            });
        }
        None => return Err(malformed("it has no column table_version".into())),
    }
    let schema = Table::Runs.schema();
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => Err(malformed(format!(
            "{} is of type {}, not {}",
            field.name(),
            column.data_type(),
            field.data_type()
        ))),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => Err(malformed(format!("it has no column {}", field.name()))),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    RecordBatch::try_new(schema, columns).map_err(|error| malformed(error.to_string()))
}
