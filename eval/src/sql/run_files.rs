//! A table of results in SQL: one Parquet file for each run, in the order of their names.
//!
//! The run of a row is known before the row is read. So a filter on `run` chooses files, and a query that groups
//! by run is answered run by run: partitions hold whole runs, in order, and need no exchange.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{RecordBatch, StringArray};
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
use wellspring_store::Location;

use crate::results::tables::{RunFile, Table};
use crate::sql::engine::{PruningFilter, is_decided_by, pushed_down, shares};

/// The table.
#[derive(Debug)]
pub(crate) struct RunFiles {
    pub(crate) table: Table,
    pub(crate) results: Location,
    /// Files of the table, in the order of their runs.
    pub(crate) files: Vec<RunFile>,
    /// `run`, then the columns that are read.
    schema: SchemaRef,
}

impl RunFiles {
    pub(crate) fn new(table: Table, results: Location, files: Vec<RunFile>) -> Self {
        let fields = table.schema();
        let fields = fields.fields().iter().map(|field| match field.data_type() {
            // Words that repeat are not copied for each row; `run` is in no file, and groups of
            // long views cost 2 MB each time that a run ends.
            DataType::Utf8 if field.name() != "run" => {
                field.as_ref().clone().with_data_type(DataType::Utf8View)
            }
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
        let question = PruningFilter::new(state, &runs, of_run)?;
        if question.is_empty() {
            return Ok(self.files.iter().collect());
        }
        let names = StringArray::from_iter_values(self.files.iter().map(|file| &file.run));
        let answers = question.answers(&RecordBatch::try_new(runs, vec![Arc::new(names)])?)?;
        let chosen = self.files.iter().zip(answers);
        Ok(chosen
            .filter_map(|(file, left)| left.then_some(file))
            .collect())
    }

    fn partitioned(&self, file: &RunFile) -> PartitionedFile {
        let columns = Schema::new(self.schema.fields()[1..].to_vec());
        let modified = Duration::from_millis(file.modified.unsigned_abs());
        PartitionedFile::from(ObjectMeta {
            location: self.table.file(&self.results, &file.file).path().clone(),
            size: file.bytes,
            // Cached metadata of a file must not be used for the file that replaces it.
            last_modified: (UNIX_EPOCH + modified).into(),
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
    ScalarValue::Utf8(Some(file.run.clone()))
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
        // The optimizer hands the others to the reader of Parquet.
        let others = TableProviderFilterPushDown::Inexact;
        Ok(pushed_down(filters, is_of_run, others))
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
        let mut options = state.default_table_options().parquet;
        // A run's few row groups have every metric and field: their least and largest values leave
        // nothing out, and to find that anew in each file takes a twentieth of a long question.
        options.global.pruning = false;
        let format = ParquetFormat::default().with_options(options);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::Format;
    use crate::results::tables::{MetricRow, TableWriter};
    use crate::sql::session::{self, StorageOptions};

    const RUNS: [&str; 5] = ["a", "b", "c", "d", "e f"];

    /// Five runs of two leads and two trajectories; the value says which row it is in.
    async fn metrics(folder: &tempfile::TempDir) -> RunFiles {
        let results = Location::parse(folder.path().to_str().unwrap()).unwrap();
        for (n, run) in RUNS.into_iter().enumerate() {
            let mut writer = TableWriter::new(Table::Metrics).unwrap();
            let row = |i: usize| MetricRow {
                run,
                trajectory: i as u32 % 2,
                start: 0,
                lead: 1 + i as u32 / 2,
                patch: "16",
                tokens: 8,
                field: "u",
                metric: "vrmse",
                band: None,
                value: (100 * n + i) as f64,
            };
            writer.push(&(0..4).map(row).collect::<Vec<_>>()).unwrap();
            let file = Table::Metrics.file(&results, run);
            file.put(writer.finish().unwrap()).await.unwrap();
        }
        let files = Table::Metrics.files(&results).await.unwrap();
        RunFiles::new(Table::Metrics, results, files)
    }

    async fn ask(session: &SessionContext, query: &str) -> String {
        let answer = session.sql(query).await.unwrap().collect().await.unwrap();
        String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn runs_stay_whole_and_choose_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let config = session::config().with_target_partitions(2);
        let session = SessionContext::new_with_state(
            session::state(config, &StorageOptions::default()).unwrap(),
        );
        let table = metrics(&folder).await;
        session.register_table("metrics", Arc::new(table)).unwrap();

        let by_lead = "SELECT run, lead, sum(value) AS total FROM metrics GROUP BY run, lead";
        let answer = ask(&session, &format!("{by_lead} ORDER BY run, lead")).await;
        let rows = RUNS.into_iter().enumerate().flat_map(|(n, run)| {
            [(1, 1), (2, 5)].map(|(lead, sum)| format!("{run},{lead},{}.0\n", 200 * n + sum))
        });
        assert_eq!(
            answer,
            format!("run,lead,total\n{}", rows.collect::<String>())
        );
        let plan = ask(&session, &format!("EXPLAIN {by_lead}")).await;
        assert!(plan.contains("SinglePartitioned"), "{plan}");
        assert!(!plan.contains("RepartitionExec"), "{plan}");

        let one = "SELECT value, run FROM metrics WHERE run = 'c' AND lead = 2";
        assert_eq!(ask(&session, one).await, "value,run\n202.0,c\n203.0,c\n");
        let plan = ask(&session, &format!("EXPLAIN {one}")).await;
        let is_named = |run: &str| plan.contains(&format!("/{run}.parquet"));
        assert!(is_named("c") && !is_named("b") && !is_named("d"), "{plan}");
        let none = "SELECT count(*) AS n FROM metrics WHERE run > 'p'";
        assert_eq!(ask(&session, none).await, "n\n0\n");
        let two = "SELECT count(*) AS n FROM (SELECT * FROM metrics LIMIT 2)";
        assert_eq!(ask(&session, two).await, "n\n2\n");
    }
}
