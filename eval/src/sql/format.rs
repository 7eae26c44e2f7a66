//! [`Format`]: writes answers as text or Parquet, for people and programs.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;

use crate::Result;

/// Format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns for people, floats to five digits.
    Table,
    /// Comma-separated, every digit.
    Csv,
    /// An array of objects, with all digits.
    Json,
    /// A table in Markdown, floats to five digits.
    Md,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Table, Self::Csv, Self::Json, Self::Md, Self::Parquet];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Md => "md",
            Self::Parquet => "parquet",
        }
    }

    /// The bytes of an answer.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`] or [`crate::Error::Parquet`] for a column that the format cannot hold.
    pub fn write(self, batches: &[RecordBatch]) -> Result<Vec<u8>> {
        match self {
            Self::Table => Ok(Cells::of(batches)?.table().into_bytes()),
            Self::Md => Ok(Cells::of(batches)?.markdown().into_bytes()),
            Self::Csv => {
                let mut bytes = Vec::new();
                let mut writer = arrow::csv::Writer::new(&mut bytes);
                for batch in batches {
                    writer.write(&flat(batch)?)?;
                }
                drop(writer);
                Ok(bytes)
            }
            Self::Json => {
                let mut writer = arrow::json::ArrayWriter::new(Vec::new());
                for batch in batches {
                    writer.write(batch)?;
                }
                writer.finish()?;
                let mut bytes = writer.into_inner();
                if bytes.is_empty() {
                    bytes.extend(b"[]");
                }
                bytes.push(b'\n');
                Ok(bytes)
            }
            Self::Parquet => {
                let schema = batches
                    .first()
                    .map(RecordBatch::schema)
                    .unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
                let mut writer = ArrowWriter::try_new(Vec::new(), schema, None)?;
                for batch in batches {
                    writer.write(batch)?;
                }
                Ok(writer.into_inner()?)
            }
        }
    }
}

/// A batch whose maps, such as configurations, are texts: csv has no maps.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = batch.schema().fields().to_vec();
    let mut columns = batch.columns().to_vec();
    for (field, column) in fields.iter_mut().zip(&mut columns) {
        if let DataType::Map(..) = field.data_type() {
            *column = Arc::new(StringArray::from_iter_values(cells(column)?));
            let text = field.as_ref().clone().with_data_type(DataType::Utf8);
            *field = Arc::new(text);
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &rows)?)
}

/// An answer as text, cell by cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Columns of numbers go to the right.
    pub(crate) numeric: Vec<bool>,
}

impl Cells {
    pub(crate) fn of(batches: &[RecordBatch]) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Ok(Self {
                header: Vec::new(),
                rows: Vec::new(),
                numeric: Vec::new(),
            });
        };
        let schema = first.schema();
        let mut rows = Vec::new();
        for batch in batches {
            let columns: Result<Vec<Vec<String>>> = batch.columns().iter().map(cells).collect();
            let columns = columns?;
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| columns.iter().map(|column| column[row].clone()).collect()),
            );
        }
        Ok(Self {
            header: schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
            numeric: schema
                .fields()
                .iter()
                .map(|field| field.data_type().is_numeric())
                .collect(),
            rows,
        })
    }

    fn table(&self) -> String {
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .map(|row| &row[column])
                .chain([&self.header[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .zip(&self.numeric)
                .map(|((cell, &width), &right)| {
                    if right {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                })
                .collect();
            let _ = writeln!(text, "{}", padded.join("  ").trim_end());
        };
        line(&self.header);
        let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        line(&rules);
        self.rows.iter().for_each(|row| line(row));
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
                .collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&self.header);
        let rules: Vec<String> = self
            .numeric
            .iter()
            .map(|&right| if right { "---:".into() } else { "---".into() })
            .collect();
        line(&rules);
        self.rows.iter().for_each(|row| line(row));
        text
    }
}

fn cells(column: &Arc<dyn Array>) -> Result<Vec<String>> {
    if *column.data_type() == DataType::Float64 {
        let values = column.as_primitive::<Float64Type>();
        return Ok(values
            .iter()
            .map(|value| value.map_or_else(String::new, number))
            .collect());
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    Ok((0..column.len())
        .map(|row| formatter.value(row).to_string())
        .collect())
}

/// Five digits that matter.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-4..1e7).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = (4 - magnitude.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn answer() -> Vec<RecordBatch> {
        let fields = vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("vrmse", DataType::Float64, true),
        ];
        let names = StringArray::from(vec!["ckm", "a|b, \"c\""]);
        let values = Float64Array::from(vec![Some(0.012345678), None]);
        vec![
            RecordBatch::try_new(
                Arc::new(Schema::new(fields)),
                vec![Arc::new(names), Arc::new(values)],
            )
            .unwrap(),
        ]
    }

    fn text(format: Format) -> String {
        String::from_utf8(format.write(&answer()).unwrap()).unwrap()
    }

    #[test]
    fn each_format_is_what_its_readers_expect() {
        assert_eq!(
            text(Format::Table),
            "name         vrmse\n────────  ────────\nckm       0.012346\na|b, \"c\"\n"
        );
        assert_eq!(
            text(Format::Md),
            "| name | vrmse |\n| --- | ---: |\n| ckm | 0.012346 |\n| a\\|b, \"c\" |  |\n"
        );
        assert_eq!(
            text(Format::Csv),
            "name,vrmse\nckm,0.012345678\n\"a|b, \"\"c\"\"\",\n"
        );
        assert_eq!(
            text(Format::Json),
            "[{\"name\":\"ckm\",\"vrmse\":0.012345678},{\"name\":\"a|b, \\\"c\\\"\"}]\n"
        );
        assert_eq!(&Format::Parquet.write(&answer()).unwrap()[..4], b"PAR1");
    }

    #[test]
    fn numbers_keep_five_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (12345.678, "12346"),
            (0.1, "0.1"),
            (1.5e-7, "1.5000e-7"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
