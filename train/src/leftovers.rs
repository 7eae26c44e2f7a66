//! Removes what killed processes leave in a run: checkpoints without a state, and on a disk the temporary
//! files `NAME#1` of writes. A process that writes a run does this before its first step.

use std::path::{Path, PathBuf};

use wellspring_log::is_segment;
use wellspring_store::{Location, begun_name, is_at, remove_left};

use crate::Result;
use crate::checkpoint;

/// Files of a run, and the state of a checkpoint; other files have many names, and old versions wrote `log.jsonl`.
const NAMES: [&str; 4] = ["config.toml", "log.jsonl", "lock", "state.json"];

/// Whether there are any.
pub(crate) async fn are_in(run: &Location) -> Result<bool> {
    let is_staged = |folder: PathBuf| !staged(&folder, 2).is_empty();
    Ok(run.local_path().is_some_and(is_staged) || !checkpoint::begun(run).await?.is_empty())
}

/// Removes them; gives the number of checkpoints and files. Only who holds the run may call it.
pub(crate) async fn sweep(run: &Location) -> Result<usize> {
    let mut removed = 0;
    for step in checkpoint::begun(run).await? {
        checkpoint::delete(run, step).await?;
        removed += 1;
    }
    if let Some(folder) = run.local_path() {
        let staged = staged(&folder, 2).into_iter();
        removed += staged
            .filter(|path| remove_left(path).unwrap_or(false) || remove_twin(&folder, path))
            .count();
        remove_empty(&folder.join("checkpoints"));
    }
    Ok(removed)
}

/// Removes another name of the run's lock: its writer was stopped between giving the file its name and taking
/// the first one away. Since the lock is held, no writer of it lives.
#[allow(
    clippy::disallowed_methods,
    reason = "no store knows that two names are one file"
)]
fn remove_twin(run: &Path, staged: &Path) -> bool {
    let lock = std::fs::File::open(run.join("lock"));
    let is_twin = lock.is_ok_and(|lock| is_at(&lock, staged).unwrap_or(false));
    cfg!(unix) && is_twin && std::fs::remove_file(staged).is_ok()
}

/// Files of this folder and those below it, down to a depth, that a write of ours began with.
fn staged(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 0 {
                found.extend(staged(&path, depth - 1));
            }
        } else if entry.file_name().to_str().is_some_and(is_staged) {
            found.push(path);
        }
    }
    found
}

/// `state.json#1`.
fn is_staged(name: &str) -> bool {
    let is_ours = |name| NAMES.contains(&name) || checkpoint::is_file(name) || is_segment(name);
    begun_name(name).is_some_and(is_ours)
}

/// Removes empty folders of checkpoints; one with something in it stays.
fn remove_empty(checkpoints: &Path) {
    for entry in std::fs::read_dir(checkpoints)
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ = std::fs::remove_dir(entry.path());
    }
}
