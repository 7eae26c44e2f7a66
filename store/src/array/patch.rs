//! The patch size of a model: one total downsampling per spatial axis.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// Cells of the grid that one token covers along each axis, such as 16×8×8.
///
/// Written as one number where all axes agree (`16`), else as `16x8x8`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Patch(Vec<usize>);

impl Patch {
    /// A patch with the given size along each axis, in cells.
    ///
    /// # Errors
    /// When there is no axis or a size is zero.
    pub fn new(sizes: Vec<usize>) -> Result<Self> {
        if sizes.is_empty() || sizes.contains(&0) {
            return Err(not_a_patch(&join(&sizes)));
        }
        Ok(Self(sizes))
    }

    /// A patch of `size` cells along each of `ndim` axes.
    #[must_use]
    pub fn uniform(size: usize, ndim: usize) -> Self {
        Self(vec![size; ndim])
    }

    /// Reads `16` or `16x8x8` for a grid of `ndim` axes.
    ///
    /// # Errors
    /// When the text is not a patch size or names another number of axes.
    pub fn parse(text: &str, ndim: usize) -> Result<Self> {
        let sizes: Vec<usize> = text
            .trim()
            .split('x')
            .map(|size| size.parse().map_err(|_| not_a_patch(text)))
            .collect::<Result<_>>()?;
        match sizes.as_slice() {
            [size] if *size > 0 => Ok(Self::uniform(*size, ndim)),
            sizes if sizes.len() == ndim => Self::new(sizes.to_vec()),
            sizes => Err(Error::Shape {
                what: format!("axes of patch size {text}"),
                expected: ndim.to_string(),
                found: sizes.len().to_string(),
            }),
        }
    }

    /// The size along each axis, in cells.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }
}

fn not_a_patch(text: &str) -> Error {
    Error::Choice {
        text: text.to_owned(),
        what: "patch size",
        choices: "a number such as 16, or one per axis such as 16x8x8".to_owned(),
    }
}

fn join(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("x")
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [first, rest @ ..] if rest.iter().all(|size| size == first) => write!(f, "{first}"),
            sizes => f.write_str(&join(sizes)),
        }
    }
}

impl Serialize for Patch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Patch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for (text, ndim) in [("16", 2), ("16x8", 2), ("16x8x8", 3), ("4", 3)] {
            assert_eq!(Patch::parse(text, ndim).unwrap().to_string(), text);
        }
        assert_eq!(Patch::parse("8x8", 2).unwrap().to_string(), "8");
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "x", "0", "8x0", "4x4x4", "-1", "8,8"] {
            assert!(Patch::parse(text, 2).is_err(), "{text}");
        }
    }
}
