//! [`Channel`]: a field's units and transform, and the guard in the denominators of its ratios.
//!
//! The Well adds ε = 10⁻⁷ to every denominator ([`EPSILON`]), whatever the field's units are. That guards data whose
//! numbers are about 1. It dominates every ratio of a field of 10⁻²⁴, and is negligible for one of 10³⁰, whose
//! squares do not fit the f32 that The Well computes with. So a [`Channel`] keeps The Well's ε while the field's
//! standard deviation over the data set, σ, is ordinary: from 10⁻², where ε is a thousandth of σ², to 10¹². Outside of
//! that ε counts in units of the field: ε σ² beside squares and ε σ beside magnitudes, so that a field has the
//! same errors in whatever units it is. A field that never varies keeps The Well's ε.

use std::ops::RangeInclusive;

use wellspring_spectra::{EPSILON, Units};
use wellspring_store::{ChannelMap, Transform};

/// Standard deviations of fields in ordinary units.
const ORDINARY: RangeInclusive<f64> = 1e-2..=1e12;

/// Conversion of a channel's stored values to the field's own units, and the guard of its ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Channel {
    /// Units of the transformed values, where there is a transform.
    pub(super) units: Units,
    pub(super) transform: Option<Transform>,
    pub(super) guard: Guard,
}

/// What is added to denominators.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Guard {
    /// Guard beside squares, in the field's units squared.
    pub(super) square: f64,
    /// Guard beside magnitudes, in the field's units.
    pub(super) plain: f64,
}

impl Guard {
    /// The guard for a field with this standard deviation.
    fn of(deviation: f64) -> Self {
        if is_ordinary(deviation) {
            return Self {
                square: EPSILON,
                plain: EPSILON,
            };
        }
        Self {
            square: EPSILON * deviation * deviation,
            plain: EPSILON * deviation,
        }
    }
}

/// A deviation of 0, or none that is known, says nothing about units.
fn is_ordinary(deviation: f64) -> bool {
    deviation == 0.0 || !deviation.is_finite() || ORDINARY.contains(&deviation)
}

impl Channel {
    /// Values in the field's own units, guarded as The Well does.
    pub(crate) const OWN: Self = Self {
        units: Units::OWN,
        transform: None,
        guard: Guard {
            square: EPSILON,
            plain: EPSILON,
        },
    };

    /// Stored values that become x = shift + scale · stored, of a field whose standard deviation over the data
    /// set is `deviation`, in its units.
    pub(crate) fn new(shift: f64, scale: f64, deviation: f64) -> Self {
        Self {
            units: Units { shift, scale },
            transform: None,
            guard: Guard::of(deviation),
        }
    }

    /// The channel of a map, of a field whose standard deviation over the data set is `deviation`, in its units.
    pub(crate) fn of(map: &ChannelMap, deviation: f64) -> Self {
        Self {
            transform: map.transform,
            ..Self::new(map.shift, map.scale, deviation)
        }
    }

    /// The field with values in its own units already.
    pub(super) fn in_own_units(self) -> Self {
        Self {
            units: Units::OWN,
            transform: None,
            ..self
        }
    }

    /// A stored value in the field's units.
    pub(super) fn value(&self, stored: f32) -> f64 {
        let value = self.units.value(f64::from(stored));
        self.transform
            .map_or(value, |transform| transform.inverse(value))
    }

    /// Stored values in the field's units.
    pub(super) fn own(&self, stored: &[f32]) -> Vec<f64> {
        stored.iter().map(|&x| self.value(x)).collect()
    }

    /// Whether its ratios are guarded by The Well's ε as it is.
    pub(crate) fn has_the_wells_guard(&self) -> bool {
        self.guard == Self::OWN.guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_is_the_wells_in_ordinary_units_and_counts_in_units_elsewhere() {
        for deviation in [0.0, 1e-2, 1.0, 1e12, f64::NAN] {
            assert!(Channel::new(0.0, 1.0, deviation).has_the_wells_guard());
        }
        for deviation in [1e-30, 9e-3, 1e13, 1e30] {
            let guard = Channel::new(0.0, 1.0, deviation).guard;
            assert_eq!(guard.plain, EPSILON * deviation);
            assert!((guard.square / deviation / deviation / EPSILON - 1.0).abs() < 1e-12);
        }
    }
}
