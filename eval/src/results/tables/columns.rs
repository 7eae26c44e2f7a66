//! Rows to columns and back, and files of columns.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::Table;
use crate::Result;

/// Rows on their way into a Parquet file in memory.
pub(crate) struct TableWriter {
    schema: SchemaRef,
    parquet: ArrowWriter<Vec<u8>>,
}

impl TableWriter {
    pub(crate) fn new(table: Table) -> Result<Self> {
        let schema = table.schema();
        // A single row is read faster than it is inflated; of measured numbers zstd saves 4 % more
        // than LZ4, and costs a query over thousands of files a sixth of its time.
        let compression = match table {
            Table::Runs => Compression::UNCOMPRESSED,
            Table::Metrics | Table::Spectra | Table::Ensembles => Compression::LZ4_RAW,
        };
        let properties = WriterProperties::builder().set_compression(compression);
        Ok(Self {
            parquet: ArrowWriter::try_new(
                Vec::new(),
                Arc::clone(&schema),
                Some(properties.build()),
            )?,
            schema,
        })
    }

    pub(crate) fn push<R: Serialize>(&mut self, rows: &[R]) -> Result<()> {
        Ok(self.parquet.write(&columns(&self.schema, rows)?)?)
    }

    /// The rows of another file of this table, as rows of `run`.
    pub(crate) fn append(&mut self, file: Bytes, run: &str) -> Result<()> {
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            let batch = batch?;
            let mut columns = batch.columns().to_vec();
            if let (Ok(place), rows) = (self.schema.index_of("run"), batch.num_rows()) {
                columns[place] = Arc::new(StringArray::from_iter_values(repeat_n(run, rows)));
            }
            let schema = Arc::clone(&self.schema);
            self.parquet
                .write(&RecordBatch::try_new(schema, columns)?)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        Ok(self.parquet.into_inner()?)
    }
}

/// Whether bytes are a Parquet file whose every row can be read.
pub(crate) fn is_whole(file: Bytes) -> bool {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|file| file.build());
    reader.is_ok_and(|mut batches| batches.all(|batch| batch.is_ok()))
}

/// Rows as columns of the names of their fields.
pub(crate) fn columns<R: Serialize>(schema: &Schema, rows: &[R]) -> Result<RecordBatch> {
    let columns = serde_arrow::to_record_batch(schema.fields(), &rows);
    Ok(columns.map_err(|error| ArrowError::ExternalError(error.into()))?)
}

/// Rows of a type from columns of its fields' names, numbers of the fields' own types; the error says what does not
/// fit.
pub(crate) fn typed<T: for<'a> Deserialize<'a>>(batches: &[RecordBatch]) -> Result<Vec<T>, String> {
    let rows = batches.iter().map(serde_arrow::from_record_batch);
    let rows: Result<Vec<Vec<T>>, serde_arrow::Error> = rows.collect();
    let rows = rows.map_err(|error| error.to_string().replacen("Error: ", "", 1))?;
    Ok(rows.into_iter().flatten().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use arrow::array::Array as _;

    use super::*;
    use crate::results::tables::MetricRow;

    #[test]
    fn what_is_not_finite_stays_so() {
        let row = |value| MetricRow {
            run: "a",
            trajectory: 0,
            start: 0,
            lead: 1,
            patch: "16",
            tokens: 8,
            field: "u",
            metric: "vrmse",
            band: None,
            value,
        };
        let mut writer = TableWriter::new(Table::Metrics).unwrap();
        writer
            .push(&[row(0.5), row(-f64::NAN), row(f64::INFINITY)])
            .unwrap();
        let bytes = Bytes::from(writer.finish().unwrap());
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        let batch = reader.next().unwrap().unwrap();
        let values = batch.column_by_name("value").unwrap();
        let values = values
            .as_any()
            .downcast_ref::<arrow::array::Float64Array>()
            .unwrap();
        assert_eq!(values.value(0), 0.5);
        assert!(values.value(1).is_nan() && values.value(1).is_sign_positive());
        assert!(values.value(2).is_infinite());
        assert_eq!(values.null_count(), 0);
    }
}
