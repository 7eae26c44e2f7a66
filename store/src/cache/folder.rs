//! A folder of fetched shards, shared by processes.
//!
//! A file is named by its checksum and size, so one shard of two data sets is one file. It is fetched
//! into `NAME.part`, which the fetching process holds locked, and renamed when its checksum is right.
//! Who wants the same shard waits for that lock and finds the file, or the part of a process that has
//! died, whose lock the system has let go. Nothing is polled, and nothing that a killed process leaves
//! needs mending. Room is made under the folder's own lock, the longest unused first; a file that is
//! mapped elsewhere can be removed all the same, since its bytes stay until they are let go.
//!
//! A file must not change while it is mapped. So one that has its name is read-only, a part is its
//! owner's alone, and only files of this user are mapped: of a folder that users share, what belongs to
//! another, or is a link to somewhere else, is read into memory and compared there.
#![expect(
    clippy::disallowed_methods,
    reason = "locks and maps are the operating system's; what lies here are copies of stored bytes"
)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::fetch::{Fetcher, part_bytes};
use crate::location::remove;
use crate::{Error, Location, Result, Shard};

/// Parts of a file under way at a time.
const PARTS: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: Arc<PathBuf>,
    limit: u64,
}

/// Who fetches a file.
enum Claim {
    /// It is there.
    Found(Bytes),
    /// This process does.
    Ours(Part),
}

/// A file that this process holds locked while it fetches it. Where the fetching ends early, it goes:
/// a full disk is not to stay full of parts.
struct Part {
    file: File,
    path: PathBuf,
    /// Whether nothing lies under its path any longer.
    ended: AtomicBool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Acquire) {
            // Who makes room removes what cannot be removed now.
            let _ = remove(&self.path);
        }
    }
}

impl Folder {
    pub(crate) fn open(path: PathBuf, limit: u64) -> Result<Self> {
        let made = std::fs::create_dir_all(&path);
        let folder = Self {
            path: Arc::new(path),
            limit,
        };
        made.map_err(|source| folder.failed("making", source))?;
        Ok(folder)
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
            Claim::Found(bytes) => return Ok(bytes),
            Claim::Ours(part) => Arc::new(part),
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
        part: &Arc<Part>,
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
    fn claim(&self, name: &str, shard: &Shard) -> Result<Claim> {
        loop {
            if let Some(bytes) = self.find(name, shard)? {
                return Ok(Claim::Found(bytes));
            }
            let failed = |source| self.failed("claiming a file in", source);
            let lock = self.lock().map_err(failed)?;
            let part_name = format!("{name}.part");
            let path = self.path.join(&part_name);
            let file = self.file(&part_name).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {
                    // Named between the look and the lock: this part is that file, or a new one.
                    if let Some(bytes) = self.find(name, shard)? {
                        remove(&path).map_err(failed)?;
                        return Ok(Claim::Found(bytes));
                    }
                    // That file was damaged, and gone.
                    if !path.exists() {
                        continue;
                    }
                    if !guard(&path, &file, UNFINISHED) {
                        let reason = "a part there is a link, or another user's";
                        return Err(failed(io::Error::other(reason)));
                    }
                    let part = Part {
                        file,
                        path,
                        ended: AtomicBool::new(false),
                    };
                    part.file.set_len(shard.bytes).map_err(failed)?;
                    self.make_room(&part_name, shard.bytes).map_err(failed)?;
                    return Ok(Claim::Ours(part));
                }
                Err(TryLockError::WouldBlock) => {
                    drop(lock);
                    file.lock().map_err(failed)?;
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }

    /// A file that is there. One that is not what its name says is removed.
    fn find(&self, name: &str, shard: &Shard) -> Result<Option<Bytes>> {
        let path = self.path.join(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("reading", source)),
        };
        // The time of its last use; a file system that keeps none makes the order worse, no more.
        let _ = file.set_modified(SystemTime::now());
        let bytes = match guard(&path, &file, FINISHED) {
            true => super::map_file(&file),
            false => contents(&mut file),
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
    fn keep(&self, name: &str, shard: &Shard, part: &Part, object: &str) -> Result<Bytes> {
        let failed = |source| self.failed("keeping", source);
        // Nobody writes to it from here on.
        if !guard(&part.path, &part.file, FINISHED) {
            let reason = "the part was replaced while it was fetched";
            return Err(failed(io::Error::other(reason)));
        }
        let bytes = super::map_file(&part.file).map_err(failed)?;
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

    /// Removes the longest unused files, and parts that nobody fetches, until `more` bytes fit.
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
                match abandoned(&entry.path()) {
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
        let lock = self.file(LOCK)?;
        lock.lock()?;
        Ok(lock)
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path.join(name))
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

/// Permissions of a file that is whole, and of a part.
const FINISHED: u32 = 0o444;
const UNFINISHED: u32 = 0o600;

/// Gives an open file permissions, which only its owner can. Whether it is this user's, and is what lies
/// under its path: not a link's target, and not replaced meanwhile.
#[cfg(unix)]
fn guard(path: &Path, file: &File, mode: u32) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::location::is_at;
    let guarded = || -> io::Result<bool> {
        let is_there = is_at(file, path)? && file.metadata()?.is_file();
        if is_there {
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        Ok(is_there)
    };
    guarded().unwrap_or(false)
}

#[cfg(not(unix))]
fn guard(_: &Path, _: &File, _: u32) -> bool {
    true
}

/// A file's bytes in memory.
fn contents(file: &mut File) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Whether no process fetches a part.
fn abandoned(part: &Path) -> bool {
    File::open(part).is_ok_and(|part| part.try_lock().is_ok())
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|source| Error::Task {
        reason: source.to_string(),
    })?
}
