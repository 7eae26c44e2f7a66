//! The folders of a run's checkpoints: which there are, and which are deleted.

use std::collections::BTreeSet;

use wellspring_store::Location;

use super::{STATE, is_file};
use crate::Result;

/// Which checkpoints stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// The newest ones.
    pub(crate) newest: usize,
    /// Those whose step is a multiple of it.
    pub(crate) every: Option<u64>,
    /// The one with the best validation.
    pub(crate) best: Option<u64>,
}

/// Deletes all checkpoints up to a step but those to keep. Those of later steps are damaged, or the run
/// would not be here; it comes by and writes them again.
pub(crate) async fn retain(run: &Location, keep: Retention, step: u64) -> Result<()> {
    let mut steps = steps(run).await?;
    steps.retain(|&held| held <= step);
    let old = &steps[..steps.len().saturating_sub(keep.newest)];
    let is_kept = |step: u64| {
        keep.best == Some(step) || keep.every.is_some_and(|every| step.is_multiple_of(every))
    };
    for &step in old.iter().filter(|&&step| !is_kept(step)) {
        delete(run, step).await?;
    }
    Ok(())
}

/// Deletes the checkpoints after a step, the newest first, so that one that is stopped leaves a run that
/// was never further; gives their steps.
pub(crate) async fn forget_after(run: &Location, step: u64) -> Result<Vec<u64>> {
    let mut later = steps(run).await?;
    later.retain(|&held| held > step);
    for &step in later.iter().rev() {
        delete(run, step).await?;
    }
    Ok(later)
}

/// Deletes a checkpoint. The state goes first, so a half-deleted one is none.
pub(crate) async fn delete(run: &Location, step: u64) -> Result<()> {
    let place = folder(run, step);
    place.join(STATE).delete().await?;
    for (held, name) in files(run).await? {
        if held == step && is_file(&name) {
            place.join(&name).delete().await?;
        }
    }
    if let Some(path) = place.local_path() {
        // An object store has no folders; a disk would keep an empty one, which hurts nobody.
        tokio::fs::remove_dir(path).await.ok();
    }
    Ok(())
}

/// The folders of a run, by one listing; steps are ascending.
pub(super) struct Listing {
    /// Steps with a state.
    pub(super) steps: Vec<u64>,
    /// Steps whose checkpoints have no state: their writing was stopped, or is not done.
    pub(super) begun: Vec<u64>,
}

pub(super) async fn listing(run: &Location) -> Result<Listing> {
    let files = files(run).await?;
    let folders: BTreeSet<u64> = files.iter().map(|&(step, _)| step).collect();
    let (steps, begun) = folders
        .into_iter()
        .partition(|&step| files.contains(&(step, STATE.to_owned())));
    Ok(Listing { steps, begun })
}

/// Steps whose checkpoints have no state.
pub(crate) async fn begun(run: &Location) -> Result<Vec<u64>> {
    Ok(listing(run).await?.begun)
}

/// Steps with a state, ascending.
pub(crate) async fn steps(run: &Location) -> Result<Vec<u64>> {
    Ok(listing(run).await?.steps)
}

/// Steps with a folder, which an interrupted writing may have left without a state.
pub(crate) async fn folders(run: &Location) -> Result<BTreeSet<u64>> {
    let files = files(run).await?.into_iter();
    Ok(files.map(|(step, _)| step).collect())
}

/// Files of every checkpoint, by the step of its folder; other names are ignored.
async fn files(run: &Location) -> Result<BTreeSet<(u64, String)>> {
    let root = run.join("checkpoints");
    let held = root.list().await?;
    let file = |object: &Location| {
        let path = object.below(&root)?;
        let (folder, name) = path.split_once('/')?;
        Some((folder.parse().ok()?, name.to_owned()))
    };
    Ok(held.iter().filter_map(file).collect())
}

pub(super) fn folder(run: &Location, step: u64) -> Location {
    run.join("checkpoints").join(&format!("{step:08}"))
}
