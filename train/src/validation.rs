//! [`Validate`]: how a run is measured while it goes on. Training knows no metrics: whoever starts it brings them.

use serde::{Deserialize, Serialize};
use wellspring_store::Share;

use crate::Predictor;

/// A measurement of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The data set.
    pub data: String,
    /// A patch size, or the sizes of a cyclic rollout in their order: `4,8,16`.
    pub patch: String,
    /// Frames ahead: 1 for one step, else the length of the rollout whose errors are averaged.
    pub lead: u64,
    /// Mean VRMSE over fields, windows and leads.
    pub vrmse: f64,
    /// Time that it took.
    pub seconds: f64,
}

/// Why a model could not be measured.
pub type ValidationError = Box<dyn std::error::Error + Send + Sync>;

/// Measures models on data that they do not learn from, always on the same. Ranks that train a model together share
/// the measurements out in turn: each makes those of its share.
pub trait Validate {
    /// Predicts the next frame at every patch size that the model is trained with.
    ///
    /// # Errors
    /// When data cannot be read, or the model cannot predict.
    fn next_frames(
        &self,
        model: &Predictor,
        share: Share,
    ) -> Result<Vec<Measurement>, ValidationError>;

    /// Rolls the model out while its patch sizes take turns.
    ///
    /// # Errors
    /// As for [`Validate::next_frames`].
    fn rollouts(
        &self,
        model: &Predictor,
        share: Share,
    ) -> Result<Vec<Measurement>, ValidationError>;
}
