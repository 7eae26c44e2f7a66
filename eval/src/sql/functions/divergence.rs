//! `divergence(vx, vy[, vz])` of field columns, one for each axis of the grid in its order: Σ ∂v_i/∂x_i in each cell, a field
//! like its arguments.
//!
//! Differences are central, over the data set's own spacing; they wrap along periodic axes and are one-sided at walls and
//! open ends, of second order throughout. Sums are in f64.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::field::{Fields, is_field};
use crate::sql::spacing::{AxisSpacing, Spacing};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Divergence {
    signature: Signature,
}

impl Divergence {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Divergence {
    fn name(&self) -> &str {
        "divergence"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let fits = found.iter().all(|kind| is_field(kind) && *kind == found[0]);
        if !fits || found.is_empty() {
            let found: Vec<String> = found.iter().map(DataType::to_string).collect();
            return plan_err!(
                "divergence(vx, vy[, vz]) takes field columns of a data set's frames, not ({})",
                found.join(", ")
            );
        }
        Ok(found.to_vec())
    }

    fn return_type(&self, found: &[DataType]) -> Result<DataType> {
        match found.first() {
            Some(kind) => Ok(kind.clone()),
            None => plan_err!("divergence(vx, vy[, vz]) takes field columns"),
        }
    }

    /// A field of the same grid, which functions of fields take in their turn.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let kind = self.return_type(&types)?;
        let metadata = args.arg_fields[0].metadata().clone();
        let field = Field::new(self.name(), kind, true).with_metadata(metadata);
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let axes = axes(&args.arg_fields)?;
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(divergence(&columns, &axes)?))
    }
}

/// The axes along which the columns are derived, which all of them name.
fn axes(columns: &[FieldRef]) -> Result<Vec<AxisSpacing>> {
    let mut found = None;
    for column in columns {
        let Some(Spacing(axes)) = Spacing::read(column.metadata()) else {
            return exec_err!(
                "divergence needs field columns of a data set with a cartesian grid as they are: {} does not tell its spacing",
                column.name()
            );
        };
        if found.as_ref().is_some_and(|found| *found != axes) {
            return exec_err!(
                "divergence needs fields of one grid: {} has another",
                column.name()
            );
        }
        found = Some(axes);
    }
    match found {
        Some(axes) if axes.len() == columns.len() => Ok(axes),
        axes => exec_err!(
            "divergence needs a component for each axis of the grid, {}, and got {}",
            axes.map_or(0, |axes| axes.len()),
            columns.len()
        ),
    }
}

fn divergence(columns: &[ArrayRef], axes: &[AxisSpacing]) -> Result<ArrayRef> {
    let components: Vec<Fields<'_>> = columns.iter().map(Fields::of).collect::<Result<_>>()?;
    let DataType::FixedSizeList(item, width) = columns[0].data_type() else {
        return exec_err!("{} is not a field column", columns[0].data_type());
    };
    let cells: usize = axes.iter().map(AxisSpacing::count).product();
    if cells != *width as usize {
        return exec_err!("a field column of {width} cells is not of a grid of {cells}");
    }
    let derivatives: Vec<_> = axes.iter().map(AxisSpacing::derivative).collect();
    let rows = columns[0].len();
    let mut values = Vec::with_capacity(rows * cells);
    let mut sums = vec![0.0; cells];
    for row in 0..rows {
        sums.fill(0.0);
        let mut inner = cells;
        for (component, derivative) in components.iter().zip(&derivatives) {
            inner /= derivative.len().max(1);
            if let Some(field) = component.row(row) {
                add_derivative(field, derivative, inner, &mut sums);
            }
        }
        values.extend(sums.iter().map(|&sum| sum as f32));
    }
    let nulls = columns
        .iter()
        .fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.nulls())
        });
    let values = Arc::new(Float32Array::from(values));
    let list = FixedSizeListArray::try_new(Arc::clone(item), *width, values, nulls)?;
    Ok(Arc::new(list))
}

/// Adds a field's derivative along an axis, whose neighbours are `inner` cells apart.
fn add_derivative(field: &[f32], derivative: &[[(usize, f64); 3]], inner: usize, sums: &mut [f64]) {
    let block = derivative.len() * inner;
    for (field, sums) in field.chunks_exact(block).zip(sums.chunks_exact_mut(block)) {
        for (near, sums) in derivative.iter().zip(sums.chunks_exact_mut(inner)) {
            for &(point, weight) in near {
                let line = &field[point * inner..(point + 1) * inner];
                for (sum, &x) in sums.iter_mut().zip(line) {
                    *sum += weight * f64::from(x);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
