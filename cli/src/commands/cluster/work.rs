//! A temporary folder of this process: removed at its end, or, if it is killed, by the next process that makes one
//! beside it.
//!
//! A lock tells whether the process lives; the system releases it when the process ends, for whatever reason.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What the names of such folders begin with.
const PREFIX: &str = "wellspring-cluster-";

/// The file in it that its process holds locked.
const LOCK: &str = "lock";

/// The folder; dropping it removes it.
pub struct WorkFolder {
    path: PathBuf,
    /// Held until the folder is gone.
    _lock: File,
}

impl WorkFolder {
    /// Makes one in `parent`, by default the system's temporary folder, and removes those whose processes are gone.
    pub fn new(parent: Option<&Path>) -> Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let failed = || format!("cannot make a folder in {}", parent.display());
        std::fs::create_dir_all(&parent).with_context(failed)?;
        loop {
            if let Some(folder) = Self::claim(&parent).with_context(failed)? {
                sweep(&parent, folder.owner().with_context(failed)?);
                return Ok(folder);
            }
        }
    }

    /// Claims a new folder; none if another process took it for a leftover.
    fn claim(parent: &Path) -> io::Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        let is_ours = lock.try_lock().is_ok() && folder.path().join(LOCK).exists();
        Ok(is_ours.then(|| Self {
            path: folder.keep(),
            _lock: lock,
        }))
    }

    fn owner(&self) -> io::Result<u32> {
        Ok(std::fs::metadata(&self.path)?.uid())
    }

    /// A folder in it, open to this user alone.
    pub fn below(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of a user's processes that are gone; what cannot be removed stays for the next time.
fn sweep(parent: &Path, owner: u32) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = remove_left(&entry.path(), owner);
        }
    }
}

fn remove_left(path: &Path, owner: u32) -> io::Result<()> {
    let about = std::fs::symlink_metadata(path)?;
    // A link, or another user's folder, is not ours to open.
    if !about.is_dir() || about.uid() != owner {
        return Ok(());
    }
    let lock = File::open(path.join(LOCK))?;
    if lock.try_lock().is_ok() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn count(parent: &Path) -> usize {
        std::fs::read_dir(parent).unwrap().count()
    }

    #[test]
    fn a_folder_ends_with_its_process_and_what_a_killed_one_left_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let living = WorkFolder::new(Some(parent.path())).unwrap();
        std::fs::write(living.below("work").unwrap().join("rows"), "rows").unwrap();
        // As a killed process leaves it: nobody holds the lock.
        let left = parent.path().join(format!("{PREFIX}left"));
        std::fs::create_dir_all(left.join("work")).unwrap();
        std::fs::write(left.join(LOCK), "").unwrap();
        let strange = parent.path().join(format!("{PREFIX}strange"));
        std::fs::create_dir(&strange).unwrap();
        std::fs::write(strange.join("theirs"), "").unwrap();

        let next = WorkFolder::new(Some(parent.path())).unwrap();
        assert!(!left.exists() && strange.exists());
        assert!(living.path.join("work/rows").exists());
        assert_eq!(count(parent.path()), 3);
        drop((living, next));
        assert_eq!(count(parent.path()), 1);
    }
}
