//! An evaluation's rows until they are whole, and their commit.

use wellspring_store::Location;

use super::{RunRecord, Table, TableWriter};
use crate::Result;
use crate::pictures::{self, Picture};

/// The rows of an evaluation, not yet committed.
pub(crate) struct Draft {
    pub(crate) metrics: TableWriter,
    pub(crate) spectra: TableWriter,
    pub(crate) pictures: Vec<Picture>,
}

impl Draft {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
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
            .put(metrics.finish()?)
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
