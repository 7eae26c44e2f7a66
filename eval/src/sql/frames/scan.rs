//! The plan node that reads frames. The pieces to read are rows of an input, so dividing a plan into tasks by
//! the partitions of its inputs divides the reading, too.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use wellspring_store::{FrameColumns, Scanner, ShardRows, Split};

use super::selection::describe;
use super::{Column, FrameSource};
use crate::sql::engine::{external, shares};

/// Rows of a batch where only the manifest is read.
const ROWS: usize = 8192;

/// Reads columns of the pieces of shards that its input names.
#[derive(Debug)]
pub(crate) struct FramesScan {
    pub(crate) source: FrameSource,
    pub(crate) columns: Vec<Column>,
    pub(crate) chosen: ScanSize,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Total size of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScanSize {
    frames: usize,
    pieces: usize,
}

/// A plan that gives the pieces, in partitions with about equal numbers of rows.
pub(super) fn listed(
    pieces: Vec<ShardRows>,
    count: usize,
) -> Result<(ScanSize, Arc<dyn ExecutionPlan>)> {
    let chosen = ScanSize {
        frames: pieces.iter().map(|piece| piece.rows.len()).sum(),
        pieces: pieces.len(),
    };
    let partitions = shares(pieces, count, |piece| piece.rows.len() as u64);
    let partitions: Result<Vec<Vec<RecordBatch>>> = partitions
        .iter()
        .map(|pieces| Ok(vec![rows(pieces)?]))
        .collect();
    let plan = MemorySourceConfig::try_new_exec(&partitions?, piece_schema(), None)?;
    Ok((chosen, plan))
}

fn piece_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        number("shard"),
        number("start"),
        number("end"),
    ]))
}

fn rows(pieces: &[ShardRows]) -> Result<RecordBatch> {
    let numbers = |of: fn(&ShardRows) -> usize| -> ArrayRef {
        let values = pieces.iter().map(|piece| of(piece) as u64);
        Arc::new(UInt64Array::from_iter_values(values))
    };
    let splits = pieces.iter().map(|piece| piece.split.to_string());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(splits)),
        numbers(|piece| piece.shard),
        numbers(|piece| piece.rows.start),
        numbers(|piece| piece.rows.end),
    ];
    Ok(RecordBatch::try_new(piece_schema(), columns)?)
}

fn pieces(rows: &RecordBatch) -> Result<Vec<ShardRows>> {
    let splits = rows.column(0).as_string::<i32>();
    let [shards, starts, ends] = [1, 2, 3].map(|i| rows.column(i).as_primitive::<UInt64Type>());
    let piece = |row: usize| {
        Ok(ShardRows {
            split: splits.value(row).parse().map_err(external)?,
            shard: shards.value(row) as usize,
            rows: starts.value(row) as usize..ends.value(row) as usize,
        })
    };
    (0..rows.num_rows()).map(piece).collect()
}

impl FramesScan {
    pub(crate) fn new(
        source: FrameSource,
        columns: Vec<Column>,
        schema: SchemaRef,
        chosen: ScanSize,
        input: Arc<dyn ExecutionPlan>,
    ) -> Self {
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            source,
            columns,
            chosen,
            input,
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
            .map(|field| field.name().as_str())
            .collect();
        write!(
            f,
            "FramesScan: {}, columns=[{}], frames={}, pieces={}",
            self.source,
            names.join(", "),
            self.chosen.frames,
            self.chosen.pieces
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
        vec![&self.input]
    }

    /// Pieces are cut already.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else {
            return Ok(self);
        };
        Ok(Arc::new(Self::new(
            self.source.clone(),
            self.columns.clone(),
            Arc::clone(&self.schema),
            self.chosen,
            input,
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let reader = Reader::new(&self.columns, &self.schema);
        let source = self.source.clone();
        let listed = self.input.execute(partition, context)?;
        let listed = listed.map(|rows| Ok::<_, DataFusionError>(stream::iter(pieces(&rows?)?)));
        let batches = async move {
            let scanner = source.scanner().await?;
            let read = move |listed: stream::Iter<std::vec::IntoIter<ShardRows>>| {
                let (reader, scanner) = (reader.clone(), Arc::clone(&scanner));
                listed.flat_map(move |piece| reader.clone().read(Arc::clone(&scanner), piece))
            };
            Ok::<_, DataFusionError>(listed.map_ok(read).try_flatten())
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
    wanted: FrameColumns,
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
            wanted: FrameColumns {
                time: columns.contains(&Column::Time),
                channels: columns.iter().filter_map(channel).collect(),
            },
            columns: columns.to_vec(),
            schema: Arc::clone(schema),
            known,
            known_schema: Arc::new(Schema::new(fields)),
        }
    }

    fn read(
        self,
        scanner: Arc<Scanner>,
        piece: ShardRows,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let ShardRows { split, rows, .. } = piece.clone();
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
