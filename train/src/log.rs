//! `log.jsonl`: one line for each step or event. A bucket cannot append, so the log is kept in memory and
//! written completely with each checkpoint; steps after the last checkpoint are repeated anyway.

use serde::{Deserialize, Serialize};
use wellspring_store::{IoStatistics, Location, Reporter, with_causes};

use crate::{Error, Result};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A process began to train.
    Start {
        /// Steps taken before.
        step: u64,
        /// Version of the program.
        version: String,
        /// Device on which it runs.
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
        /// Norm of the gradient over all weights, before it is clipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        norm: Option<f64>,
        /// Time since the step before.
        seconds: f64,
        /// The part of it that waited for data.
        waited: f64,
    },
    /// The model was measured on windows that it does not learn from.
    Validation {
        /// Steps taken.
        step: u64,
        /// The data set.
        data: String,
        /// A patch size, or the sizes of a cyclic rollout in their order: `4,8,16`.
        patch: String,
        /// Frames ahead: 1 for one step, else the length of the rollout whose errors are averaged.
        lead: u64,
        /// Mean VRMSE over fields, windows and leads.
        vrmse: f64,
        /// Time that it took.
        seconds: f64,
    },
    /// A step left all weights as they were: its loss or its gradient was not finite.
    Skipped {
        /// Counted from 1.
        step: u64,
        /// Data set drawn.
        data: String,
        /// Patch size drawn.
        patch: String,
        /// The loss and the norm of the gradient.
        what: String,
        /// Trajectories and first steps of its windows.
        windows: String,
    },
    /// What reading a data set has cost this process so far; with each checkpoint.
    Read {
        /// Steps taken.
        step: u64,
        /// The data set.
        data: String,
        /// Requests, bytes, waits.
        traffic: IoStatistics,
    },
}

impl Event {
    fn step(&self) -> u64 {
        match self {
            Self::Start { step, .. }
            | Self::Step { step, .. }
            | Self::Validation { step, .. }
            | Self::Skipped { step, .. }
            | Self::Read { step, .. } => *step,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Vec<Event>,
}

impl Log {
    /// The log of a run up to a step. What cannot be read of it is left out and told: it is a
    /// record, and nothing that is computed depends on it.
    pub(crate) async fn load(run: &Location, step: u64, reporter: &dyn Reporter) -> Self {
        let place = run.join("log.jsonl");
        let bytes = match place.get_opt().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                if step > 0 {
                    reporter.note(&format!("warning: {place} is missing; it begins anew"));
                }
                return Self::default();
            }
            Err(error) => {
                let error = with_causes(&error);
                reporter.note(&format!("warning: the log begins anew: {error}"));
                return Self::default();
            }
        };
        let (mut lines, mut damaged) = (Vec::new(), Vec::new());
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            match serde_json::from_slice::<Event>(line) {
                _ if line.trim_ascii().is_empty() => {}
                Ok(event) => lines.push(event),
                Err(error) => damaged.push((index + 1, error)),
            }
        }
        if let Some((line, error)) = damaged.first() {
            let count = damaged.len();
            reporter.note(&format!(
                "warning: {count} lines of {place} cannot be read and are left out; line {line}: {error}"
            ));
        }
        lines.retain(|event| event.step() <= step);
        Self { lines }
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.lines.push(event);
    }

    pub(crate) async fn write(&self, run: &Location) -> Result<()> {
        let (place, mut text) = (run.join("log.jsonl"), String::new());
        for event in &self.lines {
            text += &serde_json::to_string(event).map_err(|error| Error::Damaged {
                object: place.to_string(),
                reason: error.to_string(),
            })?;
            text.push('\n');
        }
        Ok(place.put(text.into_bytes()).await?)
    }
}
