//! Small adapters between our tables and DataFusion.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::PhysicalExpr;

/// An error of ours on its way through the engine.
pub(crate) fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Whether `known` columns alone decide a filter, so that it can be asked before anything is read.
pub(crate) fn is_decided_by(filter: &Expr, known: impl Fn(&str) -> bool) -> bool {
    let columns = filter.column_refs();
    !filter.is_volatile() && columns.iter().all(|column| known(&column.name))
}

/// How a table takes filters: those that are `decided` before anything is read are asked there, and the others are
/// taken as `others` says.
pub(crate) fn pushed_down(
    filters: &[&Expr],
    decided: impl Fn(&Expr) -> bool,
    others: TableProviderFilterPushDown,
) -> Vec<TableProviderFilterPushDown> {
    let support = |filter: &&Expr| match decided(filter) {
        true => TableProviderFilterPushDown::Exact,
        false => others.clone(),
    };
    filters.iter().map(support).collect()
}

/// Filters that are asked before anything is read: which files, frames or trajectories to read at all.
pub(crate) struct PruningFilter {
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl PruningFilter {
    /// Joins all filters over rows of a schema.
    pub(crate) fn new(
        state: &dyn Session,
        schema: &SchemaRef,
        filters: impl IntoIterator<Item = Expr>,
    ) -> Result<Self> {
        let filter = conjunction(filters)
            .map(|filter| {
                let fields = DFSchema::try_from(Arc::clone(schema))?;
                state.create_physical_expr(filter, &fields)
            })
            .transpose()?;
        Ok(Self { filter })
    }

    /// Whether every row is left, whatever it says.
    pub(crate) fn is_empty(&self) -> bool {
        self.filter.is_none()
    }

    /// Whether each row is left.
    pub(crate) fn answers(&self, rows: &RecordBatch) -> Result<Vec<bool>> {
        let Some(filter) = &self.filter else {
            return Ok(vec![true; rows.num_rows()]);
        };
        let answer = filter.evaluate(rows)?.into_array(rows.num_rows())?;
        let answer = answer.as_boolean();
        Ok((0..answer.len())
            .map(|row| answer.is_valid(row) && answer.value(row))
            .collect())
    }
}

/// Cuts a sequence into at most `count` shares of about equal weight, in order.
pub(crate) fn shares<T>(items: Vec<T>, count: usize, weight: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let total: u64 = items.iter().map(&weight).sum();
    let mut shares = vec![Vec::new()];
    let mut before = 0;
    for item in items {
        let due = before * count as u64 >= total * shares.len() as u64;
        if due && before > 0 && shares.len() < count {
            shares.push(Vec::new());
        }
        before += weight(&item);
        if let Some(share) = shares.last_mut() {
            share.push(item);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_the_order_and_weigh_about_the_same() {
        let cut = |weights: &[u64], count| shares(weights.to_vec(), count, |weight| *weight);
        assert_eq!(cut(&[1; 6], 3), [[1, 1], [1, 1], [1, 1]]);
        assert_eq!(cut(&[9, 1, 1], 2), [vec![9], vec![1, 1]]);
        assert_eq!(cut(&[5], 4), [[5]]);
        assert_eq!(cut(&[], 2), [[0u64; 0]]);
    }
}
