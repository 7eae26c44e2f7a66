//! The evaluations that a results folder holds.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use wellspring_store::Location;

use super::labels::{Evaluated, Known, known};
use super::{RunRecord, TABLE_VERSION, Table, typed};
use crate::{Error, Result};

/// Rows of `runs` that are read at once.
const READS: usize = 64;

/// The committed evaluations: their names, and their rows of `runs` as SQL shows them. That is the present
/// schema, with tasks and data sets' names as [`known`] has them, and `dataset_name`.
pub(crate) struct Committed {
    pub(crate) runs: Vec<String>,
    pub(crate) records: RecordBatch,
    /// What each row's data set is known by.
    known: Vec<(Evaluated, Known)>,
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
        let evaluated: Vec<Evaluated> = rows(&records)?;
        let known = known(&evaluated);
        Ok(Self {
            runs,
            records: shown(&records, &known)?,
            known: evaluated.into_iter().zip(known).collect(),
        })
    }

    /// Every evaluation with its key.
    pub(crate) fn held(&self) -> Result<Vec<Held>> {
        rows(&self.records)
    }

    /// `runs` as a query over `files`, which has the rows as they are stored: what [`shown`] does, in SQL, for machines that
    /// read the files themselves.
    pub(crate) fn runs_sql(&self, files: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let chosen = |column: &str, else_: &str, value: fn(&Known) -> &String| {
            let when = self.known.iter().map(|(row, known)| {
                let (id, split) = (quoted(&row.dataset_id), quoted(&row.split));
                let (name, value) = (quoted(&row.dataset), quoted(value(known)));
                format!(
                    " WHEN dataset_id = {id} AND split = {split} AND dataset = {name} THEN {value}"
                )
            });
            let when: std::collections::BTreeSet<String> = when.collect();
            let when: String = when.into_iter().collect();
            format!("CASE{when} ELSE {else_} END AS {column}")
        };
        let schema = Table::Runs.schema();
        let columns = schema
            .fields()
            .iter()
            .map(|field| match field.name().as_str() {
                "dataset" => chosen("dataset", "dataset", |known| &known.label),
                "task" => chosen("task", "dataset_id", |known| &known.task),
                name => name.to_owned(),
            });
        let columns: Vec<String> = columns.collect();
        format!(
            "SELECT {}, dataset AS {NAME} FROM {files}",
            columns.join(", ")
        )
    }
}

fn rows<T: for<'a> Deserialize<'a>>(records: &RecordBatch) -> Result<Vec<T>> {
    typed(std::slice::from_ref(records)).map_err(|reason| Error::Malformed {
        object: Table::Runs.name().into(),
        reason,
    })
}

/// Rows of `runs` with what their data sets are known by.
fn shown(records: &RecordBatch, known: &[Known]) -> Result<RecordBatch> {
    let texts = |text: fn(&Known) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(known.iter().map(text)))
    };
    let mut fields = records.schema().fields().to_vec();
    let mut columns = records.columns().to_vec();
    let mut names = new_null_array(&DataType::Utf8, records.num_rows());
    for (field, column) in fields.iter().zip(&mut columns) {
        match field.name().as_str() {
            "dataset" => names = std::mem::replace(column, texts(|known| &known.label)),
            "task" => *column = texts(|known| &known.task),
            _ => {}
        }
    }
    fields.push(Arc::new(Field::new(NAME, DataType::Utf8, true)));
    columns.push(names);
    let schema = Schema::new(fields);
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// The column of a data set's own name.
const NAME: &str = "dataset_name";

/// What identifies an evaluation among others: a second one with an equal key takes the first one's
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) task: String,
    pub(crate) dataset_id: String,
    pub(crate) split: String,
    pub(crate) schedule: String,
}

impl Key {
    /// Whether a second evaluation of one key takes the place of a first one of the other. Older tables know
    /// the data set's identity alone.
    pub(crate) fn is_that_of(&self, other: &Self) -> bool {
        let same_data = self.task == other.task || self.dataset_id == other.dataset_id;
        same_data
            && (&self.name, &self.split, &self.schedule)
                == (&other.name, &other.split, &other.schedule)
    }
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
            task: self.task.clone(),
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::Format;

    /// Machines that read the files see what this one does.
    #[tokio::test]
    async fn the_view_over_files_is_the_table() {
        for version in [1, 2] {
            let place = format!("tests/data/results-v{version}");
            let results = Location::parse(&place).unwrap();
            let committed = Committed::read(&results).await.unwrap();
            let session = SessionContext::new();
            let files = Table::Runs
                .of_runs(&results, &committed.runs)
                .await
                .unwrap();
            let url = url::Url::parse(&results.store_url()).unwrap();
            session.register_object_store(&url, Arc::clone(results.object_store()));
            session.register_table("files", Arc::new(files)).unwrap();
            let query = format!("{} ORDER BY run", committed.runs_sql("files"));
            let found = session.sql(&query).await.unwrap().collect().await.unwrap();
            let text = |batches: &[RecordBatch]| {
                String::from_utf8(Format::Csv.write(batches).unwrap()).unwrap()
            };
            assert_eq!(text(&found), text(&[committed.records]));
        }
    }
}
