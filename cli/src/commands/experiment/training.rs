//! [`TrainingRun`]: one training of an experiment, begun, gone on with, or left as it is.

use anyhow::{Result, bail};
use wellspring_store::Location;
use wellspring_train::{Config, Outcome, Start};

use super::super::{Session, train};
use crate::interrupt;

/// A model that is trained on a data set with a seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingRun {
    pub data: String,
    pub model: String,
    /// Its seed, where the experiment has several.
    pub seed: Option<u64>,
}

impl TrainingRun {
    /// Name of the run in the tables of results.
    pub fn name(&self) -> String {
        match self.seed {
            Some(seed) => format!("{}-seed{seed}", self.model),
            None => self.model.clone(),
        }
    }

    /// Its folder below that of all runs.
    pub fn folder(&self) -> String {
        format!("{}/{}", self.data, self.name())
    }
}

/// Trains a run to its end. One that was stopped goes on, and one that is done is left as it is.
pub fn to_its_end(session: &Session, config: &Config, run: &Location) -> Result<Outcome> {
    if session.wait(run.join("config.toml").get_opt())?.is_some() {
        let mut before = session.wait(Config::load(run))?;
        if config.optim.horizon.is_none() {
            // A run writes down the horizon that its steps gave.
            before.optim.horizon = None;
        }
        let changes = config.changes(&before)?;
        if !changes.is_empty() {
            bail!(
                "{run} was begun with other settings: {}; delete it, or give --out another folder",
                changes.join(", ")
            );
        }
    }
    let outcome = train::train(session, config, run, Start::Resume)?;
    match outcome.stopped {
        true => Err(interrupt::ended().into()),
        false => Ok(outcome),
    }
}
