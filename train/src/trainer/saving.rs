//! Writes the checkpoints and the log of a run. A failed write is reported and does not end the run.
//!
//! The run waits while its weights are copied. The copy is written while it goes on, and a second one waits for the
//! first.

use tokio::task::JoinHandle;
use wellspring_store::{Location, Reporter, with_causes};

use super::{Outcome, Trainer};
use crate::checkpoint::{self, Keep, Learned};
use crate::log::Event;
use crate::{Error, Result, tensors};

/// A checkpoint on its way.
pub(super) struct Writing {
    step: u64,
    /// Says what could not be deleted of older ones.
    task: JoinHandle<Result<Option<String>>>,
}

impl Trainer<'_> {
    /// Leaves what there is before the run ends with an error: a checkpoint of the last step, unless the
    /// run diverged or is another process's.
    pub(super) fn leave(&mut self, error: &Error, reporter: &dyn Reporter) {
        if matches!(error, Error::Overtaken { .. }) {
            return;
        }
        if let Err(error) = self.settle(reporter) {
            let error = with_causes(&error);
            reporter.note(&format!("warning: {error}"));
        }
        let is_lost = matches!(error, Error::Diverged { .. });
        let is_kept = self.losses.is_empty() || self.kept == Some(self.step);
        if !is_lost && self.whole && !is_kept {
            let step = self.step;
            match self.save(reporter).and_then(|()| self.written(reporter)) {
                Ok(()) => {
                    reporter.note(&format!(
                        "the checkpoint of step {step} is written: --resume goes on from there"
                    ));
                }
                Err(error) => reporter.note(&unsaved(step, &error)),
            }
        }
    }

    /// Writes the last checkpoint, where it is not there yet.
    pub(super) fn finish(&mut self, reporter: &dyn Reporter) -> Result<()> {
        self.settle(reporter)?;
        if self.kept == Some(self.step) {
            return Ok(());
        }
        let (step, kept) = (self.step, self.kept);
        let saved = self.save(reporter).and_then(|()| self.written(reporter));
        saved.map_err(|error| match error {
            Error::Store(_) => Error::Unsaved {
                step,
                kept,
                source: Box::new(error),
            },
            error => error,
        })
    }

    /// Writes to the log how this process ended; of a run that is another's by now, nothing.
    pub(super) fn end(&mut self, outcome: &Result<Outcome>, reporter: &dyn Reporter) {
        let step = self.step;
        let event = match outcome {
            Err(Error::Overtaken { .. }) => return,
            Err(error) => Event::Failed {
                step,
                what: with_causes(error),
            },
            Ok(outcome) if outcome.stopped => Event::Stopped { step },
            Ok(_) => Event::Done { step },
        };
        self.log.push(event);
        self.runtime.block_on(self.log.write(reporter));
    }

    /// Begins to write a checkpoint, after the one that is being written. If the store refuses that one, this is
    /// reported and the run continues.
    #[tracing::instrument(name = "checkpoint", level = "info", skip_all, fields(run = %self.run, step = self.step))]
    pub(super) fn save(&mut self, reporter: &dyn Reporter) -> Result<()> {
        self.settle(reporter)?;
        for source in self.sources.iter() {
            self.log.push(Event::Read {
                step: self.step,
                data: source.domain.name.clone(),
                traffic: source.io_statistics(),
            });
        }
        let learned = Learned {
            domains: &self.domains,
            parameters: self.model.parameters(),
            optimizer: &self.optimizer,
            average: self.average.as_ref(),
        };
        let loss = self.losses.last().copied();
        let snapshot = learned.snapshot(self.step, loss, self.progress)?;
        self.runtime.block_on(async {
            self.claim.check().await?;
            self.log.write(reporter).await;
            Ok::<_, Error>(())
        })?;
        let (run, claim, step) = (self.run.clone(), self.claim.clone(), self.step);
        let keep = self.keep();
        let task = self.runtime.spawn(async move {
            snapshot.write(&run, &claim).await?;
            Ok(forget(&run, keep, step).await)
        });
        self.writing = Some(Writing { step, task });
        Ok(())
    }

    pub(super) fn keep(&self) -> Keep {
        let train = &self.config.train;
        Keep {
            newest: train.keep,
            every: train.keep_every,
            best: self.progress.best.map(|best| best.step),
        }
    }

    /// [`Trainer::settle`] without waiting.
    pub(super) fn settle_if_written(&mut self, reporter: &dyn Reporter) -> Result<()> {
        match &self.writing {
            Some(writing) if writing.task.is_finished() => self.settle(reporter),
            _ => Ok(()),
        }
    }

    /// Waits for the checkpoint that is being written. If the store refuses it, this is reported.
    pub(super) fn settle(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let Some(step) = self.writing.as_ref().map(|writing| writing.step) else {
            return Ok(());
        };
        match self.written(reporter) {
            Err(error @ Error::Store(_)) => {
                let next = step + self.config.train.checkpoint_every;
                let (told, next) = (unsaved(step, &error), next.min(self.steps));
                reporter.note(&format!("{told}; the next is tried after step {next}"));
                Ok(())
            }
            answer => answer,
        }
    }

    /// Waits for the checkpoint that is being written.
    fn written(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let Some(Writing { step, task }) = self.writing.take() else {
            return Ok(());
        };
        let ended = self.runtime.block_on(task);
        match ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())) {
            Err(Error::NotFinite { tensor, .. }) => {
                let what = format!("after step {step} {tensor} has {}", tensors::NOT_FINITE);
                Err(self.diverged(what))
            }
            Err(error) => Err(error),
            Ok(warning) => {
                warning.iter().for_each(|warning| reporter.note(warning));
                self.kept = Some(step);
                Ok(())
            }
        }
    }
}

/// Deletes old checkpoints; says what could not be deleted.
async fn forget(run: &Location, keep: Keep, step: u64) -> Option<String> {
    let error = checkpoint::retain(run, keep, step).await.err()?;
    let error = with_causes(&error);
    Some(format!(
        "warning: an old checkpoint could not be deleted: {error}"
    ))
}

fn unsaved(step: u64, error: &Error) -> String {
    let error = with_causes(error);
    format!("warning: the checkpoint of step {step} could not be written: {error}")
}
