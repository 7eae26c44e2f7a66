//! A row of each table.

use serde::{Deserialize, Serialize, Serializer};

use super::Table;

/// A row of `runs`: one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Identity of the evaluation, and the name of its files.
    pub run: String,
    /// [`TABLE_VERSION`](super::TABLE_VERSION).
    pub table_version: u32,
    /// What was evaluated.
    pub name: String,
    /// ckm, csm, fixed or baseline.
    pub strategy: String,
    /// Numbers that the model has learned.
    pub parameters: u64,
    /// Features of a token.
    pub dim: u64,
    /// Blocks.
    pub blocks: u64,
    /// Steps that it was trained for.
    pub train_steps: u64,
    /// Identity of the data set that it was trained on.
    pub train_dataset: String,
    /// Identity of what it has learned, or which baseline it is.
    pub weights: Option<String>,
    /// Edges of the bands, in radians per cell; none for The Well's three.
    pub bands: Option<String>,
    /// Name of the data set that it was evaluated on, and the stride unless it is 1.
    pub dataset: String,
    /// The identity of its manifest, and the stride unless it is 1.
    pub dataset_id: String,
    /// Identity of what was to be predicted: equal for equal trajectories, grids, fields and strides.
    pub task: String,
    /// Cells along each axis: `128x256`.
    pub grid: String,
    /// Names of the fields that vary in time, with commas between them.
    pub fields: String,
    /// Its part.
    pub split: String,
    /// Patch sizes by step, "-" for a baseline; then jitter and members, if any: `4,8,16 jitter:7`.
    pub schedule: String,
    /// Seed of the jitter, if any; of an ensemble, that of its first member.
    pub jitter: Option<u64>,
    /// Members of the ensemble that was rolled out; none for a single rollout from each start.
    pub members: Option<u64>,
    /// Frames that a step sees.
    pub context: u64,
    /// Frames predicted from each start.
    pub rollout: u64,
    /// Trajectories that were rolled out.
    pub trajectories: u64,
    /// Starts in all of them.
    pub starts: u64,
    /// Steps between two starts in a trajectory.
    pub every: u64,
    /// Mean tokens of a frame over the rollout.
    pub tokens: f64,
    /// Time of the step function for a frame of one start.
    pub seconds_per_frame: f64,
    /// Version of the program that made it.
    pub version: String,
    /// When it was committed, in milliseconds of Unix time.
    pub created: i64,
}

impl RunRecord {
    /// The tables whose rows come window by window.
    pub(crate) fn growing(&self) -> &'static [Table] {
        match self.members {
            Some(_) => &[Table::Metrics, Table::Ensembles],
            None => &[Table::Metrics],
        }
    }
}

/// A row of `metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricRow<'a> {
    pub(crate) run: &'a str,
    pub(crate) trajectory: u32,
    pub(crate) start: u32,
    pub(crate) lead: u32,
    pub(crate) patch: &'a str,
    pub(crate) tokens: u64,
    pub(crate) field: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) band: Option<u32>,
    #[serde(serialize_with = "without_sign_of_nan")]
    pub(crate) value: f64,
}

/// A row of `spectra`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SpectrumRow<'a> {
    pub(crate) run: &'a str,
    pub(crate) lead: u32,
    pub(crate) patch: &'a str,
    pub(crate) field: &'a str,
    pub(crate) axis: &'a str,
    pub(crate) bin: u32,
    pub(crate) k_low: f64,
    pub(crate) k_high: f64,
    #[serde(serialize_with = "without_sign_of_nan")]
    pub(crate) truth: f64,
    #[serde(serialize_with = "without_sign_of_nan")]
    pub(crate) prediction: f64,
    #[serde(serialize_with = "without_sign_of_nan")]
    pub(crate) residual: f64,
}

/// A row of `ensembles`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EnsembleRow<'a> {
    pub(crate) run: &'a str,
    pub(crate) trajectory: u32,
    pub(crate) start: u32,
    pub(crate) lead: u32,
    pub(crate) field: &'a str,
    /// Number of the member from 0; none for what they say together.
    pub(crate) member: Option<u32>,
    pub(crate) metric: &'a str,
    #[serde(serialize_with = "without_sign_of_nan")]
    pub(crate) value: f64,
}

/// A number as it is. What is not a number loses the sign that processors give it, with which SQL would sort it before
/// every number.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn without_sign_of_nan<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let value = if value.is_nan() { f64::NAN } else { *value };
    serializer.serialize_f64(value)
}
