//! [`Snapshot`]: a copy of what a run has learned, which becomes a checkpoint while the run goes on.

use wellspring_store::{Location, checksum, sealed};

use super::folders::{delete, folder};
use super::{AVERAGE, MODEL, OPTIMIZER, STATE, State, damaged};
use crate::claim::RunClaim;
use crate::domain::Domains;
use crate::model::Parameters;
use crate::optim::{AdamW, Average};
use crate::progress::Progress;
use crate::{Error, Result, tensors};

/// What a run has learned after a step, in memory.
pub(crate) struct Snapshot {
    state: State,
    files: Vec<(&'static str, Vec<u8>)>,
}

/// What is copied.
pub(crate) struct Learned<'a> {
    pub(crate) domains: &'a Domains,
    pub(crate) parameters: &'a Parameters,
    pub(crate) optimizer: &'a AdamW,
    pub(crate) average: Option<&'a Average>,
}

impl Learned<'_> {
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
        let mut files = vec![
            (MODEL, self.parameters.to_safetensors()?),
            (OPTIMIZER, self.optimizer.to_safetensors()?),
        ];
        if let Some(average) = self.average {
            files.push((AVERAGE, average.to_safetensors()?));
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
    pub(crate) async fn write(mut self, run: &Location, claim: &RunClaim) -> Result<()> {
        let folder = folder(run, self.state.step);
        for (name, bytes) in &self.files {
            tensors::check_finite(bytes, &folder.join(name).to_string())?;
        }
        claim.check().await?;
        let step = self.state.step;
        let written = self.write_files(&folder, claim).await;
        if matches!(written, Err(Error::Store(_))) && claim.check().await.is_ok() {
            // A full disk needs the room; what stays is removed by the next training.
            delete(run, step).await.ok();
        }
        written
    }

    async fn write_files(&mut self, folder: &Location, claim: &RunClaim) -> Result<()> {
        for (name, bytes) in std::mem::take(&mut self.files) {
            self.state
                .checksums
                .insert(name.to_owned(), checksum(&bytes));
            folder.join(name).put(bytes).await?;
        }
        let place = folder.join(STATE);
        let text = sealed::to_json(&self.state).map_err(|error| damaged(&place, error))?;
        claim.check().await?;
        Ok(place.put(text).await?)
    }
}
