//! Finds a checkpoint of a run: that of a step, the newest sound one, or the best. The run may be trained meanwhile.

use std::collections::BTreeMap;

use wellspring_store::{Location, Reporter};

use super::choice::{CheckpointChoice, ModelChoice};
use super::folders::{Listing, folder, folders, listing};
use super::{Checkpoint, Need, STATE};
use crate::{Error, Result};

impl Checkpoint {
    /// A checkpoint with some of its weights; `reporter` hears what is passed over.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] when there is none, [`Error::NoBest`] where the best was asked for and no validation
    /// found one, [`Error::Damaged`] when the one that was named is, [`Error::NoSoundCheckpoint`] when all are.
    pub async fn find(
        run: &Location,
        choice: ModelChoice,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let need = Need::Weights(choice.weights);
        match choice.checkpoint {
            CheckpointChoice::Step(step) => Self::named(run, step, need).await,
            CheckpointChoice::Newest => Self::some_newest(run, need, reporter).await,
            CheckpointChoice::Best => Self::best(run, need, reporter).await,
        }
    }

    async fn some_newest(run: &Location, need: Need, reporter: &dyn Reporter) -> Result<Self> {
        let newest = Self::newest(run, need, reporter).await?;
        newest.ok_or_else(|| Error::NoCheckpoint {
            run: run.to_string(),
            which: String::new(),
        })
    }

    /// The one that the newest says is the best. Where it cannot be had, a training that goes on may have found a better
    /// one and deleted it, so it is asked again.
    async fn best(run: &Location, need: Need, reporter: &dyn Reporter) -> Result<Self> {
        let mut tried = None;
        loop {
            let newest = Self::some_newest(run, need, reporter).await?;
            let best = newest.state.progress.best.ok_or_else(|| Error::NoBest {
                run: run.to_string(),
            })?;
            match Self::named(run, best.step, need).await {
                Err(Error::NoCheckpoint { .. } | Error::Damaged { .. })
                    if tried != Some(best.step) =>
                {
                    tried = Some(best.step);
                }
                found => return found,
            }
        }
    }

    /// The checkpoint that training can go on from, after a step or the newest; none where none was ever
    /// whole.
    pub(crate) async fn resumable(
        run: &Location,
        step: Option<u64>,
        reporter: &dyn Reporter,
    ) -> Result<Option<Self>> {
        match step {
            Some(step) => Self::named(run, step, Need::TrainingFiles).await.map(Some),
            None => Self::newest(run, Need::TrainingFiles, reporter).await,
        }
    }

    async fn named(run: &Location, step: u64, need: Need) -> Result<Self> {
        let held = folders(run).await?;
        if held.contains(&step) {
            return Self::open(run, step, need).await;
        }
        let held: Vec<String> = held.iter().map(u64::to_string).collect();
        let which = match held.is_empty() {
            true => format!(" of step {step}"),
            false => format!(" of step {step}, but of {}", held.join(", ")),
        };
        Err(Error::NoCheckpoint {
            run: run.to_string(),
            which,
        })
    }

    /// The newest sound one. A training that goes on meanwhile writes and deletes them, so before each is read, what
    /// there is is looked at again.
    async fn newest(run: &Location, need: Need, reporter: &dyn Reporter) -> Result<Option<Self>> {
        let mut passed = BTreeMap::new();
        let (found, begun) = loop {
            let Listing { steps, begun } = listing(run).await?;
            // What is gone was deleted, not damaged.
            passed.retain(|step, _| steps.contains(step));
            let mut untried = steps
                .iter()
                .rev()
                .filter(|step| !passed.contains_key(*step));
            let Some(&step) = untried.next() else {
                break (None, begun);
            };
            match Self::open(run, step, need).await {
                Ok(checkpoint) => break (Some(checkpoint), begun),
                Err(Error::Damaged { object, reason }) => {
                    passed.insert(step, format!("{object}: {reason}"));
                }
                Err(error) => return Err(error),
            }
        };
        if found.is_none() && !passed.is_empty() {
            let damage: Vec<String> = passed.into_values().rev().collect();
            return Err(Error::NoSoundCheckpoint {
                run: run.to_string(),
                damage: damage.join("; "),
            });
        }
        for step in begun {
            if found.as_ref().is_none_or(|found| found.state.step < step) {
                let state = folder(run, step).join(STATE);
                let reason = "it is missing; writing it was interrupted, or is not done";
                passed.insert(step, format!("{state}: {reason}"));
            }
        }
        let taken = match &found {
            Some(checkpoint) => format!("taking the checkpoint of step {}", checkpoint.state.step),
            None => "there is no checkpoint before it".into(),
        };
        for damage in passed.into_values().rev() {
            reporter.note(&format!("warning: passed over {damage}; {taken}"));
        }
        Ok(found)
    }
}
