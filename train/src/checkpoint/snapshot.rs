//! [`Snapshot`]: a copy of what a run has learned, which becomes a checkpoint while the run goes on.

use wellspring_store::{Location, Share, checksum, sealed};

use super::folders::{delete, folder};
use super::{AVERAGE, MODEL, STATE, State, damaged, optimizer_file};
use crate::claim::RunClaim;
use crate::domain::Domains;
use crate::model::Parameters;
use crate::optim::{AdamW, Average};
use crate::progress::Progress;
use crate::{Error, Result, tensors};

/// What a run has learned after a step, in memory; of several ranks, what this one writes of it.
pub(crate) struct Snapshot {
    state: State,
    files: Vec<(String, Vec<u8>)>,
}

/// What is copied.
pub(crate) struct TrainingState<'a> {
    pub(crate) domains: &'a Domains,
    pub(crate) parameters: &'a Parameters,
    pub(crate) optimizer: &'a AdamW,
    pub(crate) average: Option<&'a Average>,
    /// The ranks that hold the optimizer's state. The first writes what all have.
    pub(crate) share: Share,
}

impl TrainingState<'_> {
    /// Copies it, as it is after a step.
    ///
    /// # Errors
    /// [`Error::Candle`] when a device gives its memory up.
    pub(crate) fn snapshot(
        &self,
        step: u64,
        loss: Option<f32>,
        progress: Progress,
    ) -> Result<Snapshot> {
        let mut files = vec![(optimizer_file(self.share), self.optimizer.to_safetensors()?)];
        if self.share.rank == 0 {
            files.push((MODEL.to_owned(), self.parameters.to_safetensors()?));
            if let Some(average) = self.average {
                files.push((AVERAGE.to_owned(), average.to_safetensors()?));
            }
        }
        let state = State {
            step,
            loss,
            domains: self.domains.clone(),
            progress,
            checksums: std::collections::BTreeMap::new(),
        };
        Ok(Snapshot { state, files })
    }
}

impl Snapshot {
    /// Makes it a checkpoint of a run; what is there under the same step is written over. Nothing of it stays where
    /// it fails.
    ///
    /// # Errors
    /// [`Error::NotFinite`] before anything is written, [`Error::Overtaken`], and what writing may give.
    pub(crate) async fn write(self, run: &Location, claim: &RunClaim) -> Result<()> {
        self.check(run)?;
        claim.check().await?;
        let step = self.state.step;
        let written = match self.write_files(run).await {
            Ok(state) => commit(&state, run, claim).await,
            Err(error) => Err(error),
        };
        if matches!(written, Err(Error::Store(_))) && claim.check().await.is_ok() {
            // A full disk needs the room; what stays is removed by the next training.
            delete(run, step).await.ok();
        }
        written
    }

    /// Writes this rank's files; gives a state that has their checksums alone.
    ///
    /// # Errors
    /// [`Error::NotFinite`] before anything is written, and what writing may give.
    pub(crate) async fn write_pieces(self, run: &Location) -> Result<State> {
        self.check(run)?;
        self.write_files(run).await
    }

    fn check(&self, run: &Location) -> Result<()> {
        let folder = folder(run, self.state.step);
        let mut files = self.files.iter();
        files.try_for_each(|(name, bytes)| {
            tensors::check_finite(bytes, &folder.join(name).to_string())
        })
    }

    async fn write_files(mut self, run: &Location) -> Result<State> {
        let folder = folder(run, self.state.step);
        for (name, bytes) in std::mem::take(&mut self.files) {
            let place = folder.join(&name);
            self.state.checksums.insert(name, checksum(&bytes));
            place.put(bytes).await?;
        }
        Ok(self.state)
    }
}

/// Writes the state of a checkpoint whose files are there, which makes it one.
///
/// # Errors
/// [`Error::Overtaken`], and what writing may give.
pub(crate) async fn commit(state: &State, run: &Location, claim: &RunClaim) -> Result<()> {
    let place = folder(run, state.step).join(STATE);
    let text = sealed::to_json(state).map_err(|error| damaged(&place, error))?;
    claim.check().await?;
    Ok(place.put(text).await?)
}
