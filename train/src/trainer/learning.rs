//! One step of a run: draws what is random, computes the gradients of a batch, and moves the weights.

use std::time::Instant;

use candle_core::Tensor;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wellspring_store::{Batch, Conditions, Frames, Patch, Reporter, Window};

use super::Trainer;
use super::agreement::RankReport;
use crate::config::Optimizer;
use crate::log::Event;
use crate::model::Perturbation;
use crate::ops::Gradients;
use crate::optim::{LossAndNorm, StepSettings, learning_rate};
use crate::{Error, Example, Result, Stop, step, training_gradients_by_block};

/// Losses that the outcome of a run is the mean of.
const RECENT: usize = 100;

impl Trainer<'_> {
    /// Takes a step. False where it was asked to stop while it waited for data.
    ///
    /// The loss and its gradient's norm are looked at after all of a step was asked of the device. If one of them is
    /// not finite, no weight has moved: such a step is told of, and too many in a row end the run.
    pub(super) fn learn(&mut self, stop: &Stop, reporter: &dyn Reporter) -> Result<bool> {
        let began = Instant::now();
        let source = self.sources.of_mut(self.step);
        let data = source.domain.name.clone();
        // Several ranks stop between two steps, when all know.
        let never = Stop::default();
        let while_waiting = match self.collective.is_alone() {
            true => stop,
            false => &never,
        };
        let Some(batch) = source.next(self.step, self.runtime, while_waiting)? else {
            return Ok(false);
        };
        let waited = began.elapsed().as_secs_f64();
        let (patch, perturbation) = self.draw(self.step, batch.windows);
        let pace = self.pace();
        let found = match &batch.own {
            Some(own) if self.collective.is_alone() => {
                self.step_alone(own, &patch, &perturbation, pace)?
            }
            _ => {
                let report = RankReport {
                    waited,
                    is_asked_to_stop: stop.asked(),
                    ..self.report()
                };
                self.step_together(&batch, &patch, &perturbation, pace, (began, report))?
            }
        };
        let parameters = self.model.parameters();
        if let (Some(average), true) = (&self.average, found.is_finite()) {
            average.update(parameters, self.optimizer.updates())?;
        }
        (self.whole, self.step) = (true, self.step + 1);
        self.progress.updates = Some(self.optimizer.updates());
        if !found.is_finite() {
            let windows = batch.own.as_ref().map(|own| own.windows.as_slice());
            self.skip(data, &patch, found, windows.unwrap_or_default(), reporter)?;
            return Ok(true);
        }
        self.progress.skipped = 0;
        let LossAndNorm { loss, norm } = found;
        let seconds = began.elapsed().as_secs_f64();
        tracing::debug!(step = self.step, loss, %patch, seconds, waited, "step");
        self.wait.add(waited, seconds);
        self.losses.push(loss);
        if self.losses.len() > RECENT {
            self.losses.remove(0);
        }
        self.log.push(Event::Step {
            step: self.step,
            loss,
            data,
            patch: patch.to_string(),
            lr: pace.lr,
            norm: Some(norm),
            seconds,
            waited,
        });
        self.log.write_when_due(self.runtime, reporter);
        Ok(true)
    }

    /// Moves the weights by the gradients of a batch.
    pub(super) fn step_alone(
        &mut self,
        batch: &Batch,
        patch: &Patch,
        perturbation: &Perturbation,
        pace: StepSettings,
    ) -> Result<LossAndNorm> {
        let ready = &mut |_: usize, _: &Gradients| Ok(());
        let (loss, gradients) = self.gradients(batch, patch, perturbation, ready)?;
        self.whole = false;
        let parameters = self.model.parameters();
        self.optimizer.step(parameters, &loss, &gradients, pace)
    }

    /// The patch size of a step, the same on every machine, and what it adds at random.
    pub(super) fn draw(&self, step: u64, batch: usize) -> (Patch, Perturbation) {
        let train = &self.config.train;
        let mut rng = ChaCha8Rng::seed_from_u64(train.seed);
        rng.set_stream(step + 1);
        let patches = &self.sources.of(step).patches;
        let patch = patches[rng.random_range(0..patches.len())].clone();
        let mut perturbation = Perturbation::none();
        if train.jitter {
            perturbation = perturbation.jitter(&patch, &mut rng);
        }
        if train.drop_path > 0.0 {
            let blocks = self.model.blocks();
            perturbation = perturbation.drop_path(train.drop_path, blocks, batch, &mut rng);
        }
        (patch, perturbation)
    }

    /// What the optimizer does in the next step.
    pub(super) fn pace(&self) -> StepSettings {
        let optim = &self.config.optim;
        let (decay, l2) = match optim.kind {
            Optimizer::AdamW => (optim.weight_decay, 0.0),
            Optimizer::Adam => (0.0, optim.weight_decay),
        };
        StepSettings {
            lr: self.rate(self.step),
            decay,
            l2,
            clip: optim.clip,
        }
    }

    /// The step at which the schedule of the learning rate ends; that of a run that the clock ends is where it
    /// would be at the speed so far.
    pub(super) fn horizon(&self) -> f64 {
        match self.clock.share() {
            Some(share) => self.step.max(1) as f64 / share.max(1e-9),
            None => self.config.optim.horizon.unwrap_or(self.steps) as f64,
        }
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        learning_rate(&self.config.optim, step, self.horizon())
    }

    /// The loss of this rank's part of a batch and its gradients, part by part where it is accumulated. `ready` is told of
    /// whole gradients, as in [`training_gradients_by_block`], where there is one part.
    pub(super) fn gradients(
        &self,
        own: &Batch,
        patch: &Patch,
        perturbation: &Perturbation,
        ready: &mut dyn FnMut(usize, &Gradients) -> Result<()>,
    ) -> Result<(Tensor, Gradients)> {
        let batch = own.frames.batch();
        let size = batch.min(self.samples_at_once());
        if size == batch {
            let (frames, conditions) = (&own.frames, &own.conditions);
            return self.gradients_of(frames, conditions, patch, perturbation, ready);
        }
        let (mut sum, mut gradients) = (None, Gradients::default());
        for first in (0..batch).step_by(size) {
            let samples = first..(first + size).min(batch);
            let share = samples.len() as f64 / batch as f64;
            let frames = own.frames.slice_batch(samples.clone());
            // A batch without conditions has none for any sample.
            let conditions = own.conditions.get(samples.clone()).unwrap_or_default();
            let perturbation = perturbation.of(&samples.collect::<Vec<_>>());
            let wait = &mut |_: usize, _: &Gradients| Ok(());
            let (part, found) =
                self.gradients_of(&frames, conditions, patch, &perturbation, wait)?;
            gradients.add_all(found, share)?;
            let part = (part * share)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let sum = sum.ok_or_else(|| Error::Shape {
            what: "windows of a batch",
            expected: "at least 1".into(),
            found: "0".into(),
        })?;
        Ok((sum, gradients))
    }

    fn gradients_of(
        &self,
        frames: &Frames,
        conditions: &[Conditions],
        patch: &Patch,
        perturbation: &Perturbation,
        ready: &mut dyn FnMut(usize, &Gradients) -> Result<()>,
    ) -> Result<(Tensor, Gradients)> {
        let source = self.sources.of(self.step);
        let inputs = source.inputs(conditions, frames)?;
        let example = Example {
            frames,
            inputs: inputs.as_ref(),
        };
        let (model, loss, limit) = (&source.model, &source.loss, self.activations);
        training_gradients_by_block(model, example, patch, perturbation, loss, limit, ready)
    }

    /// The frames after the contexts of a batch.
    pub(super) fn predict(
        &self,
        frames: &Frames,
        context: &Frames,
        conditions: &[Conditions],
        patch: &Patch,
    ) -> Result<Frames> {
        let source = self.sources.of(self.step);
        let inputs = source.inputs(conditions, frames)?;
        let example = Example {
            frames: context,
            inputs: inputs.as_ref(),
        };
        step::predict(&source.model, example, patch)
    }

    /// Samples that a rank computes at once: those of an accumulated batch's part. A run that goes on with fewer ranks
    /// keeps to what it began with, so that it needs no more memory.
    fn samples_at_once(&self) -> usize {
        let parts = self.config.optim.accumulate.max(self.progress.ranks);
        self.config.train.batch.div_ceil(parts)
    }

    /// Tells of a step that moved no weight; ends the run after too many in a row.
    fn skip(
        &mut self,
        data: String,
        patch: &Patch,
        found: LossAndNorm,
        windows: &[Window],
        reporter: &dyn Reporter,
    ) -> Result<()> {
        self.progress.skipped += 1;
        let LossAndNorm { loss, norm } = found;
        let what = format!("the loss is {loss} and its gradient's norm {norm}");
        let windows = windows.iter().map(|window| {
            format!(
                "trajectory {} from step {}",
                window.trajectory, window.start
            )
        });
        let windows = windows.collect::<Vec<_>>().join(", ");
        let step = self.step;
        let place = format!("step {step}, with patches of {patch}, on {windows} of {data}");
        self.log.push(Event::Skipped {
            step,
            data,
            patch: patch.to_string(),
            what: what.clone(),
            windows,
        });
        let (skipped, most) = (self.progress.skipped, self.config.train.max_skipped);
        if skipped <= most {
            reporter.note(&format!("warning: {place}: {what}; no weight was changed"));
            return Ok(());
        }
        let row = match skipped {
            1 => String::new(),
            _ => format!("; it is the last of {skipped} such steps in a row"),
        };
        // A checkpoint that is being written may be the one to go on from.
        self.settle(reporter)?;
        Err(self.diverged(format!("{place}: {what}{row}")))
    }

    pub(super) fn diverged(&self, what: String) -> Error {
        let (step, kept) = (self.step, self.kept);
        Error::Diverged { step, what, kept }
    }
}
