//! [`LogRow`]: an event as a row of the table of all events, and its columns.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use wellspring_store::IoStatistics;

use crate::Event;

/// A row of the log. What an event does not have is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogRow {
    /// start, step, validation, skipped, read, rank, done, stopped or failed.
    pub event: String,
    /// Steps taken; of a step, its number from 1.
    pub step: u64,
    /// When it happened, in milliseconds of Unix time; none in `log.jsonl`.
    pub time: Option<i64>,
    /// The data set.
    pub data: Option<String>,
    /// Patch size; of a validation's rollout its patch sizes, with commas.
    pub patch: Option<String>,
    /// Loss before the step.
    pub loss: Option<f32>,
    /// Learning rate.
    pub lr: Option<f64>,
    /// Norm of the gradient before it is clipped.
    pub norm: Option<f64>,
    /// Seconds that a step or a validation took.
    pub seconds: Option<f64>,
    /// Seconds that waited for data: of a step, or of a process so far.
    pub waited: Option<f64>,
    /// Frames ahead that a validation predicted.
    pub lead: Option<u64>,
    /// Error of a validation.
    pub vrmse: Option<f64>,
    /// What made a step be skipped, or the process fail.
    pub what: Option<String>,
    /// Windows of a skipped step.
    pub windows: Option<String>,
    /// Version of the program that began.
    pub version: Option<String>,
    /// Device on which it runs.
    pub device: Option<String>,
    /// Steps of the whole run, as the process that began knew them.
    pub steps: Option<u64>,
    /// Requests for bytes of shards.
    pub requests: Option<u64>,
    /// Bytes that came.
    pub bytes: Option<u64>,
    /// Requests that were made again.
    pub retries: Option<u64>,
    /// How often shards were found in memory or in the cache folder.
    pub hits: Option<u64>,
    /// How often shards had to be opened.
    pub misses: Option<u64>,
    /// Bytes of shards held at once, at most.
    pub peak: Option<u64>,
    /// The rank whose time this is.
    pub rank: Option<u64>,
    /// Seconds of a step in which it waited for the slowest rank.
    pub idle: Option<f64>,
}

/// The columns of a segment, in the order of [`LogRow`]'s fields.
#[must_use]
pub fn schema() -> SchemaRef {
    use DataType::{Float32, Float64, UInt64, Utf8};
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let columns = [
        ("event", Utf8),
        ("step", UInt64),
        ("time", time),
        ("data", Utf8),
        ("patch", Utf8),
        ("loss", Float32),
        ("lr", Float64),
        ("norm", Float64),
        ("seconds", Float64),
        ("waited", Float64),
        ("lead", UInt64),
        ("vrmse", Float64),
        ("what", Utf8),
        ("windows", Utf8),
        ("version", Utf8),
        ("device", Utf8),
        ("steps", UInt64),
        ("requests", UInt64),
        ("bytes", UInt64),
        ("retries", UInt64),
        ("hits", UInt64),
        ("misses", UInt64),
        ("peak", UInt64),
        ("rank", UInt64),
        ("idle", Float64),
    ];
    let field = |(name, kind)| Field::new(name, kind, !["event", "step"].contains(&name));
    Arc::new(Schema::new(
        columns.into_iter().map(field).collect::<Vec<_>>(),
    ))
}

impl LogRow {
    /// A row of this moment.
    pub(crate) fn now(event: Event) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: since.ok().map(|since| since.as_millis() as i64),
            ..event.into()
        }
    }

    fn of(event: &str, step: u64) -> Self {
        Self {
            event: event.into(),
            step,
            ..Self::default()
        }
    }

    fn with_traffic(self, traffic: IoStatistics) -> Self {
        Self {
            waited: Some(traffic.waited),
            requests: Some(traffic.requests),
            bytes: Some(traffic.bytes),
            retries: Some(traffic.retries),
            hits: Some(traffic.hits),
            misses: Some(traffic.misses),
            peak: Some(traffic.peak),
            ..self
        }
    }
}

impl From<Event> for LogRow {
    fn from(event: Event) -> Self {
        match event {
            Event::Start {
                step,
                steps,
                version,
                device,
            } => Self {
                steps,
                version: Some(version),
                device: Some(device),
                ..Self::of("start", step)
            },
            Event::Step {
                step,
                loss,
                data,
                patch,
                lr,
                norm,
                seconds,
                waited,
            } => Self {
                data: Some(data),
                patch: Some(patch),
                loss: Some(loss),
                lr: Some(lr),
                norm,
                seconds: Some(seconds),
                waited: Some(waited),
                ..Self::of("step", step)
            },
            Event::Validation {
                step,
                data,
                patch,
                lead,
                vrmse,
                seconds,
            } => Self {
                data: Some(data),
                patch: Some(patch),
                lead: Some(lead),
                vrmse: Some(vrmse),
                seconds: Some(seconds),
                ..Self::of("validation", step)
            },
            Event::Skipped {
                step,
                data,
                patch,
                what,
                windows,
            } => Self {
                data: Some(data),
                patch: Some(patch),
                what: Some(what),
                windows: Some(windows),
                ..Self::of("skipped", step)
            },
            Event::Read {
                step,
                data,
                traffic,
            } => Self {
                data: Some(data),
                ..Self::of("read", step).with_traffic(traffic)
            },
            Event::Rank {
                step,
                rank,
                seconds,
                waited,
                idle,
            } => Self {
                rank: Some(rank),
                seconds: Some(seconds),
                waited: Some(waited),
                idle: Some(idle),
                ..Self::of("rank", step)
            },
            Event::Done { step } => Self::of("done", step),
            Event::Stopped { step } => Self::of("stopped", step),
            Event::Failed { step, what } => Self {
                what: Some(what),
                ..Self::of("failed", step)
            },
        }
    }
}
