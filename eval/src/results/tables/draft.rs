//! [`Draft`]: the rows of an evaluation until it is complete, and their commit.

use wellspring_store::Location;

use super::{EvaluationClaim, GrowingTable, RunRecord, Table, TableWriter, row};
use crate::results::pictures::{self, Picture};
use crate::{Error, Result};

/// The rows of an evaluation, not yet committed.
pub(crate) struct Draft {
    pub(crate) metrics: GrowingTable,
    /// Only of an ensemble.
    pub(crate) ensembles: Option<GrowingTable>,
    pub(crate) spectra: TableWriter,
    pub(crate) pictures: Vec<Picture>,
}

impl Draft {
    pub(crate) fn of(record: &RunRecord) -> Result<Self> {
        let ensembles = record.members.map(|_| GrowingTable::new(Table::Ensembles));
        Ok(Self {
            metrics: GrowingTable::new(Table::Metrics)?,
            ensembles: ensembles.transpose()?,
            spectra: TableWriter::new(Table::Spectra)?,
            pictures: Vec::new(),
        })
    }

    /// The tables whose rows come window by window.
    pub(crate) fn growing(&mut self) -> impl Iterator<Item = &mut GrowingTable> {
        std::iter::once(&mut self.metrics).chain(&mut self.ensembles)
    }

    /// Writes every file; the row in `runs` comes last and makes them count. What it takes the place of is
    /// removed then. Nothing where another was faster and its row is enough.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::Clash`] where another was faster.
    pub(crate) async fn commit(
        self,
        mut record: RunRecord,
        claim: &EvaluationClaim,
        results: &Location,
    ) -> Result<Option<RunRecord>> {
        record.created = super::now();
        let committed = match self.write(&record.run, results).await {
            Ok(()) => row::commit(&record, claim, results).await,
            Err(error) => {
                let _ = delete_data(results, &record.run).await;
                return Err(error);
            }
        };
        let mut replaced = match committed {
            Ok(Some(replaced)) => replaced,
            Ok(None) | Err(Error::Exists { .. } | Error::Clash { .. }) => {
                // Should this fail, the next evaluation removes them.
                let _ = delete_data(results, &record.run).await;
                return committed.map(|_| None);
            }
            // The row may be there all the same. Files without one are removed by the next evaluation.
            Err(error) => return Err(error),
        };
        for row in &claim.replaced {
            if row.file != claim.file {
                Table::Runs.file(results, &row.file).delete().await?;
            }
            replaced.push(row.held.run.clone());
        }
        for run in replaced.into_iter().filter(|run| *run != record.run) {
            delete_data(results, &run).await?;
        }
        Ok(Some(record))
    }

    async fn write(self, run: &str, results: &Location) -> Result<()> {
        if !self.pictures.is_empty() {
            let pictures = pictures::write(&self.pictures)?;
            pictures::file(results, run).put(pictures).await?;
        }
        let spectra = self.spectra.finish()?;
        Table::Spectra.file(results, run).put(spectra).await?;
        for growing in [self.metrics].into_iter().chain(self.ensembles) {
            let file = growing.table().file(results, run);
            file.put(growing.finish(run)?).await?;
        }
        Ok(())
    }
}

/// Removes what an evaluation has besides its row in `runs`, which is replaced or gone by now.
async fn delete_data(results: &Location, run: &str) -> Result<()> {
    for table in Table::OF_DATA {
        table.file(results, run).delete().await?;
    }
    Ok(pictures::file(results, run).delete().await?)
}
