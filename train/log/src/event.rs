//! [`Event`]: what a training can tell.

use serde::Deserialize;
use wellspring_store::IoStatistics;

/// What happened in a training. As JSON it is a line of `log.jsonl`, which old versions wrote.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A process began to train.
    Start {
        /// Steps taken before.
        step: u64,
        /// Steps of the whole run; none in old logs.
        #[serde(default)]
        steps: Option<u64>,
        /// Version of the program.
        version: String,
        /// Device on which it runs.
        device: String,
    },
    /// A step was taken.
    Step {
        /// Counted from 1.
        step: u64,
        /// Loss before the step.
        loss: f32,
        /// Data set drawn.
        data: String,
        /// Patch size drawn.
        patch: String,
        /// Learning rate.
        lr: f64,
        /// Norm of the gradient over all weights, before it is clipped.
        #[serde(default)]
        norm: Option<f64>,
        /// Seconds since the step before.
        seconds: f64,
        /// The part of them that waited for data.
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
        /// Seconds that it took.
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
    /// How one of several ranks has spent its time since the last such event; with each checkpoint.
    Rank {
        /// Steps taken.
        step: u64,
        /// The rank.
        rank: u64,
        /// Mean seconds of a step in which it computed.
        seconds: f64,
        /// Mean seconds of a step in which it waited for data.
        waited: f64,
        /// Mean seconds of a step in which it waited for the slowest rank.
        idle: f64,
    },
    /// The run has taken all of its steps, and the last checkpoint is written.
    Done {
        /// Steps taken.
        step: u64,
    },
    /// The process was asked to stop, and has written a checkpoint.
    Stopped {
        /// Steps taken.
        step: u64,
    },
    /// An error ended the process.
    Failed {
        /// Steps taken.
        step: u64,
        /// The error.
        what: String,
    },
}
