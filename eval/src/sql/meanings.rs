//! What the columns of tables and views hold, in words: the table `meanings`, which the view `columns` joins.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;

/// Name of the table.
pub(super) const NAME: &str = "meanings";

/// Lines of table, column and meaning; without a table, that of the column wherever the table has none of its own.
const LINES: &str = include_str!("meanings.tsv");

/// All lines as a table.
pub(super) fn table() -> Result<MemTable, DataFusionError> {
    let names = ["table_name", "column_name", "meaning"];
    let columns = names.iter().enumerate().map(|(place, &name)| {
        let parts = LINES.lines().map(|line| line.split('\t').nth(place));
        let column: ArrayRef = Arc::new(StringArray::from_iter(parts));
        (name, column)
    });
    let batch = RecordBatch::try_from_iter(columns)?;
    MemTable::try_new(batch.schema(), vec![vec![batch]])
}
