//! `log.jsonl`: one line per step or event. A bucket cannot append, so the log is kept and written
//! whole with each checkpoint; what came after the last one is done again anyway.

use serde::{Deserialize, Serialize};
use wellspring_store::{Location, Traffic};

use crate::{Error, Result};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A process began to train.
    Start {
        /// Steps taken before.
        step: u64,
        /// Version of the program.
        version: String,
        /// Where it runs.
        device: String,
    },
    /// A step was taken.
    Step {
        /// Counted from 1.
        step: u64,
        /// Mean squared error before the step.
        loss: f32,
        /// Data set drawn.
        data: String,
        /// Patch size drawn.
        patch: String,
        /// Learning rate.
        lr: f64,
        /// Time since the step before.
        seconds: f64,
        /// The part of it that waited for data.
        waited: f64,
    },
    /// What reading a data set has cost this process so far; with each checkpoint.
    Read {
        /// Steps taken.
        step: u64,
        /// The data set.
        data: String,
        /// Requests, bytes, waits.
        traffic: Traffic,
    },
}

impl Event {
    fn step(&self) -> u64 {
        match self {
            Self::Start { step, .. } | Self::Step { step, .. } | Self::Read { step, .. } => *step,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Vec<Event>,
}

impl Log {
    /// The log of a run up to a step.
    pub(crate) async fn load(run: &Location, step: u64) -> Result<Self> {
        let place = run.join("log.jsonl");
        let bytes = place.get_opt().await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Result<Vec<Event>, _> = text.lines().map(serde_json::from_str).collect();
        let mut lines = lines.map_err(|error| Error::Damaged {
            object: place.to_string(),
            reason: error.to_string(),
        })?;
        lines.retain(|event| event.step() <= step);
        Ok(Self { lines })
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.lines.push(event);
    }

    pub(crate) async fn write(&self, run: &Location) -> Result<()> {
        let mut text = String::new();
        for event in &self.lines {
            text += &serde_json::to_string(event).unwrap_or_default();
            text.push('\n');
        }
        Ok(run.join("log.jsonl").put(text.into_bytes()).await?)
    }
}
