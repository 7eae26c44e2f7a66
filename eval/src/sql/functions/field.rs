//! Functions over field columns: one number for each frame.
//!
//! `field_mean(f)`, `field_var(f)` (unbiased, as The Well's), `field_rms(f)`; `field_sum(f)`, `field_min(f)` and
//! `field_max(f)`, which are NaN where any cell is; `vrmse(truth, prediction)`;
//! `band_energy(f, low, high)`: the share of the field's mean square that lies at wavenumbers
//! low ≤ |k| < high, in radians per cell. All in f64.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array as _, ArrayRef, AsArray as _, FixedSizeListArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::Deserialize;
use wellspring_spectra::{Bins, Transform};

use crate::metrics::Spatial;
use crate::sql::engine::external;

/// A function of one or two fields of a frame.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FieldFunction {
    measure: Measure,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Mean,
    Var,
    Rms,
    Sum,
    Min,
    Max,
    Vrmse,
    BandEnergy,
}

pub(super) fn all() -> Vec<FieldFunction> {
    [
        Measure::Mean,
        Measure::Var,
        Measure::Rms,
        Measure::Sum,
        Measure::Min,
        Measure::Max,
        Measure::Vrmse,
        Measure::BandEnergy,
    ]
    .map(|measure| FieldFunction {
        measure,
        signature: Signature::user_defined(Volatility::Immutable),
    })
    .into()
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Mean => "field_mean",
            Self::Var => "field_var",
            Self::Rms => "field_rms",
            Self::Sum => "field_sum",
            Self::Min => "field_min",
            Self::Max => "field_max",
            Self::Vrmse => "vrmse",
            Self::BandEnergy => "band_energy",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Mean => "field_mean(field)",
            Self::Var => "field_var(field)",
            Self::Rms => "field_rms(field)",
            Self::Sum => "field_sum(field)",
            Self::Min => "field_min(field)",
            Self::Max => "field_max(field)",
            Self::Vrmse => "vrmse(truth, prediction)",
            Self::BandEnergy => "band_energy(field, low, high)",
        }
    }
}

impl ScalarUDFImpl for FieldFunction {
    fn name(&self) -> &str {
        self.measure.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        let fits = match (self.measure, found) {
            (Measure::Vrmse, [truth, prediction]) => is_field(truth) && truth == prediction,
            (Measure::BandEnergy, [field, low, high]) => {
                is_field(field) && low.is_numeric() && high.is_numeric()
            }
            (Measure::Vrmse | Measure::BandEnergy, _) => false,
            (_, [field]) => is_field(field),
            _ => false,
        };
        if !fits {
            let found: Vec<String> = found.iter().map(DataType::to_string).collect();
            return plan_err!(
                "{} takes field columns of a data set's frames, not ({})",
                self.measure.usage(),
                found.join(", ")
            );
        }
        let number = |kind: &DataType| match kind {
            kind if is_field(kind) => kind.clone(),
            _ => DataType::Float64,
        };
        Ok(found.iter().map(number).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let field = Fields::of(&columns[0])?;
        let values: Float64Array = match self.measure {
            Measure::Mean => field.each(mean),
            Measure::Var => field.each(|values| moment(values, mean(values)) / unbiased(values)),
            Measure::Rms => {
                field.each(|values| (moment(values, 0.0) / values.len().max(1) as f64).sqrt())
            }
            Measure::Sum => field.each(sum),
            Measure::Min => field.each(|values| extreme(values, f64::min)),
            Measure::Max => field.each(|values| extreme(values, f64::max)),
            Measure::Vrmse => {
                let prediction = Fields::of(&columns[1])?;
                let rows = (0..field.rows())
                    .map(|row| Some(Spatial::of(field.row(row)?, prediction.row(row)?).vrmse));
                rows.collect()
            }
            Measure::BandEnergy => band_energy(&field, &columns, &args.arg_fields[0])?,
        };
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

pub(super) fn is_field(kind: &DataType) -> bool {
    matches!(kind, DataType::FixedSizeList(item, _) if *item.data_type() == DataType::Float32)
}

/// A column of fields.
pub(super) struct Fields<'a> {
    list: &'a FixedSizeListArray,
    values: &'a [f32],
}

impl<'a> Fields<'a> {
    pub(super) fn of(column: &'a ArrayRef) -> Result<Self> {
        let list = column.as_fixed_size_list_opt();
        let values = list.and_then(|list| list.values().as_primitive_opt::<Float32Type>());
        match (list, values) {
            (Some(list), Some(values)) => Ok(Self {
                list,
                values: values.values(),
            }),
            _ => exec_err!("{} is not a field column", column.data_type()),
        }
    }

    fn rows(&self) -> usize {
        self.list.len()
    }

    /// A frame's cells; none where the row has none, as after an outer join.
    pub(super) fn row(&self, row: usize) -> Option<&'a [f32]> {
        let width = self.list.value_length() as usize;
        self.list
            .is_valid(row)
            .then(|| &self.values[row * width..(row + 1) * width])
    }

    fn each(&self, measure: impl Fn(&[f32]) -> f64) -> Float64Array {
        (0..self.rows())
            .map(|row| self.row(row).map(&measure))
            .collect()
    }
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x)).sum()
}

fn mean(values: &[f32]) -> f64 {
    sum(values) / values.len().max(1) as f64
}

/// The least or the greatest value; NaN where any is, which `f64::min` and `f64::max` pass over.
fn extreme(values: &[f32], choose: fn(f64, f64) -> f64) -> f64 {
    let choose = |a: f64, b: f64| match a.is_nan() || b.is_nan() {
        true => f64::NAN,
        false => choose(a, b),
    };
    let values = values.iter().map(|&x| f64::from(x));
    values.reduce(choose).unwrap_or(f64::NAN)
}

/// Σ (x − centre)².
fn moment(values: &[f32], centre: f64) -> f64 {
    values
        .iter()
        .map(|&x| (f64::from(x) - centre).powi(2))
        .sum()
}

fn unbiased(values: &[f32]) -> f64 {
    values.len().saturating_sub(1).max(1) as f64
}

fn band_energy(fields: &Fields<'_>, columns: &[ArrayRef], about: &Field) -> Result<Float64Array> {
    let [low, high] = [1, 2].map(|i: usize| columns[i].as_primitive::<Float64Type>());
    let transform = transform(&shape(about)?)?;
    let mut band: Option<([f64; 2], Bins)> = None;
    let mut energies = Vec::with_capacity(fields.rows());
    for row in 0..fields.rows() {
        let Some(values) = fields
            .row(row)
            .filter(|_| low.is_valid(row) && high.is_valid(row))
        else {
            energies.push(None);
            continue;
        };
        let edges = [low.value(row), high.value(row)];
        if band.as_ref().is_none_or(|(last, _)| *last != edges) {
            let bins = Bins::with_edges(&transform, edges.map(|edge| edge as f32).to_vec());
            band = Some((edges, bins.map_err(external)?));
        }
        let power = transform.power(values).map_err(external)?;
        energies.push(band.as_ref().map(|(_, bins)| bins.energy(&power)[0]));
    }
    Ok(energies.into())
}

/// Product of the sizes; none if it overflows.
fn product(shape: &[usize]) -> Option<usize> {
    let mut sides = shape.iter();
    sides.try_fold(1_usize, |product, &side| product.checked_mul(side))
}

/// The grid of a field column, which its type names.
fn shape(about: &Field) -> Result<Vec<usize>> {
    #[derive(Deserialize)]
    struct Tensor {
        shape: Vec<usize>,
    }
    let tensor = about.metadata().get("ARROW:extension:metadata");
    let tensor = tensor.and_then(|text| serde_json::from_str::<Tensor>(text).ok());
    match (tensor, about.data_type()) {
        (Some(Tensor { shape }), DataType::FixedSizeList(_, cells))
            if product(&shape) == usize::try_from(*cells).ok() =>
        {
            Ok(shape)
        }
        _ => exec_err!(
            "band_energy needs a field column of a data set as it is: {} does not tell its grid",
            about.name()
        ),
    }
}

/// Planned once for each grid.
fn transform(shape: &[usize]) -> Result<Arc<Transform>> {
    static PLANNED: Mutex<Option<HashMap<Vec<usize>, Arc<Transform>>>> = Mutex::new(None);
    let mut planned = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
    let planned = planned.get_or_insert_default();
    if let Some(transform) = planned.get(shape) {
        return Ok(Arc::clone(transform));
    }
    let transform = Arc::new(Transform::new(shape).map_err(external)?);
    planned.insert(shape.to_vec(), Arc::clone(&transform));
    Ok(transform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extreme_does_not_pass_over_nan() {
        assert_eq!(extreme(&[2.0, -3.0, 1.0], f64::min), -3.0);
        assert_eq!(extreme(&[2.0, -3.0, 1.0], f64::max), 2.0);
        for place in 0..3 {
            let mut values = [2.0, -3.0, 1.0];
            values[place] = f32::NAN;
            assert!(extreme(&values, f64::min).is_nan());
            assert!(extreme(&values, f64::max).is_nan());
        }
    }
}
