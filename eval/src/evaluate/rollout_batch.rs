//! [`RolloutBatch`]: windows that are rolled out side by side, frame by frame.

use std::time::{Duration, Instant};

use wellspring_store::{Context, Frames, Window};

use super::rollout::{Rollout, Step};
use super::truth::TruthSource;
use crate::{Error, Result, Subject};

/// Windows side by side, and the frames that the next step sees.
#[derive(Clone)]
pub(super) struct RolloutBatch<'a> {
    source: TruthSource<'a>,
    windows: &'a [Window],
    /// Stored values, (T, B, C, *space): at first the true context, later what was predicted.
    seen: Frames,
    /// Number of frames predicted so far.
    lead: usize,
}

impl<'a> RolloutBatch<'a> {
    /// Reads the context of each window.
    pub(super) fn begin(
        source: TruthSource<'a>,
        windows: &'a [Window],
        subject: &dyn Subject,
    ) -> Result<Self> {
        Ok(Self {
            source,
            windows,
            seen: source.read(windows, 0..subject.context())?,
            lead: 0,
        })
    }

    /// What the next step sees.
    pub(super) fn seen(&self) -> &Frames {
        &self.seen
    }

    /// Predicts the next frame of every window; also gives the time that the subject took. `name` is the subject's, for
    /// errors.
    pub(super) fn step(
        &mut self,
        rollout: &mut Rollout<'_>,
        name: &str,
    ) -> Result<(Step, Duration)> {
        let subject = rollout.subject();
        let places = self.lead..self.lead + subject.context() + 1;
        let wanted = subject.conditioning();
        let conditions = self.source.conditions(self.windows, places, wanted)?;
        let context = Context {
            frames: &self.seen,
            conditions: &conditions,
        };
        let began = Instant::now();
        let step = rollout.step(context, self.windows, self.lead);
        self.lead += 1;
        let step = step.map_err(|source| Error::Step {
            name: name.to_owned(),
            lead: self.lead,
            split: self.source.split.to_string(),
            trajectory: self.windows[0].trajectory,
            source,
        })?;
        let took = began.elapsed();
        tracing::debug!(lead = self.lead, windows = self.windows.len(), patch = %step.patch, seconds = took.as_secs_f64(), "predicted");
        self.seen.push_frame(&step.prediction)?;
        Ok((step, took))
    }
}
