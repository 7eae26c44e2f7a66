//! How a run is taken up: what it was is taken over, and it becomes this process's.

use wellspring_store::{Reporter, with_causes};

use super::{Start, Trainer};
use crate::log::Event;
use crate::resumed::ResumedRun;
use crate::{Error, Result, checkpoint, leftovers};

impl Trainer<'_> {
    /// Takes over the horizon of the run's schedule unless another was typed. Says what has changed.
    pub(super) fn go_on(&mut self, before: &ResumedRun, reporter: &dyn Reporter) -> Result<()> {
        let was = before.scheduled(self.sources.epoch_steps())?;
        let optim = &mut self.config.optim;
        optim.horizon = optim.horizon.or(was.optim.horizon);
        let changes = self.config.changes(&was)?;
        if !changes.is_empty() {
            let changes = changes.join(", ");
            reporter.note(&format!("from step {} on {changes}", self.step));
        }
        Ok(())
    }

    /// Makes the run this process's, and says once what a person should know of it.
    pub(super) fn start(&mut self, start: Start, reporter: &dyn Reporter) -> Result<()> {
        if self.config.train.hours.is_none() {
            self.config.optim.horizon.get_or_insert(self.steps.max(1));
        }
        for source in self.sources.iter() {
            for remark in source.remarks(&self.config.model.inputs) {
                reporter.note(&remark);
            }
        }
        if let Some(horizon) = self.config.optim.horizon
            && self.steps > horizon
            && self.config.optim.schedule.ends()
            && self.config.train.hours.is_none()
        {
            reporter.note(&format!(
                "warning: the learning rate is {} from step {horizon} on, where its schedule ends, and there \
                 are {} steps; --set optim.horizon={} stretches the schedule, and changes the rate at once",
                self.rate(horizon),
                self.steps,
                self.steps
            ));
        }
        let runtime = self.runtime;
        if self.claim.is_none() {
            return Ok(());
        }
        runtime.block_on(self.take(start, reporter))?;
        self.log.push(Event::Start {
            step: self.step,
            steps: Some(self.steps),
            version: env!("CARGO_PKG_VERSION").into(),
            device: self.config.train.device.to_string(),
        });
        // From here on, what the log has of later steps does not count.
        runtime.block_on(self.log.write(reporter));
        Ok(())
    }

    /// Takes the run, writes what is needed to resume, and removes what lies there of killed processes and,
    /// where the run goes back, of later steps.
    async fn take(&mut self, start: Start, reporter: &dyn Reporter) -> Result<()> {
        let place = self.run.join("config.toml");
        let config = self.config.to_toml()?.into_bytes();
        if start == Start::New {
            // Of two that begin one run, this lets one through.
            if !place.put_new(config).await? {
                return Err(Error::RunExists {
                    run: self.run.to_string(),
                });
            }
            self.claim_run(reporter).await?;
        } else {
            self.claim_run(reporter).await?;
            place.put(config).await?;
        }
        let left = leftovers::sweep(self.run).await?;
        if left > 0 {
            reporter.note(&format!(
                "removed {left} checkpoints and files that were not finished"
            ));
        }
        if let Start::From(step) = start {
            let later = checkpoint::forget_after(self.run, step).await?;
            if !later.is_empty() {
                reporter.note(&format!(
                    "goes back to step {step}; the checkpoints of steps {later:?} are deleted"
                ));
            }
        }
        Ok(())
    }

    async fn claim_run(&mut self, reporter: &dyn Reporter) -> Result<()> {
        match &mut self.claim {
            Some(claim) => claim.take(reporter).await,
            None => Ok(()),
        }
    }

    /// Removes from a finished run what a process that was killed at its end had not removed yet.
    pub(super) fn tidy(&mut self, reporter: &dyn Reporter) {
        if self.claim.is_none() {
            return;
        }
        let (run, runtime, keep) = (self.run, self.runtime, self.keep());
        let tidied = runtime.block_on(async {
            if checkpoint::steps(run).await?.len() > keep.newest || leftovers::are_in(run).await? {
                self.claim_run(reporter).await?;
                leftovers::sweep(run).await?;
                checkpoint::retain(run, keep, self.step).await?;
            }
            Ok::<_, Error>(())
        });
        if let Err(error) = tidied {
            let error = with_causes(&error);
            reporter.note(&format!("warning: what was left was not removed: {error}"));
        }
    }
}
