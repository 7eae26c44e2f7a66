//! [`Transform`]: a map that the values of a field go through before they are normalized.
//!
//! Fields that span decades, such as the density of a supernova, have almost all their structure far below their
//! largest value, where a mean and a deviation do not show it. Their logarithm has it everywhere. log₁₀ takes
//! positive numbers alone and is a map of scalars. asinh(x / SCALE) takes every number: it is x / SCALE below
//! SCALE, and the logarithm of 2 |x| / SCALE with the sign of x above. A field with several components goes through
//! it component by component, so its direction changes, and comes back as it was.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A map of a field's values, from its own units to numbers that are easier to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Transform {
    /// x → log₁₀ x, of positive values of a scalar field.
    Log10,
    /// x → asinh(x / SCALE), of any value.
    Asinh(AsinhScale),
}

/// The magnitude at which asinh goes over from a line to a logarithm, in the field's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsinhScale(f64);

/// A scale is not NaN.
impl Eq for AsinhScale {}

impl AsinhScale {
    /// A scale, if it is a positive number that values can be divided by.
    #[must_use]
    pub fn new(scale: f64) -> Option<Self> {
        (scale.is_normal() && scale > 0.0 && scale.recip().is_normal()).then_some(Self(scale))
    }
}

impl Transform {
    /// A value in the field's units, transformed. Not finite for a value that has no transform.
    #[inline]
    #[must_use]
    pub fn forward(self, value: f64) -> f64 {
        match self {
            Self::Log10 => value.log10(),
            Self::Asinh(scale) => (value / scale.0).asinh(),
        }
    }

    /// A transformed value, in the field's units.
    #[inline]
    #[must_use]
    pub fn inverse(self, transformed: f64) -> f64 {
        match self {
            Self::Log10 => 10.0_f64.powf(transformed),
            Self::Asinh(scale) => transformed.sinh() * scale.0,
        }
    }
}

impl FromStr for Transform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let scale = |number: &str| AsinhScale::new(number.parse().ok()?);
        let known = match text.split_once(':') {
            Some(("asinh", number)) => scale(number).map(Self::Asinh),
            None if text == "log10" => Some(Self::Log10),
            _ => None,
        };
        known.ok_or_else(|| Error::Choice {
            text: text.to_owned(),
            what: "transform",
            choices: "log10, or asinh:SCALE with a positive number, such as asinh:1e-3".into(),
        })
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log10 => f.write_str("log10"),
            Self::Asinh(scale) => write!(f, "asinh:{:e}", scale.0),
        }
    }
}

impl TryFrom<String> for Transform {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Transform> for String {
    fn from(transform: Transform) -> Self {
        transform.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asinh(scale: f64) -> Transform {
        Transform::Asinh(AsinhScale::new(scale).unwrap())
    }

    #[test]
    fn words_go_there_and_back() {
        for text in ["log10", "asinh:1e-3", "asinh:2.5e10", "asinh:1e0"] {
            let transform: Transform = text.parse().unwrap();
            assert_eq!(transform.to_string(), text);
            let json = serde_json::to_string(&transform).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Transform>(&json).unwrap(), transform);
        }
        assert_eq!("asinh:0.001".parse::<Transform>().unwrap(), asinh(1e-3));
    }

    #[test]
    fn what_is_not_a_transform_is_refused_with_the_choices() {
        for text in [
            "",
            "log",
            "LOG10",
            "log10:2",
            "asinh",
            "asinh:",
            "asinh:0",
            "asinh:-1",
            "asinh:x",
            "asinh:NaN",
            "asinh:inf",
            "asinh:1e-310",
            "asinh:1:2",
        ] {
            let error = text.parse::<Transform>().unwrap_err().to_string();
            assert!(error.contains("asinh:SCALE"), "{error}");
            assert!(serde_json::from_str::<Transform>(&format!("{text:?}")).is_err());
        }
    }

    #[test]
    fn values_without_a_transform_become_none() {
        for value in [0.0, -1.0, -1e-30, f64::NAN, f64::INFINITY] {
            assert!(!Transform::Log10.forward(value).is_finite(), "{value}");
        }
        assert!(!asinh(1.0).forward(f64::NAN).is_finite());
        assert!(!asinh(1e-300).forward(1e38).is_finite());
    }

    #[test]
    fn known_values() {
        assert_eq!(Transform::Log10.forward(1e-24), -24.0);
        assert_eq!(Transform::Log10.inverse(6.0), 1e6);
        assert_eq!(asinh(10.0).forward(0.0), 0.0);
        // A line far below the scale, a logarithm far above, odd.
        assert!((asinh(10.0).forward(1e-5) - 1e-6).abs() < 1e-18);
        assert!((asinh(10.0).forward(1e10) - (2e9_f64).ln()).abs() < 1e-12);
        assert_eq!(asinh(10.0).forward(-3.0), -asinh(10.0).forward(3.0));
    }

    proptest! {
        #[test]
        fn the_inverse_undoes_the_transform(mantissa in 1.0..10.0_f64, exponent in -37..38_i32, of_scale in -20..20_i32, negative: bool) {
            let value = mantissa * 10.0_f64.powi(exponent);
            let near = |found: f64, value: f64| (found - value).abs() <= 1e-12 * value.abs();
            let log = Transform::Log10;
            prop_assert!(near(log.inverse(log.forward(value)), value));
            let signed = if negative { -value } else { value };
            let asinh = asinh(10.0_f64.powi(of_scale));
            let found = asinh.inverse(asinh.forward(signed));
            prop_assert!(near(found, signed), "{found} {signed} {asinh}");
        }
    }
}
