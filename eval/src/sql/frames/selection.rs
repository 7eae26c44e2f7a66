//! Finds the rows that a query's filters leave, as far as the manifest tells.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array,
};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use wellspring_store::{Scanner, ShardRows, Split};

use super::{Column, FramesTable};
use crate::sql::engine::{PruningFilter, external, is_decided_by};

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
            is_decided_by(filter, |name| {
                table.column(name).is_some_and(Column::is_of_trajectory)
            })
        });
    let trajectories = ManifestFilter::new(table, state, of_trajectory)?;
    let frames = ManifestFilter::new(table, state, of_frame)?;
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
pub(super) fn pieces(scanner: &Scanner, rows: Rows, limit: Option<usize>) -> Vec<ShardRows> {
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
struct ManifestFilter {
    question: PruningFilter,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl ManifestFilter {
    fn new(table: &FramesTable, state: &dyn Session, filters: Vec<Expr>) -> Result<Self> {
        let known: Vec<usize> = (0..table.columns.len())
            .filter(|&i| table.columns[i].is_in_manifest())
            .collect();
        let schema: SchemaRef = Arc::new(table.schema.project(&known)?);
        Ok(Self {
            question: PruningFilter::new(state, &schema, filters)?,
            columns: known.iter().map(|&i| table.columns[i].clone()).collect(),
            schema,
        })
    }

    /// The frames, out of some, that the filters leave.
    fn leaves(
        &self,
        scanner: &Scanner,
        split: Split,
        frames: &[(usize, usize)],
    ) -> Result<Vec<(usize, usize)>> {
        if self.question.is_empty() {
            return Ok(frames.to_vec());
        }
        let batch = describe(scanner, split, frames, &self.columns, &self.schema)?;
        let answers = self.question.answers(&batch)?;
        let left = frames.iter().zip(answers);
        Ok(left
            .filter_map(|(&frame, is_left)| is_left.then_some(frame))
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
    let held = held.map_err(external)?;
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
