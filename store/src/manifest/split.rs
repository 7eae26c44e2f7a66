//! A part of a data set: its trajectories and the files that hold them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Valid,
    /// To judge by.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL
            .into_iter()
            .find(|split| split.to_string() == text);
        named.ok_or_else(|| Error::Choice {
            text: text.to_owned(),
            what: "split",
            choices: "train, valid or test".into(),
        })
    }
}

/// A file of a data set: a split's shard by its index, or the file of its constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// The part of the data set.
    pub split: Split,
    /// Among the shards of the split; none for the constants.
    pub index: Option<usize>,
}

/// `train/00003` and `train/constants`: the beginning of the file's path.
impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}/{index:05}", self.split),
            None => write!(f, "{}/constants", self.split),
        }
    }
}

/// One simulation run; its index in the split is its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Where it came from: file and sample.
    pub source: String,
    /// Number of frames.
    pub frames: usize,
    /// Parameters of the simulation that do not change in time.
    pub parameters: BTreeMap<String, f64>,
    /// Scalars that change in time, one value per frame.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub series: BTreeMap<String, Vec<f64>>,
    /// Coordinates along the axes whose own differ from the grid's, by the name of the axis.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub coordinates: BTreeMap<String, Vec<f64>>,
}

/// One Arrow file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Below the data set's root, such as `train/00000.arrow`.
    pub path: String,
    /// Its rows: frames, or trajectories in `constants.arrow`.
    pub rows: usize,
    /// Its size.
    pub bytes: u64,
    /// XXH3-64 of its bytes, sixteen hexadecimal digits.
    pub checksum: String,
}

impl Shard {
    /// The record of a file of these bytes.
    #[must_use]
    pub fn of(path: String, rows: usize, bytes: &[u8]) -> Self {
        Self {
            path,
            rows,
            bytes: bytes.len() as u64,
            checksum: checksum(bytes),
        }
    }

    /// Compares bytes with the record; `object` names them in the error.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn check(&self, bytes: &[u8], object: impl fmt::Display) -> Result<()> {
        check(bytes, self.bytes, &self.checksum, object)
    }
}

/// Compares an object's bytes with their recorded number and checksum.
pub(crate) fn check(
    bytes: &[u8],
    length: u64,
    expected: &str,
    object: impl fmt::Display,
) -> Result<()> {
    let damaged = |what, found: String, expected: String| {
        Err(Error::Damaged {
            object: object.to_string(),
            what,
            found,
            expected,
        })
    };
    if bytes.len() as u64 != length {
        return damaged("its size", bytes.len().to_string(), length.to_string());
    }
    let found = checksum(bytes);
    if found != expected {
        return damaged("its checksum", found, expected.to_owned());
    }
    Ok(())
}

/// XXH3-64, sixteen hexadecimal digits: how this format names bytes.
#[must_use]
pub fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// Trajectories of a split and the files that hold them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitManifest {
    /// In the order of their rows.
    pub trajectories: Vec<Trajectory>,
    /// Frames, rows sorted by (trajectory, step) across the files.
    pub shards: Vec<Shard>,
    /// Fields that do not vary in time, one row a trajectory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constants: Option<Shard>,
}

impl SplitManifest {
    /// Frames in all.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.trajectories
            .iter()
            .map(|trajectory| trajectory.frames)
            .sum()
    }

    /// Every file, the constants' last.
    pub fn files(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().chain(&self.constants)
    }
}
