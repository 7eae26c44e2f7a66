//! What simulations depend on.

use serde::{Deserialize, Serialize};

use super::{Equation, SimulateOptions};
use crate::output::Request;

/// All that the values of simulations depend on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SimulationRequest {
    equation: String,
    shape: Vec<usize>,
    frames: usize,
    train: usize,
    valid: usize,
    test: usize,
    seed: u64,
    /// Version of the program.
    version: String,
}

impl SimulationRequest {
    pub(super) fn new(equation: Equation, options: &SimulateOptions) -> Self {
        Self {
            equation: equation.to_string(),
            shape: options.shape.clone(),
            frames: options.frames,
            train: options.train,
            valid: options.valid,
            test: options.test,
            seed: options.seed,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl Request for SimulationRequest {
    const RECORD: &'static str = "simulation.json";
}
