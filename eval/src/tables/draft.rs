//! An evaluation's rows until they are whole, and their commit.

use bytes::Bytes;
use wellspring_store::Location;

use super::{RunRecord, Table, TableWriter};
use crate::Result;
use crate::pictures::{self, Picture};

/// The rows of an evaluation, not yet committed.
pub(crate) struct Draft {
    /// Files with the rows of windows that came before.
    pub(crate) before: Vec<Bytes>,
    pub(crate) metrics: TableWriter,
    pub(crate) spectra: TableWriter,
    pub(crate) pictures: Vec<Picture>,
}

impl Draft {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            before: Vec::new(),
            metrics: TableWriter::new(Table::Metrics)?,
            spectra: TableWriter::new(Table::Spectra)?,
            pictures: Vec::new(),
        })
    }

    /// Writes every file; the row in `runs` comes last and makes them count.
    pub(crate) async fn commit(
        self,
        mut record: RunRecord,
        results: &Location,
    ) -> Result<RunRecord> {
        let Self {
            before,
            metrics,
            spectra,
            pictures,
        } = self;
        record.created = super::now();
        if !pictures.is_empty() {
            pictures::file(results, &record.run)
                .put(pictures::write(&pictures)?)
                .await?;
        }
        Table::Spectra
            .file(results, &record.run)
            .put(spectra.finish()?)
            .await?;
        Table::Metrics
            .file(results, &record.run)
            .put(joined(before, metrics)?)
            .await?;
        let mut runs = TableWriter::new(Table::Runs)?;
        runs.push(std::slice::from_ref(&record))?;
        Table::Runs
            .file(results, &record.run)
            .put(runs.finish()?)
            .await?;
        Ok(record)
    }
}

/// All rows in one file.
fn joined(before: Vec<Bytes>, metrics: TableWriter) -> Result<Bytes> {
    let last = Bytes::from(metrics.finish()?);
    if before.is_empty() {
        return Ok(last);
    }
    let mut whole = TableWriter::new(Table::Metrics)?;
    for part in before.into_iter().chain([last]) {
        whole.append(part)?;
    }
    Ok(Bytes::from(whole.finish()?))
}
