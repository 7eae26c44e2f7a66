//! [`Rollouts`]: the frames of rollouts themselves, for whoever keeps them. Nothing is measured.

use std::ops::Range;

use tokio::runtime::Handle;
use wellspring_store::{Dataset, Frames, Order, Plan, Share, Split, Window, WindowSpec};

use super::rollout::{Jitter, Rollout};
use super::rollout_batch::RolloutBatch;
use super::truth::TruthSource;
use crate::{Error, Result, Schedule, Subject};

/// Which rollouts are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutOptions {
    /// Frames to predict from each start.
    pub rollout: usize,
    /// Split of the data set.
    pub split: Split,
    /// Steps between two starts in a trajectory; if none, each trajectory has one, its first step.
    pub every: Option<usize>,
    /// Only these trajectories of the split; if none, all.
    pub trajectories: Option<Range<usize>>,
    /// Starts that are rolled out together.
    pub batch: usize,
    /// Seed of the shifts by which each step sees the grid rolled; if none, it is not rolled.
    pub jitter: Option<u64>,
}

/// Rollouts of a subject on a data set. The windows are those of an evaluation with the same starts, in the same
/// order.
pub struct Rollouts<'a> {
    name: &'a str,
    rollout: Rollout<'a>,
    source: TruthSource<'a>,
    windows: Vec<Window>,
    options: RolloutOptions,
}

impl<'a> Rollouts<'a> {
    /// `name` is the subject's, for errors.
    ///
    /// # Errors
    /// [`Error::Patch`]; [`Error::NotPeriodic`]; [`wellspring_store::Error::NoWindows`] where the rollout is longer than every trajectory.
    pub fn new(
        (subject, name): (&'a dyn Subject, &'a str),
        schedule: &Schedule,
        dataset: &'a Dataset,
        options: RolloutOptions,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let (split, stride) = (options.split, subject.stride());
        let spec = WindowSpec {
            stride,
            every: options.every.unwrap_or(1).max(1),
            most: options.every.is_none().then_some(1),
            ..WindowSpec::of_length(subject.context().saturating_add(options.rollout))
        };
        let order = Order::Sequential;
        let plan = Plan::new(dataset.manifest(), split, spec, order, Share::WHOLE)?;
        let is_wanted = |window: &Window| {
            let trajectory = window.trajectory as usize;
            let wanted = options.trajectories.as_ref();
            wanted.is_none_or(|wanted| wanted.contains(&trajectory))
        };
        let schema = dataset.schema();
        let jitter = options.jitter.map(|seed| Jitter::new(seed, schema));
        let rollout = Rollout::new(subject, schedule, &schema.grid.shape())?;
        Ok(Self {
            name,
            rollout: rollout.with_jitter(jitter.transpose()?),
            source: TruthSource {
                dataset,
                split,
                stride,
                runtime,
            },
            windows: plan.iter().filter(is_wanted).collect(),
            options,
        })
    }

    /// The window of each rollout: its context and the frames that are predicted.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Frames of a rollout: its context and those predicted.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.rollout.subject().context() + self.options.rollout
    }

    /// Windows that are rolled out together. A budget decides about each window on its own, from what the windows
    /// before it have taken.
    #[must_use]
    pub fn batch(&self) -> usize {
        match self.rollout.is_single() {
            true => 1,
            false => self.options.batch.max(1),
        }
    }

    /// Rolls some of the windows out side by side and gives each frame, (1, B, C, *space) of stored values, with its
    /// place in the windows from 0: the true frames of the context, then predictions. This blocks: call it from a thread
    /// that is not the runtime's.
    ///
    /// # Errors
    /// [`Error::Step`], what reading may give, and what `each` gives.
    pub fn roll_out<E: From<Error>>(
        &mut self,
        windows: &[Window],
        mut each: impl FnMut(usize, Frames) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = RolloutBatch::begin(self.source, windows, self.rollout.subject())?;
        let context = self.rollout.subject().context();
        for place in 0..context {
            each(place, batch.seen().frame(place))?;
        }
        for place in context..self.frames() {
            let (step, _) = batch.step(&mut self.rollout, self.name)?;
            each(place, step.prediction)?;
        }
        Ok(())
    }
}
