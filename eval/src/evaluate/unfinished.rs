//! What an evaluation has done so far, saved now and then, so that an interruption costs little.
//!
//! ```text
//! RESULTS/unfinished/KEY/metrics-N.parquet   rows of the windows since the last save
//! RESULTS/unfinished/KEY/frames-N.arrow      pictures of them, where there are any
//! RESULTS/unfinished/KEY/state.json          everything else; written last, it makes the rest count
//! ```
//!
//! The key is made of all that decides the numbers: the weights, the data set, the schedule, how
//! windows are cut. The folder goes when the evaluation is committed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use super::EvalOptions;
use super::spectra::SavedSum;
use crate::pictures::{self, Picture};
use crate::rollout::BudgetState;
use crate::tables::{self, RunRecord};
use crate::{Error, Result, TABLE_VERSION};

const STATE: &str = "state.json";

/// What a rollout took so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Costs {
    pub(super) seconds: f64,
    pub(super) tokens: usize,
}

/// Where a rollout stands between two batches of windows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Standing {
    /// Windows that are done.
    pub(super) windows: usize,
    pub(super) costs: Costs,
    pub(super) budget: Option<BudgetState>,
}

#[derive(Serialize, Deserialize)]
struct State {
    standing: Standing,
    /// How many times it was saved: parts of the rows and pictures.
    saves: usize,
    spectra: Vec<SavedSum>,
}

/// An evaluation's folder, and what is in it.
pub(super) struct Unfinished {
    folder: Location,
    saves: usize,
}

/// What was saved.
pub(super) struct Saved {
    pub(super) standing: Standing,
    pub(super) metrics: Vec<Bytes>,
    pub(super) pictures: Vec<Picture>,
    pub(super) spectra: Vec<SavedSum>,
}

impl Unfinished {
    /// The folder of this evaluation and of no other.
    pub(super) fn of(results: &Location, record: &RunRecord, options: &EvalOptions) -> Self {
        let key = format!(
            "{TABLE_VERSION} {} {:?} {} {} {} {} {} {:?}",
            record.name,
            record.weights,
            record.train_steps,
            record.dataset_id,
            record.schedule,
            record.context,
            record.version,
            (options.split, options.rollout, options.every),
        );
        let key = format!(
            "{key} {:?} {:?}",
            (options.batch, options.keep, options.temporal),
            record.bands
        );
        let key = wellspring_store::checksum(key.as_bytes());
        Self {
            folder: results.join("unfinished").join(&key),
            saves: 0,
        }
    }

    /// What an interrupted evaluation left; nothing where it is not whole, which costs time only.
    pub(super) async fn load(&mut self) -> Result<Option<Saved>> {
        let Some(text) = self.folder.join(STATE).get_opt().await? else {
            return Ok(None);
        };
        let Ok(state) = serde_json::from_slice::<State>(&text) else {
            return Ok(None);
        };
        let (mut metrics, mut kept) = (Vec::new(), Vec::new());
        for save in 0..state.saves {
            let Some(rows) = self.metrics(save).get_opt().await? else {
                return Ok(None);
            };
            match (
                tables::is_whole(rows.clone()),
                pictures::read(&self.frames(save)).await,
            ) {
                (true, Ok(pictures)) => kept.extend(pictures),
                (_, Err(Error::Store(error))) => return Err(error.into()),
                _ => return Ok(None),
            }
            metrics.push(rows);
        }
        self.saves = state.saves;
        Ok(Some(Saved {
            standing: state.standing,
            metrics,
            pictures: kept,
            spectra: state.spectra,
        }))
    }

    /// Saves what came since the last time, and where everything stands.
    pub(super) async fn save(
        &mut self,
        standing: Standing,
        metrics: Bytes,
        kept: &[Picture],
        spectra: Vec<SavedSum>,
    ) -> Result<()> {
        if !kept.is_empty() {
            let place = self.frames(self.saves);
            place.put(pictures::write(kept)?).await?;
        }
        self.metrics(self.saves).put(metrics).await?;
        let state = State {
            standing,
            saves: self.saves + 1,
            spectra,
        };
        let place = self.folder.join(STATE);
        let text = serde_json::to_vec(&state).map_err(|error| Error::Malformed {
            object: place.to_string(),
            reason: error.to_string(),
        })?;
        place.put(text).await?;
        self.saves += 1;
        Ok(())
    }

    /// Removes the folder.
    pub(super) async fn clear(&self) -> Result<()> {
        if self.saves == 0 {
            return Ok(());
        }
        self.folder.join(STATE).delete().await?;
        for object in self.folder.list().await? {
            object.delete().await?;
        }
        Ok(())
    }

    fn metrics(&self, save: usize) -> Location {
        self.folder.join(&format!("metrics-{save}.parquet"))
    }

    fn frames(&self, save: usize) -> Location {
        self.folder.join(&format!("frames-{save}.arrow"))
    }
}
