//! Which rows a query's filters leave, as the manifest knows it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch, RecordBatchOptions, StringArray,
    UInt32Array,
};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use wellspring_store::{Piece, Scanner, Split};

use super::{Column, FramesTable};

/// Frames that filters are asked about at once.
const CHUNK: usize = 64 << 10;

/// Runs of a split's rows.
type Rows = Vec<(Split, Range<usize>)>;

/// The rows that every filter leaves.
pub(super) fn select(
    table: &FramesTable,
    scanner: &Scanner,
    state: &dyn Session,
    filters: &[Expr],
) -> Result<Rows> {
    let (of_trajectory, of_frame): (Vec<Expr>, Vec<Expr>) =
        filters.iter().cloned().partition(|filter| {
            let refs = filter.column_refs();
            refs.iter().all(|column| {
                table
                    .column(&column.name)
                    .is_some_and(Column::is_of_trajectory)
            })
        });
    let trajectories = Question::new(table, state, of_trajectory)?;
    let frames = Question::new(table, state, of_frame)?;
    let mut rows = Rows::new();
    for (&split, held) in &scanner.dataset().manifest().splits {
        let firsts: Vec<(usize, usize)> = (0..held.trajectories.len()).map(|t| (t, 0)).collect();
        for chunk in firsts.chunks(CHUNK) {
            for (trajectory, _) in trajectories.leaves(scanner, split, chunk)? {
                let steps: Vec<(usize, usize)> = (0..held.trajectories[trajectory].frames)
                    .map(|step| (trajectory, step))
                    .collect();
                for steps in steps.chunks(CHUNK) {
                    for (trajectory, step) in frames.leaves(scanner, split, steps)? {
                        push(
                            &mut rows,
                            split,
                            scanner.rows(split, trajectory, step..step + 1),
                        );
                    }
                }
            }
        }
    }
    Ok(rows)
}

fn push(rows: &mut Rows, split: Split, more: Range<usize>) {
    match rows.last_mut() {
        Some((last, run)) if *last == split && run.end == more.start => run.end = more.end,
        _ => rows.push((split, more)),
    }
}

/// The rows as pieces of shards, no more rows than `limit`.
pub(super) fn pieces(scanner: &Scanner, rows: Rows, limit: Option<usize>) -> Vec<Piece> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    for (split, run) in rows {
        let run = run.start..run.end.min(run.start.saturating_add(left));
        left -= run.len();
        if !run.is_empty() {
            pieces.extend(scanner.pieces(split, run));
        }
    }
    pieces
}

/// Filters that are answered from what the manifest says of frames.
struct Question {
    filter: Option<Arc<dyn datafusion::physical_plan::PhysicalExpr>>,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl Question {
    fn new(table: &FramesTable, state: &dyn Session, filters: Vec<Expr>) -> Result<Self> {
        let known: Vec<usize> = (0..table.columns.len())
            .filter(|&i| table.columns[i].is_in_manifest())
            .collect();
        let schema: SchemaRef = Arc::new(table.schema.project(&known)?);
        let filter = conjunction(filters)
            .map(|filter| {
                let fields = DFSchema::try_from(Arc::clone(&schema))?;
                state.create_physical_expr(filter, &fields)
            })
            .transpose()?;
        Ok(Self {
            filter,
            columns: known.iter().map(|&i| table.columns[i].clone()).collect(),
            schema,
        })
    }

    /// Those of some frames that the filters leave.
    fn leaves(
        &self,
        scanner: &Scanner,
        split: Split,
        frames: &[(usize, usize)],
    ) -> Result<Vec<(usize, usize)>> {
        let Some(filter) = &self.filter else {
            return Ok(frames.to_vec());
        };
        let batch = describe(scanner, split, frames, &self.columns, &self.schema)?;
        let answer = filter.evaluate(&batch)?.into_array(frames.len())?;
        let answer = answer.as_boolean();
        let kept = |row: &usize| answer.is_valid(*row) && answer.value(*row);
        Ok((0..frames.len())
            .filter(kept)
            .map(|row| frames[row])
            .collect())
    }
}

/// What the manifest says of frames (trajectory, step), in columns.
pub(super) fn describe(
    scanner: &Scanner,
    split: Split,
    frames: &[(usize, usize)],
    columns: &[Column],
    schema: &Arc<Schema>,
) -> Result<RecordBatch> {
    let held = scanner.dataset().manifest().split(split);
    let held = held.map_err(super::external)?;
    let numbers = |of: &dyn Fn((usize, usize)) -> Option<f64>| -> ArrayRef {
        Arc::new(
            frames
                .iter()
                .map(|&frame| of(frame))
                .collect::<Float64Array>(),
        )
    };
    let whole = |of: fn(&(usize, usize)) -> usize| -> ArrayRef {
        let values = frames.iter().map(|frame| of(frame) as u32);
        Arc::new(UInt32Array::from_iter_values(values))
    };
    let array = |column: &Column| -> ArrayRef {
        match column {
            Column::Split => {
                let split = split.to_string();
                let values = std::iter::repeat_n(&split, frames.len());
                Arc::new(StringArray::from_iter_values(values))
            }
            Column::Trajectory => whole(|&(trajectory, _)| trajectory),
            Column::Step => whole(|&(_, step)| step),
            Column::Parameter(name) => numbers(&|(trajectory, _)| {
                held.trajectories[trajectory].parameters.get(name).copied()
            }),
            Column::Series(name) => numbers(&|(trajectory, step)| {
                let series = held.trajectories[trajectory].series.get(name)?;
                series.get(step).copied()
            }),
            // Read from shards, by the caller.
            Column::Time | Column::Channel(_) => numbers(&|_| None),
        }
    };
    let arrays = columns.iter().map(array).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(frames.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        arrays,
        &rows,
    )?)
}
