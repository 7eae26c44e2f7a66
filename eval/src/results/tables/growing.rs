//! [`GrowingTable`]: a table of an evaluation whose rows come window by window, and are saved now and then.

use bytes::Bytes;
use serde::Serialize;

use super::{Table, TableWriter};
use crate::Result;

/// Rows of windows that were measured so far.
pub(crate) struct GrowingTable {
    table: Table,
    /// Files with the rows of windows that came before.
    before: Vec<Bytes>,
    rows: TableWriter,
}

impl GrowingTable {
    pub(super) fn new(table: Table) -> Result<Self> {
        Ok(Self {
            table,
            before: Vec::new(),
            rows: TableWriter::new(table)?,
        })
    }

    /// Which table it is.
    pub(crate) fn table(&self) -> Table {
        self.table
    }

    pub(crate) fn push<R: Serialize>(&mut self, rows: &[R]) -> Result<()> {
        self.rows.push(rows)
    }

    /// The rows since the last cut, as a file. They stay here too.
    pub(crate) fn cut(&mut self) -> Result<Bytes> {
        let rows = std::mem::replace(&mut self.rows, TableWriter::new(self.table)?);
        let rows = Bytes::from(rows.finish()?);
        self.before.push(rows.clone());
        Ok(rows)
    }

    /// Adds the rows of other windows, which follow those so far.
    pub(crate) fn add(&mut self, files: Vec<Bytes>) -> Result<()> {
        self.cut()?;
        self.before.extend(files);
        Ok(())
    }

    /// All rows in one file, as rows of `run`.
    pub(super) fn finish(self, run: &str) -> Result<Bytes> {
        let last = Bytes::from(self.rows.finish()?);
        if self.before.is_empty() {
            return Ok(last);
        }
        let mut whole = TableWriter::new(self.table)?;
        for part in self.before.into_iter().chain([last]) {
            whole.append(part, run)?;
        }
        Ok(Bytes::from(whole.finish()?))
    }
}
