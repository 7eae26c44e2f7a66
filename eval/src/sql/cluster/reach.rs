//! [`Reach`]: what the plans of clients may do: read the data sets and results named at the start, and compute.
//!
//! A client can send any plan that Ballista can encode, including scans of any file and writes to any. So the
//! scheduler checks each logical plan and the executors each stage, after decoding and before running it: a
//! node that is not on the list is refused by its name.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_plan::ExecutionPlan;
use wellspring_store::Location;

use crate::sql::RunFiles;
use crate::sql::engine::external;
use crate::sql::frames::{FramesScan, FramesTable};

/// Nodes of physical plans that read nothing but their inputs and write nothing but what stages exchange.
const HARMLESS: [&str; 42] = [
    "AggregateExec",
    "AnalyzeExec",
    "BoundedWindowAggExec",
    "BufferExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "ExplainExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "InterleaveExec",
    "LocalLimitExec",
    "NestedLoopJoinExec",
    "OrderedRangeRepartitionExec",
    "PartialSortExec",
    "PartitionedBoundedWindowAggExec",
    "PartitionedTopKExec",
    "PerPartitionFilterExec",
    "PiecewiseMergeJoinExec",
    "PlaceholderRowExec",
    "PrefixMergeExec",
    "ProjectionExec",
    "RangeFilterExec",
    "RangeShuffleReaderExec",
    "RangeShuffleWriterExec",
    "RepartitionExec",
    "RuntimeStatsExec",
    "ScalarSubqueryExec",
    "ShuffleReaderExec",
    "ShuffleWriterExec",
    "SortExec",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "SortShuffleWriterExec",
    "SymmetricHashJoinExec",
    "UnionExec",
    "UnnestExec",
    "UnorderedRangeRepartitionExec",
    "WindowAggExec",
];

/// A plan that is not carried out.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanRefusal {
    #[error(
        "this cluster refuses {node}: it answers questions about the data sets and results that it was started for"
    )]
    Node { node: String },
    #[error(
        "this cluster may not read {place}; name it, or a folder above it, to the scheduler and to every executor: --read {place}"
    )]
    Place { place: String },
    #[error(
        "an expression is more than {limit} operators deep; split it over subqueries, or sum over rows"
    )]
    Depth { limit: usize },
}

/// Ballista tells a client the errors of stages in this form.
impl fmt::Debug for PlanRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The places that may be read, with all below them.
#[derive(Debug, Clone)]
pub(super) enum Reach {
    /// Everything: for a client, which trusts its own plans.
    Anywhere,
    /// Only what lies below these locations: for servers.
    Below(Arc<[Location]>),
}

impl Reach {
    /// Refuses a place that lies elsewhere.
    pub(super) fn check_place(&self, place: &Location) -> Result<()> {
        let Self::Below(folders) = self else {
            return Ok(());
        };
        let is_below = |folder: &Location| {
            folder.store_url() == place.store_url() && place.below(folder).is_some()
        };
        match folders.iter().any(is_below) {
            true => Ok(()),
            false => Err(external(PlanRefusal::Place {
                place: place.to_string(),
            })),
        }
    }

    /// Refuses a plan of a client that is more than a question.
    pub(super) fn check_logical(&self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|node| {
            self.check_logical_node(node)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn check_logical_node(&self, node: &LogicalPlan) -> Result<()> {
        let name = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => return Ok(()),
            LogicalPlan::TableScan(scan) => return self.check_table(scan),
            LogicalPlan::Statement(_) => "a statement",
            LogicalPlan::Dml(_) => "a change of rows",
            LogicalPlan::Ddl(_) => "a change of tables",
            LogicalPlan::Copy(_) => "COPY TO",
            LogicalPlan::DescribeTable(_) => "DESCRIBE",
            LogicalPlan::Extension(extension) => extension.node.name(),
        };
        Err(refused(name))
    }

    fn check_table(&self, scan: &TableScan) -> Result<()> {
        let table = source_as_provider(&scan.source)?;
        let any: &dyn Any = table.as_ref();
        if let Some(frames) = any.downcast_ref::<FramesTable>() {
            return self.check_place(&frames.source.root);
        }
        if let Some(files) = any.downcast_ref::<RunFiles>() {
            return self.check_place(&files.results);
        }
        match any.downcast_ref::<ViewTable>() {
            Some(view) => self.check_logical(view.logical_plan()),
            None => Err(refused(&format!("a scan of {}", scan.table_name))),
        }
    }

    /// Refuses a stage that is more than a part of a question.
    pub(super) fn check_physical(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        plan.apply(|node| {
            self.check_physical_node(node)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn check_physical_node(&self, node: &Arc<dyn ExecutionPlan>) -> Result<()> {
        let any: &dyn Any = node.as_ref();
        if let Some(scan) = any.downcast_ref::<FramesScan>() {
            return self.check_place(&scan.source.root);
        }
        if let Some(scan) = any.downcast_ref::<DataSourceExec>() {
            return self.check_source(scan);
        }
        match HARMLESS.contains(&node.name()) {
            true => Ok(()),
            false => Err(refused(node.name())),
        }
    }

    fn check_source(&self, scan: &DataSourceExec) -> Result<()> {
        let source: &dyn Any = scan.data_source().as_ref();
        if source.is::<MemorySourceConfig>() {
            return Ok(());
        }
        let Some(files) = source.downcast_ref::<FileScanConfig>() else {
            return Err(refused("a source that is not a file"));
        };
        let format: &dyn Any = files.file_source.as_ref();
        if !format.is::<ParquetSource>() {
            let kind = files.file_source.file_type();
            return Err(refused(&format!("a scan of {kind} files")));
        }
        let store = files.object_store_url.as_str();
        let places = files.file_groups.iter().flat_map(|group| group.iter());
        places
            .map(|file| &file.object_meta.location)
            .try_for_each(|path| self.check_file(store, path))
    }

    /// Refuses a file of a store, which is known by its URL as the session's are, that lies elsewhere.
    fn check_file(&self, store: &str, path: &object_store::path::Path) -> Result<()> {
        let Self::Below(folders) = self else {
            return Ok(());
        };
        let store = store.trim_end_matches('/');
        let is_below = |folder: &Location| {
            folder.store_url().trim_end_matches('/') == store && path.prefix_matches(folder.path())
        };
        match folders.iter().any(is_below) {
            true => Ok(()),
            false => Err(external(PlanRefusal::Place {
                place: format!("{store}/{path}"),
            })),
        }
    }
}

fn refused(node: &str) -> datafusion::error::DataFusionError {
    external(PlanRefusal::Node { node: node.into() })
}
