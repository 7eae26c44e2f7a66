//! Reads [`Conditions`]: what goes with the frames of a window.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::constants::ConstantFields;
use super::dataset::Run;
use crate::{Conditioning, Conditions, Dataset, Result, Split, Trajectory, Window, WindowSpec};

impl Dataset {
    /// What goes with the frames of one window.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub async fn conditions(
        &self,
        split: Split,
        spec: WindowSpec,
        window: Window,
        wanted: Conditioning,
    ) -> Result<Conditions> {
        let frames = spec.frames(self.frames(split, window.trajectory as usize)?);
        let pieces = self.pieces(split, spec, window)?;
        let (run, _lease) = self.run(pieces, frames).await?;
        let constants = self.held_constants(split, wanted).await?;
        let held = SplitConstants { split, constants };
        held.conditions(self, &run, spec, window, frames)
    }
}

/// A split, with its fields that do not vary in time where they are wanted.
#[derive(Debug, Clone)]
pub(crate) struct SplitConstants {
    pub(crate) split: Split,
    pub(crate) constants: Option<Arc<ConstantFields>>,
}

impl SplitConstants {
    /// What goes with so many frames of one window, which are open.
    pub(crate) fn conditions(
        &self,
        dataset: &Dataset,
        run: &Run,
        spec: WindowSpec,
        window: Window,
        frames: usize,
    ) -> Result<Conditions> {
        let trajectory = window.trajectory as usize;
        let constants = self.constants.as_ref().map(|held| held.of(trajectory));
        let held = dataset.manifest().split(self.split)?;
        let steps = (0..frames).map(|frame| window.start as usize + frame * spec.stride.max(1));
        let scalars = held.trajectories.get(trajectory);
        Ok(Conditions {
            window,
            constants: constants.transpose()?.map(Arc::new),
            scalars: scalars.map_or_else(BTreeMap::new, |held| held.scalars(steps)),
            times: run.times(frames),
        })
    }
}

impl Trajectory {
    /// Its scalars at some steps: those that do not change in time, and series; NaN beyond the end of a series.
    #[must_use]
    pub fn scalars(
        &self,
        steps: impl Iterator<Item = usize> + Clone,
    ) -> BTreeMap<String, Vec<f64>> {
        let constant = self.parameters.iter();
        let constant =
            constant.map(|(name, &value)| (name, steps.clone().map(|_| value).collect()));
        let series = self.series.iter().map(|(name, series)| {
            let at = |step: usize| series.get(step).copied().unwrap_or(f64::NAN);
            (name, steps.clone().map(at).collect())
        });
        let all = constant.chain(series);
        all.map(|(name, values)| (name.clone(), values)).collect()
    }
}
