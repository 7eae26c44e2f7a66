//! The evaluations that a results folder holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use bytes::Bytes;
use futures::StreamExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use wellspring_store::{Location, Reporter};

use super::labels::{Evaluated, Known, known};
use super::{RunFile, RunRecord, TABLE_VERSION, Table, typed};
use crate::{Error, Result};

/// Rows of `runs` that are read at once.
const READS: usize = 64;

/// The committed evaluations: their files, and their rows of `runs` as SQL shows them. That is the present
/// schema, with tasks and data sets' names as [`known`] has them, and `dataset_name`. Those with a damaged
/// file, or without one of their files, are not among them.
pub(crate) struct Committed {
    /// Of each table, one for each evaluation, in the order of their names.
    files: BTreeMap<Table, Vec<RunFile>>,
    pub(crate) records: RecordBatch,
    /// What each row's data set is known by.
    known: Vec<(Evaluated, Known)>,
}

impl Committed {
    /// Reads the row of every evaluation, many at once. `reporter` hears what is left out.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Malformed`] where nothing else is left, [`Error::NewerTables`].
    pub(crate) async fn read(results: &Location, reporter: &dyn Reporter) -> Result<Self> {
        let (files, mut damage) = sound(results).await?;
        let runs = files[&Table::Runs].iter().map(|file| {
            let place = Table::Runs.file(results, &file.run);
            // Decoding takes longer than reading, and may take all cores.
            tokio::spawn(async move { record(place.get().await?, &place.to_string()) })
        });
        let mut answers = futures::stream::iter(runs).buffered(READS);
        let (mut records, mut read) = (Vec::new(), BTreeSet::new());
        for file in &files[&Table::Runs] {
            let Some(answer) = answers.next().await else {
                break;
            };
            let answer = answer.unwrap_or_else(|failed| {
                Err(Error::Malformed {
                    object: Table::Runs.name().into(),
                    reason: failed.to_string(),
                })
            });
            match answer {
                Ok(record) => {
                    records.push(record);
                    read.insert(file.run.clone());
                }
                Err(wrong @ Error::Malformed { .. }) => damage.push(wrong),
                Err(error) => return Err(error),
            }
        }
        drop(answers);
        tell(damage, !read.is_empty(), reporter)?;
        let files = files.into_iter().map(|(table, mut files)| {
            files.retain(|file| read.contains(&file.run));
            (table, files)
        });
        let records = arrow::compute::concat_batches(&Table::Runs.schema(), &records)?;
        let evaluated: Vec<Evaluated> = rows(&records)?;
        let known = known(&evaluated);
        Ok(Self {
            files: files.collect(),
            records: shown(&records, &known)?,
            known: evaluated.into_iter().zip(known).collect(),
        })
    }

    /// Their names, ascending.
    pub(crate) fn runs(&self) -> Vec<String> {
        let files = self.files(Table::Runs).iter();
        files.map(|file| file.run.clone()).collect()
    }

    /// Their files of a table.
    pub(crate) fn files(&self, table: Table) -> &[RunFile] {
        self.files.get(&table).map_or(&[], Vec::as_slice)
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
            let when: BTreeSet<String> = when.collect();
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

/// The files of every table, of the evaluations that have all of them, and what is wrong with the others. Rows
/// are not read.
async fn sound(results: &Location) -> Result<(BTreeMap<Table, Vec<RunFile>>, Vec<Error>)> {
    let mut tables = BTreeMap::new();
    for table in Table::ALL {
        let files = table.files(results).await?.into_iter();
        let files: BTreeMap<String, RunFile> = files.map(|file| (file.run.clone(), file)).collect();
        tables.insert(table, files);
    }
    let mut damage = Vec::new();
    let runs: Vec<String> = tables[&Table::Runs].keys().cloned().collect();
    let wrongs = runs.iter().map(|run| wrong(results, run, &tables));
    let wrongs: Vec<_> = futures::stream::iter(wrongs)
        .buffered(READS)
        .collect()
        .await;
    for (run, wrong) in runs.iter().zip(wrongs) {
        if let Some(wrong) = wrong? {
            damage.push(wrong);
            for files in tables.values_mut() {
                files.remove(run);
            }
        }
    }
    let runs = tables[&Table::Runs].clone();
    let tables = tables.into_iter().map(|(table, files)| {
        let files = files.into_values();
        (
            table,
            files.filter(|file| runs.contains_key(&file.run)).collect(),
        )
    });
    Ok((tables.collect(), damage))
}

/// What is wrong with one of the files of an evaluation, as far as its size and its end tell.
async fn wrong(
    results: &Location,
    run: &str,
    tables: &BTreeMap<Table, BTreeMap<String, RunFile>>,
) -> Result<Option<Error>> {
    // Rows of `runs` are read whole.
    for (table, files) in tables.iter().filter(|(table, _)| **table != Table::Runs) {
        let place = table.file(results, run);
        let reason = match files.get(run) {
            None => "is gone".to_owned(),
            Some(file) if file.bytes < SMALLEST => format!("has {} bytes", file.bytes),
            Some(file) => match ends_as_parquet(&place, file.bytes).await? {
                true => continue,
                false => "is cut off".to_owned(),
            },
        };
        return Ok(Some(Error::Damaged {
            object: place.to_string(),
            reason,
            row: Table::Runs.file(results, run).to_string(),
        }));
    }
    Ok(None)
}

/// Bytes of the smallest Parquet file: its mark twice, and a length.
const SMALLEST: u64 = 12;

/// Whether a file of a disk ends as Parquet does. Buckets have whole objects alone, and asking for the end of
/// thousands would take its time.
async fn ends_as_parquet(place: &Location, bytes: u64) -> Result<bool> {
    if place.local_path().is_none() {
        return Ok(true);
    }
    let end = place.get_range(bytes - 4..bytes).await?;
    Ok(&end[..] == b"PAR1")
}

/// Says what is left out.
///
/// # Errors
/// The first that is wrong, where nothing is left.
fn tell(damage: Vec<Error>, is_left: bool, reporter: &dyn Reporter) -> Result<()> {
    for wrong in damage {
        if !is_left {
            return Err(wrong);
        }
        reporter.note(&format!("warning: an evaluation is left out: {wrong}"));
    }
    Ok(())
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

    use wellspring_store::{Notes, Silent};

    use super::*;
    use crate::Format;
    use crate::tables::RunFiles;

    /// Machines that read the files see what this one does.
    #[tokio::test]
    async fn the_view_over_files_is_the_table() {
        for version in [1, 2] {
            let place = format!("tests/data/results-v{version}");
            let results = Location::parse(&place).unwrap();
            let committed = Committed::read(&results, &Silent).await.unwrap();
            let session = SessionContext::new();
            let files = committed.files(Table::Runs).to_vec();
            let files = RunFiles::new(Table::Runs, results.clone(), files);
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

    /// Two evaluations, and a third with something wrong.
    #[tokio::test]
    async fn evaluations_with_damaged_files_are_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let results = Location::parse(folder.path().to_str().unwrap()).unwrap();
        let from = Location::parse("tests/data/results-v2").unwrap();
        let held = Committed::read(&from, &Silent).await.unwrap().runs();
        let one = &held[0];
        let copy = async |table: Table, run: &str| {
            let bytes = table.file(&from, one).get().await.unwrap();
            table.file(&results, run).put(bytes).await.unwrap();
        };
        for run in ["a", "b"] {
            for table in Table::ALL {
                copy(table, run).await;
            }
        }
        for table in Table::ALL {
            let whole = table.file(&from, one).get().await.unwrap();
            let place = table.file(&results, "b");
            let said = async || {
                let notes = Notes::default();
                let committed = Committed::read(&results, &notes).await.unwrap();
                assert_eq!(committed.runs(), ["a"]);
                assert_eq!(committed.records.num_rows(), 1);
                assert_eq!(committed.files(Table::Metrics).len(), 1);
                notes.take()
            };
            for damaged in [&[][..], b"PAR1", &whole[..whole.len() - 7]] {
                place.put(damaged.to_vec()).await.unwrap();
                let said = said().await;
                assert!(
                    said.len() == 1 && said[0].contains(&place.to_string()),
                    "{said:?}"
                );
            }
            if table != Table::Runs {
                place.delete().await.unwrap();
                assert!(said().await[0].contains("is gone"));
            }
            copy(table, "b").await;
        }
        assert_eq!(
            Committed::read(&results, &Silent).await.unwrap().runs(),
            ["a", "b"]
        );
    }
}
