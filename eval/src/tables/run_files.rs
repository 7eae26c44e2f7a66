//! A table of results in SQL: one Parquet file for each run, in the order of their names.
//!
//! Which run a row belongs to is known before the row is read. So a filter on `run` chooses files,
//! and a question by run is answered run by run: partitions hold whole runs, in order, and nothing
//! need be exchanged between them.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, SplitPoint, Statistics};
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr, RangePartitioning};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use super::Table;
use crate::engine::{Question, is_decided_by, shares};

/// The file that a run has of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) run: String,
    pub(crate) bytes: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct RunFiles {
    pub(crate) table: Table,
    pub(crate) results: Location,
    /// In the order of their runs.
    pub(crate) files: Vec<RunFile>,
    /// `run`, then the columns that are read.
    schema: SchemaRef,
}

impl RunFiles {
    pub(crate) fn new(table: Table, results: Location, files: Vec<RunFile>) -> Self {
        let fields = table.schema();
        let fields = fields.fields().iter().map(|field| match field.data_type() {
            // Words that repeat are not copied for each row.
            DataType::Utf8 => field.as_ref().clone().with_data_type(DataType::Utf8View),
            _ => field.as_ref().clone(),
        });
        Self {
            table,
            results,
            files,
            schema: Arc::new(Schema::new(fields.collect::<Vec<Field>>())),
        }
    }

    /// The files whose run the filters leave.
    fn choose(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&RunFile>> {
        let of_run = filters.iter().filter(|filter| is_of_run(filter)).cloned();
        let runs: SchemaRef = Arc::new(self.schema.project(&[0])?);
        let question = Question::new(state, &runs, of_run)?;
        if question.is_empty() {
            return Ok(self.files.iter().collect());
        }
        let names = StringViewArray::from_iter_values(self.files.iter().map(|file| &file.run));
        let answers = question.answers(&RecordBatch::try_new(runs, vec![Arc::new(names)])?)?;
        let chosen = self.files.iter().zip(answers);
        Ok(chosen
            .filter_map(|(file, left)| left.then_some(file))
            .collect())
    }

    fn partitioned(&self, file: &RunFile) -> PartitionedFile {
        let columns = Schema::new(self.schema.fields()[1..].to_vec());
        PartitionedFile::from(ObjectMeta {
            location: self.table.file(&self.results, &file.run).path().clone(),
            size: file.bytes,
            // A run's files never change.
            last_modified: UNIX_EPOCH.into(),
            e_tag: None,
            version: None,
        })
        .with_partition_values(vec![name(file)])
        .with_statistics(Arc::new(Statistics::new_unknown(&columns)))
    }
}

fn is_of_run(filter: &Expr) -> bool {
    is_decided_by(filter, |column| column == "run")
}

fn name(file: &RunFile) -> ScalarValue {
    ScalarValue::Utf8View(Some(file.run.clone()))
}

#[async_trait]
impl TableProvider for RunFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match is_of_run(filter) {
            true => TableProviderFilterPushDown::Exact,
            // The optimizer hands them to the reader of Parquet.
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let chosen = self.choose(state, filters)?;
        let all = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        if chosen.is_empty() {
            let schema = Arc::new(self.schema.project(projection)?);
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let format = ParquetFormat::default().with_options(state.default_table_options().parquet);
        let run = self.schema.fields()[0].clone();
        let read = Arc::new(Schema::new(self.schema.fields()[1..].to_vec()));
        let last = read.fields().len();
        let columns = TableSchema::builder(read)
            .with_table_partition_cols(vec![run])
            .build();
        // The engine counts `run`, which is in no file for it, after all others.
        let projection = projection.iter().map(|&column| match column {
            0 => last,
            _ => column - 1,
        });
        let mut statistics = Statistics::new_unknown(columns.table_schema());
        let bytes: u64 = chosen.iter().map(|file| file.bytes).sum();
        statistics.total_byte_size = Precision::Inexact(bytes as usize);
        let order = LexOrdering::from([PhysicalSortExpr::new_default(Arc::new(Column::new(
            "run", last,
        )))]);
        let groups = shares(chosen, state.config().target_partitions(), |file| {
            file.bytes
        });
        // Fewer runs than partitions are better cut than kept whole.
        let whole = groups.len() == state.config().target_partitions();
        let starts = groups[1..]
            .iter()
            .map(|group| SplitPoint::new(vec![name(group[0])]));
        let partitioning = whole
            .then(|| RangePartitioning::try_new(order.clone(), starts.collect()))
            .transpose()?
            .map(Partitioning::Range);
        let groups = groups
            .iter()
            .map(|group| FileGroup::new(group.iter().map(|file| self.partitioned(file)).collect()));
        let store = ObjectStoreUrl::parse(self.results.store_url())?;
        let config = FileScanConfigBuilder::new(store, format.file_source(columns))
            .with_file_groups(groups.collect())
            .with_statistics(statistics)
            .with_projection_indices(Some(projection.collect()))?
            .with_limit(limit.filter(|_| filters.iter().all(is_of_run)))
            .with_output_ordering(vec![order])
            .with_output_partitioning(partitioning)
            .build();
        format.create_physical_plan(state, config).await
    }
}
