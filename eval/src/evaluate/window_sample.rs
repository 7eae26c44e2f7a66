//! [`WindowSample`]: errors of a subject on a few windows of a split, without tables. Training validates by it.

use tokio::runtime::Handle;
use wellspring_store::{Dataset, Order, Plan, Share, Split, Window, WindowSpec};

use super::measure::channels;
use super::rollout::Rollout;
use super::rollout_batch::RolloutBatch;
use super::truth::TruthSource;
use crate::metrics::{Channel, Spatial};
use crate::{Result, Schedule, Subject};

/// Which windows of a split are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// The split.
    pub split: Split,
    /// Windows, at most; a split with fewer gives all.
    pub windows: usize,
    /// Frames to predict from each.
    pub rollout: usize,
    /// Seed of the choice: equal seeds give equal windows of a data set.
    pub seed: u64,
    /// Windows that are rolled out together.
    pub batch: usize,
}

/// Windows that were drawn from a split for a subject's context and stride.
pub struct WindowSample<'a> {
    dataset: &'a Dataset,
    source: TruthSource<'a>,
    windows: Vec<Window>,
    channels: Vec<Channel>,
    options: SampleOptions,
}

impl<'a> WindowSample<'a> {
    /// Draws windows of `context` frames, `stride` steps apart, and the frames after them.
    ///
    /// # Errors
    /// [`wellspring_store::Error::NoWindows`] where no trajectory of the split is so long, and
    /// [`wellspring_store::Error::NoSplit`].
    pub fn draw(
        dataset: &'a Dataset,
        [context, stride]: [usize; 2],
        options: SampleOptions,
        runtime: &'a Handle,
    ) -> Result<Self> {
        let spec = WindowSpec {
            stride,
            ..WindowSpec::of_length(context.saturating_add(options.rollout))
        };
        let order = Order::Shuffled {
            seed: options.seed,
            epoch: 0,
        };
        let manifest = dataset.manifest();
        let plan = Plan::new(manifest, options.split, spec, order, Share::WHOLE)?;
        let mut windows: Vec<Window> = plan.iter().take(options.windows).collect();
        windows.sort_by_key(|window| (window.trajectory, window.start));
        Ok(Self {
            dataset,
            source: TruthSource {
                dataset,
                split: options.split,
                stride,
                runtime,
            },
            windows,
            channels: channels(manifest)?,
            options,
        })
    }

    /// The windows, by trajectory and start.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The subject's mean VRMSE over windows, leads and fields. This blocks: call it from a thread that is not the
    /// runtime's.
    ///
    /// # Errors
    /// [`crate::Error::Patch`], [`crate::Error::Step`], and what reading may give.
    pub fn vrmse(&self, subject: &dyn Subject, schedule: &Schedule) -> Result<f64> {
        let space = self.dataset.schema().grid.shape();
        let mut rollout = Rollout::new(subject, schedule, &space)?;
        let batch = match rollout.is_single() {
            true => 1,
            false => self.options.batch.max(1),
        };
        let (mut sum, mut count) = (0.0, 0_usize);
        for windows in self.windows.chunks(batch) {
            let context = subject.context();
            let mut batch = RolloutBatch::begin(self.source, windows, subject)?;
            for lead in 0..self.options.rollout {
                let (step, _) = batch.step(&mut rollout, "the model")?;
                let place = context + lead;
                let truth = self.source.read(windows, place..place + 1)?;
                for (index, &channel) in self.channels.iter().enumerate() {
                    for sample in 0..windows.len() {
                        let truth = truth.channel(0, sample, index);
                        let predicted = step.prediction.channel(0, sample, index);
                        sum += Spatial::of_stored(truth, predicted, channel).vrmse;
                        count += 1;
                    }
                }
            }
        }
        Ok(sum / count.max(1) as f64)
    }
}
