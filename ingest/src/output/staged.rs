//! The temporary folder in which files are written until all of them are complete.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use wellspring_store::{Split, is_at, move_into_place};

use super::record::{Record, Request};
use crate::{Error, Result};

/// The folder of all files while they are written: nobody takes it for a source, and it becomes one when all are
/// whole.
pub(crate) struct StagingFolder {
    data: PathBuf,
    folder: PathBuf,
    /// The folder, locked for as long as its writer lives.
    lock: File,
}

impl StagingFolder {
    /// Begins beside `data`, in the place of what a killed writer left.
    ///
    /// # Errors
    /// [`Error::Exists`] when there are files and they may not be replaced, [`Error::Simulating`] when a living
    /// writer is at it; [`Error::Disk`].
    pub(crate) fn beside(data: &Path, overwrite: bool) -> Result<Self> {
        if data.exists() && !overwrite {
            return Err(Error::Exists {
                path: data.to_owned(),
            });
        }
        let folder = data.with_extension("partial");
        let lock = begin(&folder).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => Error::Simulating {
                path: data.to_owned(),
            },
            _ => disk(&folder, source),
        })?;
        Ok(Self {
            data: data.to_owned(),
            folder,
            lock,
        })
    }

    /// The folder of a split.
    pub(crate) fn split(&self, split: Split) -> PathBuf {
        self.folder.join(split.to_string())
    }

    /// Path of a file below the temporary folder.
    pub(crate) fn below(&self, file: &Path) -> PathBuf {
        file.strip_prefix(&self.folder).unwrap_or(file).to_owned()
    }

    /// Moves all into place with their record. What was there is moved away first, so that it is never there in part.
    pub(crate) fn finish<R: Request>(self, record: &Record<R>) -> Result<()> {
        let failed = |source| disk(&self.data, source);
        record.write(&self.folder).map_err(failed)?;
        let old = outdated(&self.folder);
        if self.data.exists() {
            fs::rename(&self.data, &old).map_err(failed)?;
        }
        move_into_place(&self.folder, &self.data).map_err(failed)?;
        drop(self.lock);
        remove_folder(&old).map_err(failed)
    }
}

/// Folder to which earlier files are moved until they are removed.
fn outdated(folder: &Path) -> PathBuf {
    folder.with_extension("old")
}

/// Locks a folder, and leaves an empty one in it for each split.
fn begin(folder: &Path) -> io::Result<File> {
    let lock = loop {
        fs::create_dir_all(folder)?;
        let lock = File::open(folder)?;
        lock.try_lock().map_err(io::Error::from)?;
        // Another writer may have moved it into place since it was opened.
        if is_at(&lock, folder)? {
            break lock;
        }
    };
    remove_folder(&outdated(folder))?;
    for split in Split::ALL {
        let folder = folder.join(split.to_string());
        remove_folder(&folder)?;
        fs::create_dir(&folder)?;
    }
    Ok(lock)
}

/// Removes a folder; one that is gone is not an error.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn disk(path: &Path, source: io::Error) -> Error {
    Error::Disk {
        path: path.to_owned(),
        source,
    }
}
