//! `bootstrap(value, unit)`: the 95 % interval of a mean, as a struct of `low` and `high`.
//!
//! Values of one unit (a trajectory) depend on one another, so units are resampled, each with all of
//! its values: the percentile bootstrap. With up to six units every resample is counted with its
//! probability; with more, a thousand are drawn with a fixed seed. One unit has no interval.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, NullBufferBuilder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;

use super::resample::Resampler;
use super::unit::Units;

/// Fields of an interval.
pub(super) fn ends() -> Fields {
    Fields::from(vec![
        Field::new("low", DataType::Float64, true),
        Field::new("high", DataType::Float64, true),
    ])
}

/// The interval of each group; null for one without two units.
pub(super) fn intervals(groups: &[Units]) -> Result<ArrayRef> {
    let mut resampler = Resampler::default();
    array(groups.iter().map(|units| resampler.interval(units)))
}

/// Intervals as a column.
pub(super) fn array(intervals: impl IntoIterator<Item = Option<[f64; 2]>>) -> Result<ArrayRef> {
    let (mut low, mut high) = (Float64Builder::new(), Float64Builder::new());
    let mut nulls = NullBufferBuilder::new(0);
    for found in intervals {
        low.append_option(found.map(|[low, _]| low));
        high.append_option(found.map(|[_, high]| high));
        nulls.append(found.is_some());
    }
    let ends_of: Vec<ArrayRef> = vec![Arc::new(low.finish()), Arc::new(high.finish())];
    Ok(Arc::new(StructArray::try_new(
        ends(),
        ends_of,
        nulls.finish(),
    )?))
}
