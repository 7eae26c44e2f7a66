//! Writes the checkpoints and the log of a run. A failed write is reported and does not end the run.

use wellspring_store::{Reporter, with_causes};

use super::{Outcome, Trainer};
use crate::checkpoint::{self, Snapshot};
use crate::log::Event;
use crate::{Error, Result, tensors};

impl Trainer<'_> {
    /// Leaves what there is before the run ends with an error: a checkpoint of the last step, unless the
    /// run diverged or is another process's.
    pub(super) fn leave(&mut self, loss: Option<f32>, error: &Error, reporter: &dyn Reporter) {
        match error {
            Error::Overtaken { .. } | Error::Diverged { .. } => {}
            _ if !self.whole || loss.is_none() || self.kept == Some(self.step) => {}
            _ => match self.save(loss, reporter) {
                Ok(()) => {
                    let step = self.step;
                    reporter.note(&format!(
                        "the checkpoint of step {step} is written: --resume goes on from there"
                    ));
                }
                Err(error) => reporter.note(&self.unsaved(&error)),
            },
        }
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

    /// Writes a checkpoint. If the store refuses it, this is reported and the run continues.
    pub(super) fn save_or_tell(&mut self, loss: f32, reporter: &dyn Reporter) -> Result<()> {
        match self.save(Some(loss), reporter) {
            Err(error @ Error::Store(_)) => {
                let next = self.step + self.config.train.checkpoint_every;
                let (told, next) = (self.unsaved(&error), next.min(self.steps));
                reporter.note(&format!("{told}; the next is tried after step {next}"));
                Ok(())
            }
            answer => answer,
        }
    }

    fn unsaved(&self, error: &Error) -> String {
        let (step, error) = (self.step, with_causes(error));
        format!("warning: the checkpoint of step {step} could not be written: {error}")
    }

    #[tracing::instrument(name = "checkpoint", level = "info", skip_all, fields(run = %self.run, step = self.step))]
    pub(super) fn save(&mut self, loss: Option<f32>, reporter: &dyn Reporter) -> Result<()> {
        for source in self.sources.iter() {
            self.log.push(Event::Read {
                step: self.step,
                data: source.domain.name.clone(),
                traffic: source.io_statistics(),
            });
        }
        let snapshot = Snapshot {
            step: self.step,
            loss,
            domains: &self.domains,
            parameters: self.model.parameters(),
            optimizer: &self.optimizer,
        };
        let written = self.runtime.block_on(async {
            self.claim.check().await?;
            self.log.write(reporter).await;
            snapshot.write(self.run, &self.claim).await
        });
        match written {
            Err(Error::NotFinite { tensor, .. }) => {
                let what = format!("{tensor} has {}", tensors::NOT_FINITE);
                return Err(self.diverged(self.step, what));
            }
            written => written?,
        }
        self.kept = Some(self.step);
        let (keep, retain) = (self.config.train.keep, checkpoint::retain);
        if let Err(error) = self.runtime.block_on(retain(self.run, keep, self.step)) {
            let error = with_causes(&error);
            reporter.note(&format!(
                "warning: an old checkpoint could not be deleted: {error}"
            ));
        }
        Ok(())
    }
}
