//! Writes the checkpoints and the log of a run. A failed write is reported and does not end the run.
//!
//! The run waits while its weights are copied. The copy is written while it goes on, and a second one waits for the
//! first.

use tokio::task::JoinHandle;
use wellspring_store::{Location, Reporter, with_causes};

use super::{Outcome, Trainer};
use crate::checkpoint::{self, Retention, State, TrainingState};
use crate::collective::exchange_json;
use crate::log::Event;
use crate::{Error, Result, tensors};

/// A checkpoint on its way.
pub(super) struct PendingCheckpoint {
    step: u64,
    task: JoinHandle<Result<SavedFiles>>,
}

/// What was written.
enum SavedFiles {
    /// All of it. Says what could not be deleted of older ones.
    Whole(Option<String>),
    /// The files of one of several ranks.
    Pieces(State),
}

impl Trainer<'_> {
    /// Leaves what there is before the run ends with an error: a checkpoint of the last step, unless the
    /// run diverged or is another process's.
    pub(super) fn leave(&mut self, error: &Error, reporter: &dyn Reporter) {
        if matches!(error, Error::Overtaken { .. }) {
            return;
        }
        if self.collective.is_alone()
            && let Err(error) = self.settle(reporter)
        {
            let error = with_causes(&error);
            reporter.note(&format!("warning: {error}"));
        }
        let is_lost = matches!(error, Error::Diverged { .. });
        let is_kept = self.losses.is_empty() || self.kept == Some(self.step);
        // The other ranks do not know of the error, so they write nothing.
        if !self.collective.is_alone() {
            return;
        }
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
            Error::Store(_) | Error::Unwritten { .. } => Error::Unsaved {
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
        for event in self.rank_times.told(self.step) {
            self.log.push(event);
        }
        self.check_weights()?;
        let learned = TrainingState {
            domains: &self.domains,
            parameters: self.model.parameters(),
            optimizer: &self.optimizer,
            average: self.average.as_ref(),
            share: self.collective.share(),
        };
        let loss = self.losses.last().copied();
        let snapshot = learned.snapshot(self.step, loss, self.progress)?;
        self.runtime.block_on(async {
            if let Some(claim) = &self.claim {
                claim.check().await?;
            }
            self.log.write(reporter).await;
            Ok::<_, Error>(())
        })?;
        let (run, keep, step) = (self.run.clone(), self.keep(), self.step);
        let claim = self.claim.clone().filter(|_| self.collective.is_alone());
        let task = self.runtime.spawn(async move {
            let Some(claim) = claim else {
                return snapshot.write_pieces(&run).await.map(SavedFiles::Pieces);
            };
            snapshot.write(&run, &claim).await?;
            Ok(SavedFiles::Whole(forget(&run, keep, step).await))
        });
        self.writing = Some(PendingCheckpoint { step, task });
        // What ranks said of this step was said before.
        self.agreement.has_written = false;
        Ok(())
    }

    pub(super) fn keep(&self) -> Retention {
        let train = &self.config.train;
        Retention {
            newest: train.keep,
            every: train.keep_every,
            best: self.progress.best.map(|best| best.step),
        }
    }

    /// [`Trainer::settle`] without waiting.
    pub(super) fn settle_if_written(&mut self, reporter: &dyn Reporter) -> Result<()> {
        match &self.writing {
            Some(_) if self.are_written() => self.settle(reporter),
            _ => Ok(()),
        }
    }

    /// Whether this rank writes no checkpoint now.
    pub(super) fn has_written(&self) -> bool {
        let writing = self.writing.as_ref();
        writing.is_none_or(|writing| writing.task.is_finished())
    }

    /// Whether no rank does; several ranks go by what they said of the last step.
    fn are_written(&self) -> bool {
        match self.collective.is_alone() {
            true => self.has_written(),
            false => self.agreement.has_written,
        }
    }

    /// Waits for the checkpoint that is being written. If the store refuses it, this is reported.
    pub(super) fn settle(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let Some(step) = self.writing.as_ref().map(|writing| writing.step) else {
            return Ok(());
        };
        match self.written(reporter) {
            Err(error @ (Error::Store(_) | Error::Unwritten { .. })) => {
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
        let Some(PendingCheckpoint { step, task }) = self.writing.take() else {
            return Ok(());
        };
        let ended = self.runtime.block_on(task);
        let ended = ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        let ended = match ended {
            Ok(SavedFiles::Whole(warning)) => Ok(warning),
            Ok(SavedFiles::Pieces(state)) => self.join_pieces(step, Ok(state)),
            Err(error @ Error::Store(_)) if !self.collective.is_alone() => {
                self.join_pieces(step, Err(error))
            }
            Err(error) => Err(error),
        };
        match ended {
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

impl Trainer<'_> {
    /// Makes a checkpoint of the files that all ranks have written. If one could not write its own, it is none, for all
    /// ranks.
    fn join_pieces(&self, step: u64, own: Result<State>) -> Result<Option<String>> {
        let (collective, runtime, run) = (self.collective, self.runtime, self.run);
        let said: Result<_, String> = match &own {
            Ok(state) => Ok(state.checksums()),
            Err(error) => Err(with_causes(error)),
        };
        let all = exchange_json(collective, &said)?;
        let (mut checksums, mut failures) = (Vec::new(), Vec::new());
        for (rank, said) in all.into_iter().enumerate() {
            match said {
                Ok(of_rank) => checksums.extend(of_rank),
                Err(what) => failures.push((rank, what)),
            }
        }
        let Some((rank, what)) = failures.into_iter().next() else {
            return self.commit_pieces(own?, checksums);
        };
        if self.claim.is_some() {
            // A full disk needs the room.
            runtime.block_on(checkpoint::delete(run, step)).ok();
        }
        own?;
        Err(Error::Unwritten { rank, what })
    }

    /// The first rank writes the state; the others hear whether it could.
    fn commit_pieces(
        &self,
        state: State,
        checksums: Vec<(String, String)>,
    ) -> Result<Option<String>> {
        let mut result = Ok(None);
        if let Some(claim) = &self.claim {
            let (run, keep, step) = (self.run, self.keep(), state.step);
            result = self.runtime.block_on(async {
                checkpoint::commit(&state.with_checksums(checksums), run, claim).await?;
                Ok(forget(run, keep, step).await)
            });
        }
        let said: Result<(), String> = match &result {
            Ok(_) => Ok(()),
            Err(error) => Err(with_causes(error)),
        };
        let all = exchange_json(self.collective, &said)?;
        match (result, all.into_iter().next()) {
            (Ok(_), Some(Err(what))) => Err(Error::Unwritten { rank: 0, what }),
            (result, _) => result,
        }
    }
}

/// Deletes old checkpoints; says what could not be deleted.
async fn forget(run: &Location, keep: Retention, step: u64) -> Option<String> {
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
