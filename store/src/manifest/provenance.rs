//! The provenance of a data set: its sources, which part of them was taken, and everything that they
//! hold beside fields.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::manifest::{check, checksum};
use crate::{Location, Result, Split};

/// How a data set was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Program and version.
    pub program: String,
    /// A name for the work: equal sources and equal options give equal keys.
    pub key: String,
    /// What was taken of the sources.
    #[serde(default)]
    pub selection: Selection,
    /// Target size of a shard.
    pub shard_bytes: u64,
    /// The files, in the order of their trajectories.
    pub sources: Vec<SourceRecord>,
}

/// A file that a data set was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Path of the file below the source.
    pub name: String,
    /// Split to which the file's trajectories went.
    pub split: Split,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Checksum of the fields' values that were read, sixteen hexadecimal digits: equal for equal values.
    pub checksum: String,
    /// Everything else that it holds: its [`Contents`].
    pub structure: Attachment,
}

/// An object that belongs to a data set and is not a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Path of the object below the data set's root.
    pub path: String,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// XXH3-64 of its bytes, sixteen hexadecimal digits.
    pub checksum: String,
}

impl Attachment {
    /// The record of an object of these bytes, named by their checksum in a folder.
    #[must_use]
    pub fn of(folder: &str, extension: &str, bytes: &[u8]) -> Self {
        let checksum = checksum(bytes);
        Self {
            path: format!("{folder}/{checksum}.{extension}"),
            bytes: bytes.len() as u64,
            checksum,
        }
    }

    /// Reads the object and compares it with this record.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`], [`crate::Error::Io`].
    pub async fn fetch(&self, root: &Location) -> Result<Vec<u8>> {
        let place = root.join(&self.path);
        let bytes = place.get().await?;
        check(&bytes, self.bytes, &self.checksum, &place)?;
        Ok(bytes.to_vec())
    }
}

/// The part of the sources that is taken; by default everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Names of fields; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Trajectories of each split: the first, and one past the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trajectories: Option<(usize, usize)>,
    /// Cells along each axis; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space: Vec<AxisSelection>,
    /// Every how many frames one is taken, from the first one on; 0 and 1 take all.
    #[serde(skip_serializing_if = "is_one")]
    pub time_stride: usize,
    /// Name of the data set; by default the name in its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Files that are left out: patterns of their paths below the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Trajectories that are left out, each as `FILE#SAMPLE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_trajectories: Vec<String>,
    /// Kinds of findings that are accepted instead of refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What to do with values that are not finite.
    #[serde(skip_serializing_if = "NotFinite::is_refused")]
    pub nan: NotFinite,
}

/// What to do with values that are NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotFinite {
    /// A source that holds one is refused.
    #[default]
    Refuse,
    /// Values become zero, in field units.
    Zero,
}

impl NotFinite {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Zero];

    /// Its name on the command line and in manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Zero => "zero",
        }
    }

    fn is_refused(&self) -> bool {
        *self == Self::Refuse
    }
}

fn is_one(stride: &usize) -> bool {
    *stride <= 1
}

/// Cells along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisSelection {
    /// The first cell.
    pub start: usize,
    /// One past the last cell.
    pub end: usize,
    /// Every how many cells one is taken.
    pub stride: usize,
}

impl AxisSelection {
    /// Selects all cells of an axis.
    #[must_use]
    pub fn whole(cells: usize) -> Self {
        Self {
            start: 0,
            end: cells,
            stride: 1,
        }
    }

    /// Number of cells that are taken.
    #[must_use]
    pub fn count(&self) -> usize {
        self.end
            .saturating_sub(self.start)
            .div_ceil(self.stride.max(1))
    }

    /// The cells that it takes.
    pub fn cells(&self) -> impl Iterator<Item = usize> + use<> {
        (self.start..self.end).step_by(self.stride.max(1))
    }
}

/// All that an HDF5 file holds beside the values of its fields, exactly: attributes by the path of
/// their object, and arrays by theirs; and a list of what could not be kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// "/t0_fields/pressure" → "dim_varying" → value; "/" is the root group.
    pub attributes: BTreeMap<String, BTreeMap<String, StoredValue>>,
    /// "/boundary_conditions/x_periodic/mask" → values.
    pub arrays: BTreeMap<String, StoredValue>,
    /// Other paths of what is kept: "/again" → "/t0_fields".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// What was left out and why: "/dimensions/x@REFERENCE_LIST" → "its type is a compound".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// Texts that are not UTF-8 and were taken for Latin-1: "/@author".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latin1: Vec<String>,
}

/// An attribute or a small array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredValue {
    /// Texts.
    Text {
        /// Empty for a single one.
        shape: Vec<usize>,
        /// Texts in row-major order.
        text: Vec<String>,
    },
    /// Numbers.
    Numbers {
        /// Empty for a single one.
        shape: Vec<usize>,
        /// "bool", "i8" to "i64", "u8" to "u64", "f32" or "f64".
        dtype: String,
        /// Little-endian, row-major, in base64.
        data: String,
    },
}

impl StoredValue {
    /// Numbers of a type, given as their little-endian bytes.
    #[must_use]
    pub fn numbers(shape: Vec<usize>, dtype: &str, bytes: &[u8]) -> Self {
        Self::Numbers {
            shape,
            dtype: dtype.to_owned(),
            data: STANDARD.encode(bytes),
        }
    }

    /// The numbers as f64, exact for all types but integers beyond 2⁵³; nothing for texts and for
    /// bytes that do not fit their type.
    #[must_use]
    pub fn as_f64(&self) -> Option<Vec<f64>> {
        let Self::Numbers { dtype, data, .. } = self else {
            return None;
        };
        let bytes = STANDARD.decode(data).ok()?;
        macro_rules! each {
            ($type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let (numbers, rest) = bytes.as_chunks::<SIZE>();
                rest.is_empty().then(|| {
                    numbers
                        .iter()
                        .map(|&n| <$type>::from_le_bytes(n) as f64)
                        .collect()
                })
            }};
        }
        match dtype.as_str() {
            "bool" | "u8" => Some(bytes.iter().map(|&n| f64::from(n)).collect()),
            "i8" => each!(i8),
            "i16" => each!(i16),
            "i32" => each!(i32),
            "i64" => each!(i64),
            "u16" => each!(u16),
            "u32" => each!(u32),
            "u64" => each!(u64),
            "f32" => each!(f32),
            "f64" => each!(f64),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn values_go_through_json_exactly() {
        let numbers: Vec<u8> = [0.1_f64, f64::NAN, -0.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let value = StoredValue::numbers(vec![3], "f64", &numbers);
        let text = serde_json::to_string(&value).unwrap();
        let back: StoredValue = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
        let back = back.as_f64().unwrap();
        assert!(back[0] == 0.1 && back[1].is_nan() && back[2].is_sign_negative());
        assert_eq!(StoredValue::numbers(vec![], "f64", &[1]).as_f64(), None);
    }

    #[test]
    fn an_axis_selection_counts_its_cells() {
        let axis = AxisSelection {
            start: 3,
            end: 10,
            stride: 2,
        };
        assert_eq!(axis.cells().collect::<Vec<_>>(), [3, 5, 7, 9]);
        assert_eq!(axis.count(), 4);
    }
}
