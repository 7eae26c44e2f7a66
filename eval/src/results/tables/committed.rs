//! [`CommittedRuns`]: the complete evaluations in a results folder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use wellspring_store::{Location, Reporter};

use super::folder::FolderContents;
use super::identity::{CommittedEvaluation, Row};
use super::labels::{DataLabel, DataRecord, known};
use super::{Table, typed};
use crate::{Error, Result};

/// The file that a run has of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) run: String,
    /// Name of the file, which is that of the run in tables other than `runs`.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    /// When it was written, in milliseconds of Unix time.
    pub(crate) modified: i64,
}

/// The committed evaluations: their files, and their rows of `runs` as SQL shows them. That is the present
/// schema, with tasks and data sets' names as [`known`] has them, and `dataset_name`. Those with a damaged
/// file, or without one of their files, are not among them.
pub(crate) struct CommittedRuns {
    /// Files of each table, one for each evaluation, in the order of their names.
    files: BTreeMap<Table, Vec<RunFile>>,
    pub(crate) records: RecordBatch,
    /// What each row's data set is known by.
    known: Vec<(DataRecord, DataLabel)>,
}

impl CommittedRuns {
    /// Reads the row of every evaluation, many at once. `reporter` hears what is left out.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Malformed`] where nothing else is left, [`Error::NewerTables`].
    pub(crate) async fn read(results: &Location, reporter: &dyn Reporter) -> Result<Self> {
        let found = FolderContents::settled(results).await?;
        tell(found.damage, !found.rows.is_empty(), reporter)?;
        let (held, records): (Vec<RunFile>, Vec<RecordBatch>) = found.rows.into_iter().unzip();
        let files = found.files.into_iter().map(|(table, mut files)| {
            let of_rows = held.iter().filter_map(|row| files.remove(&row.run));
            (table, of_rows.collect())
        });
        let mut files: BTreeMap<Table, Vec<RunFile>> = files.collect();
        files.insert(Table::Runs, held);
        let records = arrow::compute::concat_batches(&Table::Runs.schema(), &records)?;
        let evaluated: Vec<DataRecord> = rows(&records)?;
        let known = known(&evaluated);
        Ok(Self {
            files,
            records: shown(&records, &known)?,
            known: evaluated.into_iter().zip(known).collect(),
        })
    }

    /// Identities of the evaluations, ascending.
    pub(crate) fn runs(&self) -> Vec<String> {
        let files = self.files(Table::Runs).iter();
        files.map(|file| file.run.clone()).collect()
    }

    /// Files of a table.
    pub(crate) fn files(&self, table: Table) -> &[RunFile] {
        self.files.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Every evaluation with its key, and where its row is.
    pub(crate) fn held(&self) -> Result<Vec<Row>> {
        let held: Vec<CommittedEvaluation> = rows(&self.records)?;
        let files = self.files(Table::Runs).iter();
        let held = files.zip(held).map(|(row, held)| Row {
            file: row.file.clone(),
            held: CommittedEvaluation {
                run: row.run.clone(),
                ..held
            },
        });
        Ok(held.collect())
    }

    /// Whether each of their rows is still as it was read.
    pub(crate) async fn is_current(&self, results: &Location) -> Result<bool> {
        let mut now = BTreeMap::new();
        for file in Table::Runs.files(results).await? {
            now.insert(file.file, (file.bytes, file.modified));
        }
        let mut rows = self.files(Table::Runs).iter();
        Ok(rows.all(|row| now.get(&row.file) == Some(&(row.bytes, row.modified))))
    }

    /// `runs` as a query over `files`, which has the rows as they are stored: what [`shown`] does, in SQL, for machines that
    /// read the files themselves.
    pub(crate) fn runs_sql(&self, files: &str) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let chosen = |column: &str, else_: &str, value: fn(&DataLabel) -> &String| {
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
fn shown(records: &RecordBatch, known: &[DataLabel]) -> Result<RecordBatch> {
    let texts = |text: fn(&DataLabel) -> &String| -> ArrayRef {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use datafusion::prelude::SessionContext;

    use wellspring_store::{Notes, Silent};

    use super::*;
    use crate::Format;
    use crate::sql::RunFiles;

    /// Machines that read the files see what this one does.
    #[tokio::test]
    async fn the_view_over_files_is_the_table() {
        for version in [1, 2] {
            let place = format!("tests/data/results-v{version}");
            let results = Location::parse(&place).unwrap();
            let committed = CommittedRuns::read(&results, &Silent).await.unwrap();
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
        let held = CommittedRuns::read(&from, &Silent).await.unwrap().runs();
        let one = &held[0];
        let copy = async |table: Table, run: &str| {
            let bytes = table.file(&from, one).get().await.unwrap();
            table.file(&results, run).put(bytes).await.unwrap();
        };
        // These are no ensembles.
        let tables = [Table::Runs, Table::Metrics, Table::Spectra];
        for run in ["a", "b"] {
            for table in tables {
                copy(table, run).await;
            }
        }
        for table in tables {
            let whole = table.file(&from, one).get().await.unwrap();
            let place = table.file(&results, "b");
            let said = async || {
                let notes = Notes::default();
                let committed = CommittedRuns::read(&results, &notes).await.unwrap();
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
            CommittedRuns::read(&results, &Silent).await.unwrap().runs(),
            ["a", "b"]
        );
    }
}
