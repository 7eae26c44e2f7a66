//! Times whole steps of a run beside the same steps on a batch that is in memory already.

use std::time::Instant;

use serde::Serialize;
use tokio::runtime::Handle;
use wellspring_store::{Location, Silent};

use super::{TrainOptions, Trainer};
use crate::claim::RunClaim;
use crate::{Result, Stop};

/// Steps before the clock starts.
const WARM: u64 = 2;

/// Means over the steps of the faster of two rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrainFigure {
    /// Steps of a round.
    pub steps: u64,
    /// Time of a step of a run: waiting for a batch, gradients, optimizer, log.
    pub loop_seconds: f64,
    /// The part of it that waits for the batch.
    pub waited_seconds: f64,
    /// Time of the same step on a batch in memory: gradients and optimizer.
    pub step_seconds: f64,
    /// Time of a prediction for one window of the batch.
    pub prediction_seconds: f64,
    /// The share of a run's time that its steps would need alone; at most about 1.
    pub of_step: f64,
}

/// Times `steps` steps of a run, which is not written, and then the same number on its last batch, twice in turn.
/// Blocks: call it from a thread that is not the runtime's.
///
/// # Errors
/// As [`super::train`].
pub fn bench_train(options: TrainOptions<'_>, steps: u64, runtime: &Handle) -> Result<TrainFigure> {
    let run = Location::parse("memory:///bench")?;
    let claim = runtime.block_on(RunClaim::open(&run, &Silent))?;
    let mut trainer = Trainer::new(&run, options, Some(claim), None, runtime)?;
    let steps = steps.max(1);
    trainer.steps_of_a_run(WARM)?;
    let (first, second) = (trainer.round(steps)?, trainer.round(steps)?);
    Ok(match first.loop_seconds < second.loop_seconds {
        true => first,
        false => second,
    })
}

impl Trainer<'_> {
    fn round(&mut self, steps: u64) -> Result<TrainFigure> {
        let (loop_seconds, waited_seconds) = self.steps_of_a_run(steps)?;
        let (step_seconds, prediction_seconds) = self.alone(steps)?;
        Ok(TrainFigure {
            steps,
            loop_seconds,
            waited_seconds,
            step_seconds,
            prediction_seconds,
            of_step: step_seconds / loop_seconds,
        })
    }

    /// Takes steps; gives the mean time of one and of its wait for data.
    fn steps_of_a_run(&mut self, steps: u64) -> Result<(f64, f64)> {
        let (stop, began) = (Stop::default(), Instant::now());
        let mut waited = 0.0;
        for _ in 0..steps {
            self.learn(&stop, &Silent)?;
            waited += self.wait.last();
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok((seconds / steps as f64, waited / steps as f64))
    }

    /// Takes the steps before once more, all on one batch, and predicts as often; gives the mean time of a step, and that of
    /// a prediction for each window.
    fn alone(&mut self, steps: u64) -> Result<(f64, f64)> {
        let stop = Stop::default();
        let source = self.sources.of_mut(self.step);
        let Some(batch) = source.next(self.step, self.runtime, &stop)? else {
            return Ok((f64::NAN, f64::NAN));
        };
        let Some(own) = &batch.own else {
            return Ok((f64::NAN, f64::NAN));
        };
        let taken = self.step.saturating_sub(steps)..self.step;
        let began = Instant::now();
        for step in taken.clone() {
            let (patch, perturbation) = self.draw(step, batch.windows);
            self.step_alone(own, &patch, &perturbation, self.pace())?;
        }
        let step_seconds = began.elapsed().as_secs_f64() / steps as f64;

        let context = own.frames.slice_time(0..own.frames.time() - 1);
        let began = Instant::now();
        for step in taken {
            let (patch, _) = self.draw(step, batch.windows);
            self.predict(&own.frames, &context, &own.conditions, &patch)?;
        }
        let predictions = steps as f64 * context.batch() as f64;
        Ok((step_seconds, began.elapsed().as_secs_f64() / predictions))
    }
}
