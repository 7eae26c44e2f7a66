//! Signs of life on a disk: a file that a process keeps locked while it works on the object it is named after.
#![allow(
    clippy::disallowed_methods,
    reason = "locks are files that no object store has"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Location, disk, remove_left};
use crate::{Error, Result};

/// A locked file. The lock ends with the process, however it ends; the file goes when this is dropped.
#[derive(Debug)]
pub struct FileLock {
    /// Kept for its lock.
    _file: File,
    path: PathBuf,
}

impl Location {
    /// Locks a file at this location, and waits for the process that holds it; none if the location is not
    /// on a local disk.
    ///
    /// # Errors
    /// [`Error::Lock`] where the file cannot be made or locked.
    pub async fn hold(&self) -> Result<Option<FileLock>> {
        let Some(path) = self.local_path() else {
            return Ok(None);
        };
        let taken = tokio::task::spawn_blocking(move || take(path)).await;
        let taken = taken.map_err(|source| Error::Task {
            reason: source.to_string(),
        })?;
        taken.map(Some).map_err(|source| self.lock(source))
    }

    /// Whether a living process holds this place; never where it is not on a local disk. A file that a
    /// killed one left is removed.
    ///
    /// # Errors
    /// [`Error::Lock`] where that cannot be told.
    pub fn is_held(&self) -> Result<bool> {
        let Some(path) = self.local_path() else {
            return Ok(false);
        };
        let is_free = remove_left(&path).map_err(|source| self.lock(source))?;
        Ok(!is_free)
    }

    fn lock(&self, source: io::Error) -> Error {
        Error::Lock {
            object: self.to_string(),
            source,
        }
    }
}

/// Another may remove the file before it is locked; then it is made again.
fn take(path: PathBuf) -> io::Result<FileLock> {
    loop {
        let file = open(&path)?;
        file.lock()?;
        if disk::is_at(&file, &path)? {
            return Ok(FileLock { _file: file, path });
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    match (options.open(path), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            options.open(path)
        }
        (file, _) => file,
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // What stays is removed by whoever looks whether it is held.
        let _ = disk::remove(&self.path);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_place_is_held_until_its_holder_ends() {
        let folder = tempfile::tempdir().unwrap();
        let root = Location::parse(folder.path().to_str().unwrap()).unwrap();
        let place = root.join("below/one.lock");
        assert!(!place.is_held().unwrap());
        let hold = place.hold().await.unwrap();
        assert!(hold.is_some() && place.is_held().unwrap());
        drop(hold);
        assert!(!place.is_held().unwrap());
        // What a killed process leaves is a file that nobody locks.
        place.put("").await.unwrap();
        assert!(!place.is_held().unwrap() && !place.exists().await.unwrap());
        let memory = Location::parse("memory:///one.lock").unwrap();
        assert!(memory.hold().await.unwrap().is_none() && !memory.is_held().unwrap());
    }

    #[test]
    fn one_at_a_time_holds_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let hold = take(path.clone()).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(hold);
                    }
                });
            }
        });
    }
}
