//! Saves the progress of an evaluation from time to time, so that an interruption costs little.
//!
//! ```text
//! RESULTS/unfinished/KEY/ID/metrics-N.parquet   rows (of an ensemble, ensembles-N.parquet too) of the windows since the last save
//! RESULTS/unfinished/KEY/ID/frames-N.arrow      pictures of them, where there are any
//! RESULTS/unfinished/KEY/ID/state.json          everything else; written last, it makes the rest count
//! ```
//!
//! The key consists of everything that determines the numbers: the weights, the data set, the schedule, how
//! windows are cut, and the part of them that a rank has. ID is the evaluation that saves, so no two processes write one file. The next evaluation
//! with the key continues from the farthest progress, with files of its own. The folder is removed when
//! the evaluation is committed, and so are those of the key that belong to no living process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wellspring_store::{Location, Share};

use super::EvalOptions;
use super::spectra::SavedSum;
use crate::evaluate::rollout::BudgetState;
use crate::results::pictures::{self, Picture};
use crate::results::tables::{self, RunRecord, Table};
use crate::{Error, Result, TABLE_VERSION};

const STATE: &str = "state.json";

/// What a rollout took so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Costs {
    pub(super) seconds: f64,
    pub(super) tokens: usize,
}

impl AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.tokens += other.tokens;
    }
}

/// Progress of an evaluation between two batches of windows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Windows of the part that are done.
    pub(super) windows: usize,
    pub(super) costs: Costs,
    /// Those of all members, where the schedule is a budget.
    pub(super) budgets: Vec<BudgetState>,
}

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(rename = "standing")]
    progress: Progress,
    /// Number of saves, and so of parts of rows and pictures.
    saves: usize,
    spectra: Vec<SavedSum>,
}

/// An evaluation's folder, and what is in it.
pub(super) struct UnfinishedEvaluation {
    results: Location,
    /// Folder of the key.
    folder: Location,
    /// Identity of the evaluation.
    run: String,
    saves: usize,
    /// The tables of which rows are saved.
    tables: &'static [Table],
}

/// What was saved.
pub(super) struct SavedProgress {
    pub(super) progress: Progress,
    /// Files of rows of each table, one for each save.
    pub(super) rows: BTreeMap<Table, Vec<Bytes>>,
    pub(super) pictures: Vec<Picture>,
    pub(super) spectra: Vec<SavedSum>,
}

impl UnfinishedEvaluation {
    /// The folder of a share of this evaluation, in which nothing is saved yet.
    pub(super) fn of(
        results: &Location,
        record: &RunRecord,
        options: &EvalOptions,
        share: Share,
    ) -> Self {
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
        let mut key = format!(
            "{key} {:?} {:?}",
            (options.batch, options.keep, options.temporal),
            record.bands
        );
        if share != Share::WHOLE {
            key += &format!(" rank {} of {}", share.rank, share.world);
        }
        let key = wellspring_store::checksum(key.as_bytes());
        Self {
            results: results.clone(),
            folder: results.join("unfinished").join(&key),
            run: record.run.clone(),
            saves: 0,
            tables: record.growing(),
        }
    }

    /// What the interrupted evaluation left that had come farthest, made this one's own; nothing where none is
    /// whole, which costs time only.
    pub(super) async fn load(&mut self) -> Result<Option<SavedProgress>> {
        let mut farthest: Option<SavedProgress> = None;
        for run in self.others().await? {
            let done = |saved: &SavedProgress| saved.progress.windows;
            let found = self.of_run(&run).await?;
            if found.as_ref().map(done) > farthest.as_ref().map(done) {
                farthest = found;
            }
        }
        let Some(saved) = farthest else {
            return Ok(None);
        };
        for (table, files) in &saved.rows {
            for (save, rows) in files.iter().enumerate() {
                file(&self.own(), *table, save).put(rows.clone()).await?;
            }
            self.saves = files.len();
        }
        if !saved.pictures.is_empty() {
            let pictures = pictures::write(&saved.pictures)?;
            frames(&self.own(), 0).put(pictures).await?;
        }
        let (progress, spectra) = (saved.progress.clone(), saved.spectra.clone());
        self.write(progress, spectra).await?;
        Ok(Some(saved))
    }

    /// Evaluations that have saved something for this key.
    async fn others(&self) -> Result<BTreeSet<String>> {
        let objects = self.folder.list().await?.into_iter();
        let runs = objects.filter_map(|object| {
            let below = object.below(&self.folder)?;
            Some(below.split_once('/')?.0.to_owned())
        });
        Ok(runs.filter(|run| *run != self.run).collect())
    }

    /// What the evaluation with an identity has saved for this key.
    pub(super) async fn of_run(&self, run: &str) -> Result<Option<SavedProgress>> {
        read(&self.folder.join(run), self.tables).await
    }

    /// Saves what came since the last time, and where everything stands.
    pub(super) async fn save(
        &mut self,
        progress: Progress,
        rows: Vec<(Table, Bytes)>,
        kept: &[Picture],
        spectra: Vec<SavedSum>,
    ) -> Result<()> {
        if !kept.is_empty() {
            let place = frames(&self.own(), self.saves);
            place.put(pictures::write(kept)?).await?;
        }
        for (table, rows) in rows {
            file(&self.own(), table, self.saves).put(rows).await?;
        }
        self.saves += 1;
        self.write(progress, spectra).await
    }

    /// Writes what makes the saved files count.
    async fn write(&self, progress: Progress, spectra: Vec<SavedSum>) -> Result<()> {
        let state = State {
            progress,
            saves: self.saves,
            spectra,
        };
        let place = self.own().join(STATE);
        let text = serde_json::to_vec(&state).map_err(|error| Error::Malformed {
            object: place.to_string(),
            reason: error.to_string(),
        })?;
        Ok(place.put(text).await?)
    }

    /// Removes the folder of the key, but for what another process holds on a disk. In a bucket one that lives
    /// would begin anew if it were interrupted, and no more than that.
    pub(super) async fn clear(&self) -> Result<()> {
        for run in self.others().await? {
            if !tables::life(&self.results, &run).is_held()? {
                remove(&self.folder.join(&run)).await?;
            }
        }
        remove(&self.own()).await
    }

    fn own(&self) -> Location {
        self.folder.join(&self.run)
    }
}

/// Removes what an evaluation saved; the state goes first, so that none is half there.
async fn remove(folder: &Location) -> Result<()> {
    folder.join(STATE).delete().await?;
    for object in folder.list().await? {
        object.delete().await?;
    }
    Ok(())
}

/// What an evaluation saved; nothing where it is not whole.
async fn read(folder: &Location, tables: &[Table]) -> Result<Option<SavedProgress>> {
    let Some(text) = folder.join(STATE).get_opt().await? else {
        return Ok(None);
    };
    let Ok(state) = serde_json::from_slice::<State>(&text) else {
        return Ok(None);
    };
    let (mut rows, mut kept) = (BTreeMap::<_, Vec<Bytes>>::new(), Vec::new());
    for save in 0..state.saves {
        for &table in tables {
            let part = file(folder, table, save).get_opt().await?;
            let Some(part) = part.filter(|part| tables::is_whole(part.clone())) else {
                return Ok(None);
            };
            rows.entry(table).or_default().push(part);
        }
        match pictures::read(&frames(folder, save)).await {
            Ok(pictures) => kept.extend(pictures),
            Err(Error::Store(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(SavedProgress {
        progress: state.progress,
        rows,
        pictures: kept,
        spectra: state.spectra,
    }))
}

fn file(folder: &Location, table: Table, save: usize) -> Location {
    folder.join(&format!("{}-{save}.parquet", table.name()))
}

fn frames(folder: &Location, save: usize) -> Location {
    folder.join(&format!("frames-{save}.arrow"))
}
