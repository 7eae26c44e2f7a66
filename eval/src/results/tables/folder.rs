//! What lies in a results folder: rows of `runs`, and the files of each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, new_null_array};
use arrow::datatypes::{Field, UInt32Type};
use bytes::Bytes;
use futures::StreamExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wellspring_store::Location;

use super::{RunFile, TABLE_VERSION, Table};
use crate::{Error, Result};

/// Rows of `runs` that are read at once.
const READS: usize = 64;
/// Times that a folder in which something is wrong is looked at again, at most.
const LOOKS: usize = 100;

/// What a look at a results folder finds.
pub(super) struct FolderContents {
    /// Rows whose evaluation has all of its files, in the order of their runs.
    pub(super) rows: Vec<(RunFile, RecordBatch)>,
    /// The other tables' files by their runs.
    pub(super) files: BTreeMap<Table, BTreeMap<String, RunFile>>,
    /// What is wrong with other rows, or with their files.
    pub(super) damage: Vec<Error>,
}

impl FolderContents {
    /// Looks until two looks find the same. An evaluation that takes another's place replaces the row, then
    /// removes the files: who comes between finds files gone, and finds the new ones by the new row.
    pub(super) async fn settled(results: &Location) -> Result<Self> {
        let mut found = Self::read(results).await?;
        for _ in 0..LOOKS {
            if found.damage.is_empty() {
                break;
            }
            let before = std::mem::replace(&mut found, Self::read(results).await?);
            let texts = |found: &Self| found.damage.iter().map(Error::to_string).collect();
            let [before, now]: [Vec<String>; 2] = [texts(&before), texts(&found)];
            if before == now {
                break;
            }
        }
        Ok(found)
    }

    async fn read(results: &Location) -> Result<Self> {
        let (rows, mut damage) = records(results).await?;
        // Rows come first: the files of each are there by then, and stay until it is replaced.
        let mut files = BTreeMap::new();
        let has_ensembles = rows.iter().any(|(_, record)| is_ensemble(record));
        for table in Table::OF_DATA {
            let found = match table {
                Table::Ensembles if !has_ensembles => Vec::new(),
                _ => table.files(results).await?,
            };
            let found = found.into_iter();
            let found: BTreeMap<String, RunFile> =
                found.map(|file| (file.run.clone(), file)).collect();
            files.insert(table, found);
        }
        let wrongs = rows.iter().map(|row| wrong(results, row, &files));
        let wrongs: Vec<_> = futures::stream::iter(wrongs)
            .buffered(READS)
            .collect()
            .await;
        let mut whole = Vec::new();
        for (row, wrong) in rows.into_iter().zip(wrongs) {
            match wrong? {
                None => whole.push(row),
                Some(wrong) => damage.push(wrong),
            }
        }
        Ok(Self {
            rows: whole,
            files,
            damage,
        })
    }
}

/// Every row of `runs` in the order of their runs, and what is wrong with those that cannot be read.
pub(super) async fn records(
    results: &Location,
) -> Result<(Vec<(RunFile, RecordBatch)>, Vec<Error>)> {
    let files = Table::Runs.files(results).await?;
    let reads = files.iter().map(|file| {
        let place = Table::Runs.file(results, &file.file);
        // Decoding takes longer than reading, and may take all cores.
        tokio::spawn(async move {
            match place.get_opt().await? {
                Some(bytes) => record(bytes, &place.to_string()).map(Some),
                // It was replaced since it was listed.
                None => Ok(None),
            }
        })
    });
    let answers: Vec<_> = futures::stream::iter(reads).buffered(READS).collect().await;
    let (mut records, mut damage) = (BTreeMap::new(), Vec::new());
    for (mut file, answer) in files.into_iter().zip(answers) {
        let answer = answer.unwrap_or_else(|failed| {
            Err(Error::Malformed {
                object: Table::Runs.name().into(),
                reason: failed.to_string(),
            })
        });
        let record = match answer {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(wrong @ Error::Malformed { .. }) => {
                damage.push(wrong);
                continue;
            }
            Err(error) => return Err(error),
        };
        file.run = run(&record, &file.file);
        match records.entry(file.run.clone()) {
            Entry::Vacant(place) => drop(place.insert((file, record))),
            Entry::Occupied(_) => damage.push(Error::Malformed {
                object: Table::Runs.file(results, &file.file).to_string(),
                reason: format!("{} has another row", file.run),
            }),
        }
    }
    Ok((records.into_values().collect(), damage))
}

/// The name of an evaluation's other files. Up to version 3 it is that of its row's file.
fn run(record: &RecordBatch, file: &str) -> String {
    let version = record.column_by_name("table_version");
    let version = version.and_then(|column| column.as_primitive_opt::<UInt32Type>());
    let run = record.column_by_name("run");
    let run = run.and_then(|column| column.as_string_opt::<i32>());
    match (version, run) {
        (Some(version), Some(run)) if version.value(0) > 3 => run.value(0).to_owned(),
        _ => file.to_owned(),
    }
}

/// Whether an evaluation has a file in `ensembles`.
fn is_ensemble(record: &RecordBatch) -> bool {
    let members = record.column_by_name("members");
    members.is_some_and(|members| members.is_valid(0))
}

/// What is wrong with one of the files of an evaluation, as far as its size and its end tell.
async fn wrong(
    results: &Location,
    (row, record): &(RunFile, RecordBatch),
    files: &BTreeMap<Table, BTreeMap<String, RunFile>>,
) -> Result<Option<Error>> {
    for (table, files) in files {
        if *table == Table::Ensembles && !is_ensemble(record) {
            continue;
        }
        let place = table.file(results, &row.run);
        let reason = match files.get(&row.run) {
            None => "is gone".to_owned(),
            Some(file) if file.bytes < SMALLEST => format!("has {} bytes", file.bytes),
            Some(file) => match ends_as_parquet(&place, file.bytes).await? {
                Some(true) => continue,
                Some(false) => "is cut off".to_owned(),
                None => "is gone".to_owned(),
            },
        };
        return Ok(Some(Error::Damaged {
            object: place.to_string(),
            reason,
            row: Table::Runs.file(results, &row.file).to_string(),
        }));
    }
    Ok(None)
}

/// Bytes of the smallest Parquet file: its mark twice, and a length.
const SMALLEST: u64 = 12;

/// Whether a file of a disk ends as Parquet does. Buckets have whole objects alone, and asking for the end of
/// thousands would take its time.
/// It may be gone since it was listed.
async fn ends_as_parquet(place: &Location, bytes: u64) -> Result<Option<bool>> {
    if place.local_path().is_none() {
        return Ok(Some(true));
    }
    match place.get_range(bytes - 4..bytes).await {
        Ok(end) => Ok(Some(&end[..] == b"PAR1")),
        Err(_) if !place.exists().await? => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An evaluation's row of `runs`, whatever version of this program wrote it.
pub(super) fn record(bytes: Bytes, object: &str) -> Result<RecordBatch> {
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
