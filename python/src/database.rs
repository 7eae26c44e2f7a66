//! SQL over results, data sets and trainings, and the report.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchIterator};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ffi::FFI_ArrowSchema;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use wellspring_eval::{Format, ReportOptions, Results, SqlOptions};
use wellspring_store::{Dataset, Location};

use crate::failure::{Error, Result, one_of};
use crate::log::LogNotes;
use crate::threads::{Origin, claim, wait};

type Settings = Vec<(String, String)>;

/// The tables of a results folder, of data sets and of trainings.
#[pyclass(frozen, module = "wellspring._native")]
pub struct Database {
    held: wellspring_eval::Database,
    origin: Origin,
}

#[pymethods]
impl Database {
    /// Opens results, data sets as (name, place), and trainings.
    #[new]
    fn new(
        py: Python<'_>,
        results: Option<&str>,
        data: Vec<(Option<String>, String)>,
        runs: Vec<String>,
        settings: Settings,
        memory: Option<u64>,
    ) -> Result<Self> {
        claim()?;
        let held = wellspring_eval::Database::with(SqlOptions { memory })?;
        let locate = |place: &str| Location::parse_with(place, &settings);
        if let Some(results) = results {
            let root = locate(results)?;
            wait(py, || held.add_results(&root, &LogNotes))??;
        }
        for (name, place) in &data {
            let root = locate(place)?;
            let dataset = wait(py, || Dataset::open(&root))??;
            held.add_dataset(name.as_deref(), dataset)?;
        }
        if !runs.is_empty() {
            let places = runs.iter().map(|run| locate(run));
            let places = places.collect::<Result<Vec<_>, _>>()?;
            wait(py, || held.add_trainings(&places, &LogNotes))??;
        }
        Ok(Self {
            held,
            origin: Origin::here(),
        })
    }

    /// Answers one query.
    fn sql(&self, py: Python<'_>, query: &str) -> Result<Answer> {
        self.origin.check("database")?;
        let batches = wait(py, || self.held.sql(query))??;
        Ok(Answer { batches })
    }
}

/// The answer of a query: a table that anything which knows Arrow reads, without copies.
#[pyclass(frozen, module = "wellspring._native")]
pub struct Answer {
    /// One at least, so that there is a schema.
    batches: Vec<RecordBatch>,
}

impl Answer {
    fn schema(&self) -> SchemaRef {
        self.batches
            .first()
            .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema)
    }
}

#[pymethods]
impl Answer {
    /// The table by Arrow's C stream interface.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A wish that the protocol allows to refuse.
        drop(requested_schema);
        let batches = self.batches.clone().into_iter().map(Ok);
        let batches = RecordBatchIterator::new(batches, self.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The table's columns by Arrow's C interface.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema().as_ref());
        let schema = schema.map_err(|error| Error::new_err(error.to_string()))?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// Names of the columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        let schema = self.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        names.collect()
    }

    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn __str__(&self) -> Result<String> {
        self.written("table")
    }

    /// The table as text: `table`, `md`, `csv` or `json`.
    fn written(&self, format: &str) -> Result<String> {
        let format = one_of("format", Format::ALL, Format::name, format)?;
        let bytes = format.write(&self.batches)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Writes figures and tables of results, and learning curves of runs, as one HTML file.
#[pyfunction]
pub fn report(
    py: Python<'_>,
    results: &str,
    out: &str,
    runs: Vec<String>,
    title: Option<String>,
    settings: Settings,
) -> Result<()> {
    claim()?;
    let locate = |place: &str| Location::parse_with(place, &settings);
    let (results, out) = (locate(results)?, locate(out)?);
    let runs = runs.iter().map(|run| locate(run));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let options = match title {
        Some(title) => ReportOptions { title },
        None => ReportOptions::default(),
    };
    let written = || async {
        let mut results = Results::open(&results, &LogNotes).await?;
        if !runs.is_empty() {
            results.add_trainings(&runs, &LogNotes).await?;
        }
        let html = wellspring_eval::report(&results, &options).await?;
        Ok::<_, wellspring_eval::Error>(out.put(html).await?)
    };
    Ok(wait(py, written)??)
}
