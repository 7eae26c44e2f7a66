//! The `data` section of a configuration: data sets and how they are read.

use documented::DocumentedFields;
use serde::{Deserialize, Serialize};
use wellspring_store::CacheOptions;

use super::{counted, need};
use crate::Result;
use crate::memory::mebibytes;

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DocumentedFields)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data set: a folder or a URL; or several, from which one model learns by the names of their
    /// fields.
    pub root: Roots,
    /// Number of frames that the model sees.
    pub context: usize,
    /// Steps of the data from one frame of the context to the next, and to the prediction.
    pub stride: usize,
    /// Steps between the starts of two windows of a trajectory.
    pub every: usize,
    /// Maximum number of windows of a trajectory, from its first frame on; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts: Option<usize>,
    /// Relative weights with which data sets are drawn; by default by their numbers of windows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Without weights, each data set is drawn with its number of windows to the power of one over this:
    /// 1 is proportional to windows, a large number is uniform.
    pub temperature: f64,
    /// Number of shards whose windows are mixed, for data sets in buckets; by default the whole split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lanes: Option<usize>,
    /// Threads that gather batches.
    pub threads: usize,
    /// Memory, in MiB, for shards of each data set that are fetched or decompressed.
    pub memory_mib: u64,
    /// A folder for fetched shards, which processes may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// Maximum size of the folder, in MiB.
    pub cache_mib: u64,
}

/// A data set or several: `root = "ds"` or `root = ["a", "b"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Roots {
    /// A folder or a URL; empty before one is named.
    One(String),
    /// Several data sets, on grids with equal numbers of axes.
    Several(Vec<String>),
}

impl Roots {
    /// Each of them; none where the text is empty.
    #[must_use]
    pub fn list(&self) -> Vec<&str> {
        match self {
            Self::One(root) => Some(root.as_str()).into_iter().collect::<Vec<_>>(),
            Self::Several(roots) => roots.iter().map(String::as_str).collect(),
        }
        .into_iter()
        .filter(|root| !root.is_empty())
        .collect()
    }
}

impl From<String> for Roots {
    fn from(root: String) -> Self {
        Self::One(root)
    }
}

impl std::fmt::Display for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.list().join(" "))
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: Roots::One(String::new()),
            context: 6,
            stride: 1,
            every: 1,
            starts: None,
            weights: Vec::new(),
            temperature: 1.0,
            lanes: None,
            threads: 1,
            memory_mib: 4096,
            cache: None,
            cache_mib: 65_536,
        }
    }
}

impl DataConfig {
    /// Options of the cache of each data set.
    #[must_use]
    pub fn cache(&self) -> CacheOptions {
        let folder = self.cache.as_ref();
        CacheOptions {
            memory: mebibytes(self.memory_mib),
            folder: folder.map(|folder| (folder.into(), mebibytes(self.cache_mib))),
            ..CacheOptions::default()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        need(
            self.context >= 2,
            "data.context",
            self.context,
            "at least 2 frames, to see a change",
        )?;
        let (roots, weights) = (self.root.list().len(), &self.weights);
        need(
            weights.is_empty()
                || weights.len() == roots && weights.iter().all(|w| (1e-9..=1e9).contains(w)),
            "data.weights",
            format!("{weights:?}"),
            "one number from 1e-9 to 1e9 for each data set of data.root",
        )?;
        let temperature = self.temperature;
        need(
            (0.1..=1e9).contains(&temperature),
            "data.temperature",
            temperature,
            "from 0.1 to 1e9",
        )?;
        const MANY: u64 = 1_000_000_000;
        counted("data.stride", self.stride as u64, MANY)?;
        counted("data.every", self.every as u64, MANY)?;
        counted("data.starts", self.starts.unwrap_or(1) as u64, MANY)?;
        counted("data.lanes", self.lanes.unwrap_or(1) as u64, MANY)?;
        counted("data.threads", self.threads as u64, 1024)
    }
}
