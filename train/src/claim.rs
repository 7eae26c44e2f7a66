//! [`RunClaim`]: ensures that only one process at a time writes a run, by the object `lock` in its folder.
//!
//! On a disk the process holds a lock on that file, which ends with the process; a second process is refused. The file
//! says which process and host it was.
//! A bucket has no locks. There the object holds the name of the process that took the run last, and it is
//! replaced only if it is still the version that was read, so if two processes take a run at once, one is
//! refused. A process that finds another's name there before it writes a checkpoint ends without writing: a run
//! can be taken over from a dead process, and from a living one, which then notices.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wellspring_store::{Location, Reporter, Version};

use crate::{Error, Result};

/// The right to write a run. Its copies are one right.
#[derive(Debug, Clone)]
pub(crate) struct RunClaim {
    run: Location,
    place: Location,
    held: LockFile,
}

#[derive(Debug, Clone)]
enum LockFile {
    /// A disk, without the file so far.
    Absent,
    /// A disk with the locked file, or with one that the file system cannot lock.
    File { lock: Option<Arc<File>> },
    /// No disk: this process's name, and the version of the object to replace by it.
    Name { own: String, seen: Option<Version> },
}

impl RunClaim {
    /// Looks whether a run is free. Nothing is written: who goes on calls [`RunClaim::take`].
    ///
    /// # Errors
    /// [`Error::Busy`], and what reading may give.
    pub(crate) async fn open(run: &Location, reporter: &dyn Reporter) -> Result<Self> {
        let place = run.join("lock");
        let held = match place.local_path() {
            Some(path) => locked(run, &path, reporter)?,
            None => LockFile::Name {
                own: name(),
                seen: place.get_version().await?.map(|(_, version)| version),
            },
        };
        let run = run.clone();
        Ok(Self { run, place, held })
    }

    /// Makes the run this process's.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process was faster, and what writing may give.
    pub(crate) async fn take(&mut self, reporter: &dyn Reporter) -> Result<()> {
        let taken = match (&self.held, self.place.local_path()) {
            (LockFile::Absent, Some(path)) => {
                self.place.put_new(Vec::new()).await?;
                self.held = locked(&self.run, &path, reporter)?;
                self.held.sign();
                true
            }
            (LockFile::Absent | LockFile::File { .. }, _) => {
                self.held.sign();
                true
            }
            (LockFile::Name { own, seen: None }, _) => self.place.put_new(own.clone()).await?,
            (
                LockFile::Name {
                    own,
                    seen: Some(seen),
                },
                _,
            ) => self.place.put_over(own.clone(), seen).await?,
        };
        // An answer that was lost on the way and asked for again may have been a yes.
        match taken || self.check().await.is_ok() {
            true => Ok(()),
            false => {
                let held = self.place.get_opt().await.ok().flatten();
                Err(busy(&self.run, held.as_deref()))
            }
        }
    }

    /// Looks whether the run is still this process's.
    ///
    /// # Errors
    /// [`Error::Overtaken`], and what reading may give.
    pub(crate) async fn check(&self) -> Result<()> {
        let LockFile::Name { own, .. } = &self.held else {
            return Ok(());
        };
        match self.place.get_opt().await? {
            Some(found) if *found == *own.as_bytes() => Ok(()),
            found => Err(Error::Overtaken {
                run: self.run.to_string(),
                holder: holder(found.as_deref()),
            }),
        }
    }
}

/// Refuses a place where a run is.
pub(crate) async fn refuse_held(run: &Location) -> Result<()> {
    match run.join("config.toml").exists().await? {
        true => Err(Error::RunExists {
            run: run.to_string(),
        }),
        false => Ok(()),
    }
}

fn busy(run: &Location, held: Option<&[u8]>) -> Error {
    Error::Busy {
        run: run.to_string(),
        holder: holder(held),
    }
}

/// Who wrote what lies in the lock: `another process (17 on node3)`.
fn holder(held: Option<&[u8]>) -> String {
    let text = std::str::from_utf8(held.unwrap_or_default()).unwrap_or_default();
    match text.split_once(SIGNED) {
        Some((_, place)) => format!("another process ({})", place.trim()),
        None => "another process".to_owned(),
    }
}

/// Begins what a process writes into a lock of itself.
const SIGNED: &str = "process ";

/// This process and its host.
fn signature() -> String {
    format!("{SIGNED}{} on {}", std::process::id(), host())
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok());
    host.as_deref()
        .map_or("an unnamed host", str::trim)
        .to_owned()
}

impl LockFile {
    /// Writes into a locked file whose it is. It is a record: the lock holds without it.
    fn sign(&self) {
        if let Self::File { lock: Some(file) } = self {
            let mut file: &File = file;
            let signed = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{}", signature()));
            if let Err(error) = signed {
                tracing::debug!(%error, "the lock does not say whose it is");
            }
        }
    }
}

/// The lock on a file, if it is there.
fn locked(run: &Location, path: &Path, reporter: &dyn Reporter) -> Result<LockFile> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(LockFile::Absent),
        Err(source) => return Err(unlocked(run, source)),
    };
    match patiently(|| file.try_lock()) {
        Ok(()) => Ok(LockFile::File {
            lock: Some(Arc::new(file)),
        }),
        Err(TryLockError::WouldBlock) => Err(busy(
            run,
            std::fs::read_to_string(path)
                .ok()
                .as_deref()
                .map(str::as_bytes),
        )),
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            reporter.note(&format!(
                "warning: the file system of {run} has no locks; see to it that no other process trains this run"
            ));
            Ok(LockFile::File { lock: None })
        }
        Err(TryLockError::Error(source)) => Err(unlocked(run, source)),
    }
}

/// Tries a lock for some milliseconds: who only looks whether a run is being trained holds its lock for a moment.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 0..4 {
        match lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            answer => return answer,
        }
    }
    lock()
}

fn unlocked(run: &Location, source: std::io::Error) -> Error {
    Error::Lock {
        object: run.join("lock").to_string(),
        source,
    }
}

/// A name that no other process has, since the hasher's keys are random, with this process and host.
fn name() -> String {
    let began = std::time::SystemTime::now();
    let random = || RandomState::new().hash_one((began, std::process::id()));
    format!("{:016x}{:016x} {}", random(), random(), signature())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::Silent;

    use super::*;

    fn local(folder: &tempfile::TempDir) -> Location {
        Location::parse(folder.path().join("run").to_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_run_on_a_disk_is_free_when_its_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let run = local(&folder);
        let mut first = RunClaim::open(&run, &Silent).await.unwrap();
        let mut late = RunClaim::open(&run, &Silent).await.unwrap();
        assert!(!folder.path().join("run").exists());
        first.take(&Silent).await.unwrap();
        let this = format!("process ({} on ", std::process::id());
        let busy = |error| matches!(error, Error::Busy { holder, .. } if holder.contains(&this));
        assert!(busy(late.take(&Silent).await.unwrap_err()));
        assert!(busy(RunClaim::open(&run, &Silent).await.unwrap_err()));
        drop(first);
        let mut next = RunClaim::open(&run, &Silent).await.unwrap();
        next.take(&Silent).await.unwrap();
        next.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_run_elsewhere_is_whose_took_it_last_and_the_other_notices() {
        let run = Location::parse("memory:///run").unwrap();
        let mut first = RunClaim::open(&run, &Silent).await.unwrap();
        let mut second = RunClaim::open(&run, &Silent).await.unwrap();
        first.take(&Silent).await.unwrap();
        let error = second.take(&Silent).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        assert!(
            error.to_string().contains("by another process ("),
            "{error}"
        );
        first.check().await.unwrap();

        let [mut third, mut fourth] = [
            RunClaim::open(&run, &Silent).await.unwrap(),
            RunClaim::open(&run, &Silent).await.unwrap(),
        ];
        third.take(&Silent).await.unwrap();
        let error = fourth.take(&Silent).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        let error = first.check().await.unwrap_err();
        assert!(matches!(error, Error::Overtaken { .. }), "{error}");
        third.check().await.unwrap();
    }
}
