//! A data set's frames as a table: `split`, `trajectory`, `step`, the parameters of the simulation,
//! `time`, and a column for each channel, in its own units.
//!
//! The manifest answers what it can: a filter on split, trajectory, step or parameters chooses rows before
//! any shard is read, and only the columns that a query names are read of the chosen rows ([`Scanner`]).

mod scan;
mod selection;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use wellspring_store::{Dataset, FrameColumns, Location, Manifest, Scanner};

pub(crate) use scan::FramesScan;
#[cfg(feature = "cluster")]
pub(crate) use scan::ScanSize;

use crate::sql::engine::{external, is_decided_by, pushed_down};
use crate::sql::spacing::Spacing;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Column {
    Split,
    Trajectory,
    Step,
    /// A constant parameter of the simulation, by name.
    Parameter(String),
    /// A scalar that changes in time, by name.
    Series(String),
    Time,
    /// A channel, by its number in the schema.
    Channel(usize),
}

impl Column {
    /// Whether no shard need be read for it.
    fn is_in_manifest(&self) -> bool {
        !matches!(self, Self::Time | Self::Channel(_))
    }

    /// Whether it is the same for all frames of a trajectory.
    fn is_of_trajectory(&self) -> bool {
        matches!(self, Self::Split | Self::Trajectory | Self::Parameter(_))
    }
}

/// A data set that is opened when it is first read: of a table that came over a wire, only its place
/// is known.
#[derive(Debug, Clone)]
pub(crate) struct FrameSource {
    pub(crate) root: Location,
    /// Id of the manifest that the table was made for.
    pub(crate) id: String,
    scanner: Arc<OnceCell<Arc<Scanner>>>,
}

impl FrameSource {
    /// A data set that is not open yet, with the id of its manifest.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn at(root: Location, id: String) -> Self {
        Self {
            root,
            id,
            scanner: Arc::default(),
        }
    }

    fn of(dataset: Arc<Dataset>) -> Self {
        Self {
            root: dataset.location().clone(),
            id: dataset.manifest().id(),
            scanner: Arc::new(OnceCell::new_with(Some(Arc::new(Scanner::new(dataset))))),
        }
    }

    async fn scanner(&self) -> Result<Arc<Scanner>> {
        let open = self.scanner.get_or_try_init(|| async {
            let dataset = Dataset::open(&self.root).await.map_err(external)?;
            if dataset.manifest().id() != self.id {
                let reason = format!("{} changed while it was being read; ask again", self.root);
                return Err(DataFusionError::Execution(reason));
            }
            Ok::<_, DataFusionError>(Arc::new(Scanner::new(Arc::new(dataset))))
        });
        open.await.cloned()
    }
}

/// The table.
#[derive(Debug, Clone)]
pub(crate) struct FramesTable {
    pub(crate) source: FrameSource,
    pub(crate) columns: Vec<Column>,
    schema: SchemaRef,
}

impl FramesTable {
    /// The table of an open data set, with all its columns.
    pub(crate) fn new(dataset: Arc<Dataset>) -> Self {
        let manifest = dataset.manifest();
        let channels = manifest.schema.channels();
        let wanted = FrameColumns {
            time: true,
            channels: (0..channels.len()).collect(),
        };
        let stored = Scanner::new(Arc::clone(&dataset)).schema(&wanted);
        let taken: BTreeSet<&str> = ["split", "trajectory", "step"]
            .into_iter()
            .chain(stored.fields().iter().map(|field| field.name().as_str()))
            .collect();
        let (parameters, series) = names(manifest);
        let named = |name: &String| match taken.contains(name.as_str()) {
            true => format!("parameter_{name}"),
            false => name.clone(),
        };
        let number = |name: &String| Field::new(named(name), DataType::Float64, true);
        let mut fields = vec![
            Field::new("split", DataType::Utf8, false),
            Field::new("trajectory", DataType::UInt32, false),
            Field::new("step", DataType::UInt32, false),
        ];
        fields.extend(parameters.iter().chain(&series).map(number));
        let spacing = Spacing::of(&manifest.schema.grid);
        fields.extend(stored.fields().iter().map(|field| {
            let mut field = field.as_ref().clone();
            if let (Some(spacing), DataType::FixedSizeList(..)) = (&spacing, field.data_type()) {
                spacing.write(field.metadata_mut());
            }
            field
        }));
        let mut columns = vec![Column::Split, Column::Trajectory, Column::Step];
        columns.extend(parameters.into_iter().map(Column::Parameter));
        columns.extend(series.into_iter().map(Column::Series));
        columns.push(Column::Time);
        columns.extend((0..channels.len()).map(Column::Channel));
        Self {
            source: FrameSource::of(dataset),
            columns,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The table as another process described it.
    #[cfg(feature = "cluster")]
    pub(crate) fn from_parts(source: FrameSource, columns: Vec<Column>, schema: SchemaRef) -> Self {
        Self {
            source,
            columns,
            schema,
        }
    }

    /// The column that a name in SQL means.
    fn column(&self, name: &str) -> Option<&Column> {
        let place = self.schema.index_of(name).ok()?;
        self.columns.get(place)
    }

    /// Whether the manifest decides a filter.
    fn decides(&self, filter: &Expr) -> bool {
        is_decided_by(filter, |name| {
            self.column(name).is_some_and(Column::is_in_manifest)
        })
    }
}

/// Names of the parameters and of the series that any trajectory has.
fn names(manifest: &Manifest) -> (Vec<String>, Vec<String>) {
    let trajectories = || manifest.splits.values().flat_map(|held| &held.trajectories);
    let parameters: BTreeSet<&String> = trajectories().flat_map(|t| t.parameters.keys()).collect();
    let series: BTreeSet<&String> = trajectories()
        .flat_map(|t| t.series.keys())
        .filter(|name| !parameters.contains(name))
        .collect();
    let owned = |names: BTreeSet<&String>| names.into_iter().cloned().collect();
    (owned(parameters), owned(series))
}

#[async_trait]
impl TableProvider for FramesTable {
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
        let others = TableProviderFilterPushDown::Unsupported;
        Ok(pushed_down(filters, |filter| self.decides(filter), others))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scanner = self.source.scanner().await?;
        let rows = selection::select(self, &scanner, state, filters)?;
        let pieces = selection::pieces(&scanner, rows, limit);
        let projection = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.columns.len()).collect(),
        };
        let (chosen, listed) = scan::listed(pieces, state.config().target_partitions())?;
        Ok(Arc::new(FramesScan::new(
            self.source.clone(),
            projection
                .iter()
                .map(|&i| self.columns[i].clone())
                .collect(),
            Arc::new(self.schema.project(&projection)?),
            chosen,
            listed,
        )))
    }
}

impl fmt::Display for FrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
