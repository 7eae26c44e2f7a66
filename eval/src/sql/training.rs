//! The table `training`: the events of all runs that were given, read from the segments of their logs.
//!
//! Run, path and configuration of a row are known before the row is read, and so are its segment and how many
//! steps the run has taken after that (`steps_after`). So a filter on them chooses files, and
//! `config['optim.lr']` costs nothing for each row. Rows that do not count, since a run went on from an earlier
//! step, are left out: see `wellspring_log`.

mod columns;
mod folders;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::union::UnionExec;
use wellspring_log::Segment;

use crate::sql::engine::{PruningFilter, is_decided_by, pushed_down, shares};
use columns::{KNOWN, OF_PART, OF_RUN, UNTIL, known, read};
pub(crate) use folders::TrainingFolders;
use folders::{Part, PartRows};

/// The table.
#[derive(Debug)]
pub(crate) struct TrainingTable {
    folders: Arc<TrainingFolders>,
    /// What is known of a run's rows, then the columns that are read.
    schema: SchemaRef,
}

/// Segments that one scan reads, each with what is known of it.
type Files<'a> = Vec<(&'a Part, &'a Segment)>;

impl TrainingTable {
    pub(crate) fn new(folders: Arc<TrainingFolders>) -> Self {
        let fields = known().into_iter().chain(read());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
        Self { folders, schema }
    }

    /// The parts that the filters leave.
    fn choose(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&Part>> {
        let chosen = |of: &[&str], rows: &RecordBatch| {
            let filters = filters.iter().filter(|filter| is_of(filter, of)).cloned();
            PruningFilter::new(state, &rows.schema(), filters)?.answers(rows)
        };
        let runs = chosen(&OF_RUN, &self.folders.records)?;
        let parts = &self.folders.parts;
        let numbers = |number: fn(&Part) -> u64| -> ArrayRef {
            Arc::new(
                parts
                    .iter()
                    .map(|part| Some(number(part)))
                    .collect::<UInt64Array>(),
            )
        };
        let fields = Schema::new(known()[OF_RUN.len()..].to_vec());
        let columns = vec![
            numbers(|part| part.number),
            numbers(|part| part.steps_after),
        ];
        let left = chosen(&OF_PART, &RecordBatch::try_new(Arc::new(fields), columns)?)?;
        let parts = parts.iter().zip(left);
        let left = parts.filter(|(part, left)| *left && runs[part.run]);
        Ok(left.map(|(part, _)| part).collect())
    }

    /// A scan of files of one store, with the table's columns of these numbers.
    async fn scan_files(
        &self,
        state: &dyn Session,
        store: &str,
        files: Files<'_>,
        projection: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut options = state.default_table_options().parquet;
        // Segments are small: their least and largest values leave little out.
        options.global.pruning = false;
        let format = ParquetFormat::default().with_options(options);
        let read = read();
        let count = read.len();
        let columns = TableSchema::builder(Arc::new(Schema::new(read)))
            .with_table_partition_cols(columns::of_files())
            .build();
        // The engine counts what is in no file after all else.
        let placed = projection.iter().map(|&column| match column {
            column if column < KNOWN => count + column,
            column if column < self.schema.fields().len() => column - KNOWN,
            _ => count + KNOWN,
        });
        let groups = shares(files, state.config().target_partitions(), |(_, segment)| {
            segment.object.size
        });
        let groups = groups.iter().map(|group| {
            let file = |&(part, segment): &(&Part, &Segment)| self.partitioned(part, segment);
            Ok(FileGroup::new(
                group.iter().map(file).collect::<Result<_>>()?,
            ))
        });
        let config =
            FileScanConfigBuilder::new(ObjectStoreUrl::parse(store)?, format.file_source(columns))
                .with_file_groups(groups.collect::<Result<_>>()?)
                .with_projection_indices(Some(placed.collect()))?
                .build();
        format.create_physical_plan(state, config).await
    }

    fn partitioned(&self, part: &Part, segment: &Segment) -> Result<PartitionedFile> {
        let mut values = self.folders.values(part)?;
        values.push(ScalarValue::UInt64(Some(segment.until)));
        Ok(PartitionedFile::from(segment.object.clone()).with_partition_values(values))
    }

    /// A scan of files some of whose rows do not count.
    async fn scan_cut(
        &self,
        state: &dyn Session,
        store: &str,
        files: Files<'_>,
        projection: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = projection.len();
        let until = self.schema.fields().len();
        let step = self.schema.index_of("step")?;
        let more = [projection, &[step, until]].concat();
        let read = self.scan_files(state, store, files, &more).await?;
        let column = |name, at| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>;
        let counts = BinaryExpr::new(
            column("step", wanted),
            Operator::LtEq,
            column(UNTIL, wanted + 1),
        );
        let left = FilterExecBuilder::new(Arc::new(counts), read)
            .apply_projection(Some((0..wanted).collect()))?;
        Ok(Arc::new(left.build()?))
    }

    /// Rows of `log.jsonl`.
    fn scan_old(
        &self,
        old: Vec<RecordBatch>,
        projection: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(&self.schema);
        let projection = Some(projection.to_vec());
        Ok(MemorySourceConfig::try_new_exec(
            &[old],
            schema,
            projection,
        )?)
    }
}

/// Whether some columns decide a filter.
fn is_of(filter: &Expr, columns: &[&str]) -> bool {
    is_decided_by(filter, |column| columns.contains(&column))
}

#[async_trait]
impl TableProvider for TrainingTable {
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
        let decided = |filter: &Expr| is_of(filter, &OF_RUN) || is_of(filter, &OF_PART);
        // The optimizer hands the others to the reader of Parquet.
        let others = TableProviderFilterPushDown::Inexact;
        Ok(pushed_down(filters, decided, others))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        // By store, those that count whole and those that do not.
        let mut files: BTreeMap<String, [Files<'_>; 2]> = BTreeMap::new();
        let mut old = Vec::new();
        for part in self.choose(state, filters)? {
            match &part.rows {
                PartRows::Old(rows) => old.push(self.folders.shown(part, rows)?),
                PartRows::Segment(segment) => {
                    let run = &self.folders.trainings[part.run].location;
                    let of_store = files.entry(run.store_url()).or_default();
                    of_store[usize::from(segment.is_cut())].push((part, segment));
                }
            }
        }
        let mut scans = Vec::new();
        for (store, [whole, cut]) in files {
            if !whole.is_empty() {
                scans.push(self.scan_files(state, &store, whole, projection).await?);
            }
            if !cut.is_empty() {
                scans.push(self.scan_cut(state, &store, cut, projection).await?);
            }
        }
        if !old.is_empty() {
            scans.push(self.scan_old(old, projection)?);
        }
        match scans.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(
                self.schema.project(projection)?,
            )))),
            1 => Ok(scans.remove(0)),
            _ => UnionExec::try_new(scans),
        }
    }
}

#[cfg(test)]
mod tests;
