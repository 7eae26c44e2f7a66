//! A cache folder of fetched shards, shared by processes.
//!
//! A file is named by its checksum and size, so one shard of two data sets is one file. It is fetched
//! into `NAME.part`, which the fetching process keeps locked, and renamed when its checksum is right.
//! Another process that needs the shard waits for that lock, and then finds the file, or the part of a
//! process that has died, whose lock the system has released. Nothing is polled, and a killed process
//! leaves nothing to repair. Eviction happens under the folder's own lock, least recently used first; a
//! file that is mapped elsewhere can be removed too, since its bytes stay until they are unmapped.
//!
//! A file must not change while it is mapped. So complete files are read-only, and only files of this user
//! are mapped. In a folder that a group shares, other users' files are read into memory and compared
//! there. [`access`] decides who may use a folder, and which files are accepted.
#![expect(
    clippy::disallowed_methods,
    reason = "locks and maps are the operating system's; what lies here are copies of stored bytes"
)]

mod access;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::location::remove;
use crate::read::fetch::{Fetcher, part_bytes};
use crate::threads::blocking;
use crate::{Error, Location, Result, Shard};

use access::{Access, Purpose};

/// Parts of a file under way at a time.
const PARTS: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: Arc<PathBuf>,
    limit: u64,
    access: Access,
    /// Whether this user's files are mapped.
    map: bool,
}

/// Whether and by whom a file is fetched.
enum PartClaim {
    /// The file is there.
    Found(Bytes),
    /// This process does.
    Ours(PartFile),
}

/// A file that this process holds locked while it fetches it. Where the fetching ends early, it goes:
/// a full disk is not to stay full of parts.
struct PartFile {
    file: File,
    path: PathBuf,
    /// Whether nothing lies under its path any longer.
    ended: AtomicBool,
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Acquire) {
            // Who makes room removes what cannot be removed now.
            let _ = remove(&self.path);
        }
    }
}

impl Folder {
    /// Opens a folder with room for `limit` bytes, and creates it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Cache`], also for one that others can write to and that is not shared on purpose.
    pub(crate) fn open(path: PathBuf, limit: u64, map: bool) -> Result<Self> {
        match Access::of(&path) {
            Ok(access) => Ok(Self {
                path: Arc::new(path),
                limit,
                access,
                map,
            }),
            Err(source) => Err(Error::Cache {
                action: "opening",
                folder: path,
                source,
            }),
        }
    }

    /// The bytes of a shard, mapped, with the checksum that its name says when they were fetched.
    pub(crate) async fn get(
        &self,
        place: &Location,
        shard: &Shard,
        fetcher: &Fetcher,
    ) -> Result<Bytes> {
        if shard.bytes > self.limit {
            return Err(Error::Budget {
                root: place.to_string(),
                needed: shard.bytes,
                limit: self.limit,
            });
        }
        // It becomes a name.
        if !shard.checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::malformed(place, "its checksum is not hexadecimal"));
        }
        let name = format!("{}-{}.arrow", shard.checksum, shard.bytes);
        let claim = {
            let (folder, name, shard) = (self.clone(), name.clone(), shard.clone());
            blocking(move || folder.claim(&name, &shard)).await?
        };
        let part = match claim {
            PartClaim::Found(bytes) => return Ok(bytes),
            PartClaim::Ours(part) => Arc::new(part),
        };
        self.fill(place, shard, fetcher, &part).await?;
        let (folder, shard, object) = (self.clone(), shard.clone(), place.to_string());
        blocking(move || folder.keep(&name, &shard, &part, &object)).await
    }

    /// Fetches a shard into a part, whatever its size in little memory.
    async fn fill(
        &self,
        place: &Location,
        shard: &Shard,
        fetcher: &Fetcher,
        part: &Arc<PartFile>,
    ) -> Result<()> {
        let size = part_bytes(shard.bytes);
        let starts = (0..shard.bytes).step_by(size as usize);
        let parts = starts.map(|start| async move {
            let mut bytes = vec![0; size.min(shard.bytes - start) as usize];
            fetcher.part(place, start, &mut bytes).await?;
            let (folder, part) = (self.clone(), Arc::clone(part));
            blocking(move || {
                let written = write_at(&part.file, &bytes, start);
                written.map_err(|source| folder.failed("writing", source))
            })
            .await
        });
        let parts = futures::stream::iter(parts.collect::<Vec<_>>());
        parts.buffer_unordered(PARTS).try_collect().await
    }

    /// Looks for a file, waits for who fetches it, or begins to.
    fn claim(&self, name: &str, shard: &Shard) -> Result<PartClaim> {
        loop {
            if let Some(bytes) = self.find(name, shard)? {
                return Ok(PartClaim::Found(bytes));
            }
            let failed = |source| self.failed("claiming a file in", source);
            let lock = self.lock().map_err(failed)?;
            let part_name = format!("{name}.part");
            let path = self.path.join(&part_name);
            let Some((file, is_whole)) = self.part(&path).map_err(failed)? else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {
                    // Named between the look and the lock: this part is that file, or a new one.
                    if let Some(bytes) = self.find(name, shard)? {
                        remove(&path).map_err(failed)?;
                        return Ok(PartClaim::Found(bytes));
                    }
                    // That file was damaged, and gone.
                    if !path.exists() {
                        continue;
                    }
                    // What another of the group began and left is this user's to remove, not to write to.
                    if is_whole || !self.access.guard(&path, &file, Purpose::Part) {
                        remove(&path).map_err(failed)?;
                        continue;
                    }
                    let part = PartFile {
                        file,
                        path,
                        ended: AtomicBool::new(false),
                    };
                    part.file.set_len(shard.bytes).map_err(failed)?;
                    self.make_room(&part_name, shard.bytes).map_err(failed)?;
                    return Ok(PartClaim::Ours(part));
                }
                Err(TryLockError::WouldBlock) => {
                    drop(lock);
                    file.lock().map_err(failed)?;
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    /// A part to write to; or one that nobody may write to any longer, since its fetcher has it whole and
    /// is about to name it, or was killed then. Nothing where that has just happened.
    fn part(&self, path: &Path) -> io::Result<Option<(File, bool)>> {
        match self.access.open_or_create(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                match self.access.open_to_read(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    answer => answer.map(|file| Some((file, true))),
                }
            }
            answer => answer.map(|file| Some((file, false))),
        }
    }

    /// A file that is there. One that is not what its name says is removed.
    fn find(&self, name: &str, shard: &Shard) -> Result<Option<Bytes>> {
        let path = self.path.join(name);
        let mut file = match self.access.open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("reading", source)),
        };
        // The time of its last use; a file system that keeps none makes the order worse, no more.
        let _ = file.set_modified(SystemTime::now());
        let bytes = match self.access.guard(&path, &file, Purpose::Whole) && self.map {
            true => super::map_file(&file),
            false => contents(&mut file, shard.bytes),
        };
        let bytes = bytes.map_err(|source| self.failed("reading", source))?;
        if shard.check(&bytes, name).is_ok() {
            return Ok(Some(bytes));
        }
        tracing::warn!(file = %path.display(), "a damaged file of the cache is fetched again");
        remove(&path).map_err(|source| self.failed("removing", source))?;
        Ok(None)
    }

    /// Ends a part: one that is whole gets its name, that of a damaged shard goes.
    fn keep(&self, name: &str, shard: &Shard, part: &PartFile, object: &str) -> Result<Bytes> {
        let failed = |source| self.failed("keeping", source);
        // The file is not written to from here on.
        if !self.access.guard(&part.path, &part.file, Purpose::Whole) {
            let reason = "the part was replaced while it was fetched";
            return Err(failed(io::Error::other(reason)));
        }
        let bytes = match self.map {
            true => super::map_file(&part.file),
            false => (&part.file)
                .rewind()
                .and_then(|()| contents(&mut &part.file, shard.bytes)),
        };
        let bytes = bytes.map_err(failed)?;
        shard.check(&bytes, object)?;
        // So that who makes room counts each file once.
        let lock = self.lock().map_err(failed)?;
        std::fs::rename(&part.path, self.path.join(name)).map_err(failed)?;
        part.ended.store(true, Ordering::Release);
        drop(lock);
        // By hand: the map would keep the lock for as long as it lasts.
        part.file.unlock().map_err(failed)?;
        Ok(bytes)
    }

    /// Removes the least recently used files, and abandoned parts, until `more` bytes fit.
    fn make_room(&self, ours: &str, more: u64) -> io::Result<()> {
        let mut files = Vec::new();
        let mut held = more;
        for entry in std::fs::read_dir(self.path.as_path())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let about = match entry.metadata() {
                Ok(about) => about,
                // In the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if name == ours || name == LOCK {
                continue;
            }
            if name.ends_with(".part") {
                match self.is_abandoned(&entry.path()) {
                    true => remove(&entry.path())?,
                    false => held += about.len(),
                }
            } else if name.ends_with(".arrow") {
                held += about.len();
                files.push((about.modified()?, about.len(), entry.path()));
            }
        }
        files.sort();
        for (_, size, path) in files {
            if held <= self.limit {
                break;
            }
            remove(&path)?;
            held -= size;
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<File> {
        let lock = self.access.open_or_create(&self.path.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Whether no process fetches a part.
    fn is_abandoned(&self, part: &Path) -> bool {
        let part = self.access.open_to_read(part);
        part.is_ok_and(|part| part.try_lock().is_ok())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Cache {
            action,
            folder: self.path.to_path_buf(),
            source,
        }
    }
}

const LOCK: &str = "lock";

/// A file's bytes in memory, and one more than it should have if it has.
fn contents(file: &mut impl io::Read, expected: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(expected.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, start)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, start)?;
        bytes = &bytes[written..];
        start += written as u64;
    }
    Ok(())
}
