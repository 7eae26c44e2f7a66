//! SQL functions beside DataFusion's: over field columns, and statistics over independent units.

mod bootstrap;
mod crossed;
mod divergence;
mod field;
mod resample;
mod sign_flip;
mod unit;
mod units;

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

/// `field_mean`, `field_var`, `field_rms`, `field_sum`, `field_min`, `field_max`, `band_energy`, `vrmse` and `divergence`.
pub(crate) fn scalar() -> Vec<Arc<ScalarUDF>> {
    field::all()
        .into_iter()
        .map(ScalarUDF::from)
        .chain([ScalarUDF::from(divergence::Divergence::new())])
        .map(Arc::new)
        .collect()
}

/// `bootstrap`, `sign_flip` and `crossed_bootstrap`.
pub(crate) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    units::Statistic::ALL
        .map(|statistic| AggregateUDF::from(units::UnitAggregate::from(statistic)))
        .into_iter()
        .chain([AggregateUDF::from(crossed::CrossedBootstrap::new())])
        .map(Arc::new)
        .collect()
}

/// Adds all of them.
pub(crate) fn register(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    for function in scalar() {
        registry.register_udf(function)?;
    }
    for function in aggregate() {
        registry.register_udaf(function)?;
    }
    Ok(())
}
