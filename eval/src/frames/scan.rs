//! The plan node that reads frames.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use wellspring_store::{Piece, Scanner, Split, Wanted};

use super::selection::describe;
use super::{Column, Source, external};

/// Rows of a batch where only the manifest is read.
const ROWS: usize = 8192;

/// Reads columns of pieces of shards.
#[derive(Debug)]
pub(crate) struct FramesScan {
    pub(crate) source: Source,
    pub(crate) columns: Vec<Column>,
    pub(crate) partitions: Vec<Vec<Piece>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Pieces in order, as so many shares of about equal rows.
pub(super) fn shares(pieces: Vec<Piece>, count: usize) -> Vec<Vec<Piece>> {
    let total: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
    let mut shares = vec![Vec::new()];
    let mut rows = 0;
    for piece in pieces {
        if rows * count >= total * shares.len() && shares.len() < count && rows > 0 {
            shares.push(Vec::new());
        }
        rows += piece.rows.len();
        if let Some(share) = shares.last_mut() {
            share.push(piece);
        }
    }
    shares
}

impl FramesScan {
    pub(crate) fn new(
        source: Source,
        columns: Vec<Column>,
        schema: SchemaRef,
        partitions: Vec<Vec<Piece>>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            source,
            columns,
            partitions,
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for FramesScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .schema
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .collect();
        let pieces = || self.partitions.iter().flatten();
        write!(
            f,
            "FramesScan: {}, columns=[{}], frames={}, pieces={}",
            self.source,
            names.join(", "),
            pieces().map(|piece| piece.rows.len()).sum::<usize>(),
            pieces().count()
        )
    }
}

impl ExecutionPlan for FramesScan {
    fn name(&self) -> &str {
        "FramesScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reader = Reader::new(&self.columns, &self.schema);
        let pieces = self.partitions[partition].clone();
        let source = self.source.clone();
        let batches = async move {
            let scanner = source.scanner().await?;
            let pieces = stream::iter(pieces);
            Ok::<_, DataFusionError>(
                pieces.flat_map(move |piece| reader.clone().read(Arc::clone(&scanner), piece)),
            )
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream::once(batches).try_flatten(),
        )))
    }
}

/// Joins what shards hold with what the manifest knows.
#[derive(Debug, Clone)]
struct Reader {
    columns: Vec<Column>,
    schema: SchemaRef,
    wanted: Wanted,
    /// Columns that the manifest knows.
    known: Vec<Column>,
    known_schema: SchemaRef,
}

impl Reader {
    fn new(columns: &[Column], schema: &SchemaRef) -> Self {
        let pairs = columns.iter().zip(schema.fields());
        let (known, fields): (Vec<Column>, Vec<Field>) = pairs
            .filter(|(column, _)| column.is_in_manifest())
            .map(|(column, field)| (column.clone(), field.as_ref().clone()))
            .unzip();
        let channel = |column: &Column| match column {
            Column::Channel(channel) => Some(*channel),
            _ => None,
        };
        Self {
            wanted: Wanted {
                time: columns.contains(&Column::Time),
                channels: columns.iter().filter_map(channel).collect(),
            },
            columns: columns.to_vec(),
            schema: Arc::clone(schema),
            known,
            known_schema: Arc::new(Schema::new(fields)),
        }
    }

    fn read(self, scanner: Arc<Scanner>, piece: Piece) -> BoxStream<'static, Result<RecordBatch>> {
        let Piece { split, rows, .. } = piece.clone();
        if !self.wanted.time && self.wanted.channels.is_empty() {
            let starts = stream::iter(rows.clone().step_by(ROWS));
            let batch = move |start: usize| {
                let rows = start..rows.end.min(start + ROWS);
                self.join(&scanner, split, rows, None)
            };
            return starts.map(batch).boxed();
        }
        let mut next = rows.start;
        let stored = Arc::clone(&scanner).scan(piece, self.wanted.clone());
        let batch = move |stored: Result<RecordBatch, wellspring_store::Error>| {
            let stored = stored.map_err(external)?;
            let rows = next..next + stored.num_rows();
            next = rows.end;
            self.join(&scanner, split, rows, Some(&stored))
        };
        stored.map(batch).boxed()
    }

    fn join(
        &self,
        scanner: &Scanner,
        split: Split,
        rows: std::ops::Range<usize>,
        stored: Option<&RecordBatch>,
    ) -> Result<RecordBatch> {
        let count = rows.len();
        let frames: Vec<(usize, usize)> = rows.map(|row| scanner.frame(split, row)).collect();
        let known = describe(scanner, split, &frames, &self.known, &self.known_schema)?;
        let mut known = known.columns().iter();
        let stored: &[ArrayRef] = stored.map_or(&[], RecordBatch::columns);
        let (mut times, mut channels) = (
            stored.iter(),
            stored[usize::from(self.wanted.time)..].iter(),
        );
        let arrays = self.columns.iter().filter_map(|column| match column {
            Column::Time => times.next(),
            Column::Channel(_) => channels.next(),
            _ => known.next(),
        });
        let arrays = arrays.cloned().collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &rows,
        )?)
    }
}
