//! What a training is told: what to train, on what, from where and until when.

use std::sync::Arc;

use wellspring_store::Dataset;

use crate::{Collective, Config, Stop, Validate};

/// What [`train()`](crate::train()) trains, and from where on.
#[derive(Clone)]
pub struct TrainOptions<'a> {
    /// The model, how it is trained and how windows are drawn.
    pub config: &'a Config,
    /// The data sets, in the order of `config.data.root`.
    pub datasets: Vec<Arc<Dataset>>,
    /// Where the run begins.
    pub start: Start,
    /// Measures the model while it is trained, as `config.validation` says; none where there is nothing to measure
    /// it on.
    pub validator: Option<&'a dyn Validate>,
    /// When it is asked, the run writes a checkpoint after the current step and ends.
    pub stop: &'a Stop,
    /// The processes that train it together.
    pub collective: &'a dyn Collective,
}

/// Where a run begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At its first step, in a place where there is none yet.
    #[default]
    New,
    /// After the step of its newest sound checkpoint; at its first step where it has none.
    Resume,
    /// After the step of an earlier checkpoint. The later ones are deleted, and what the log has of later
    /// steps does not count any longer: what follows is as if they had never been.
    From(u64),
}
