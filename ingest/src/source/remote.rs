//! Files in buckets and behind web servers, read by ranges as if they lay on the disk.

mod blocks;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock, mpsc};

use bytes::Bytes;
use object_store::{GetOptions, ObjectMeta};
use tokio::runtime::Runtime;
use wellspring_store::{Error as StoreError, Location};

use self::blocks::Blocks;
use crate::source::extents::{ReadAt, beyond_the_end};
use crate::{Error, Result};

/// An object of which every byte is of the same version.
#[derive(Debug)]
pub(crate) struct Remote {
    place: Location,
    version: Version,
    blocks: Blocks,
    /// What went wrong first. It is final: the HDF5 library takes what it cannot read for something
    /// that is not there, so nothing that it says afterwards can be trusted.
    failed: OnceLock<Arc<io::Error>>,
}

impl Remote {
    /// Finds an object by its first bytes.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Disk`] if there can be no cache.
    pub(crate) async fn open(place: &Location) -> Result<Self> {
        let first = get(place.clone(), 0..blocks::BLOCK, None);
        let (version, first) = on_network(first).await??;
        let blocks = Blocks::shared(version.size)?;
        let kept = blocks.read(0, &mut [0; 1], |_| Ok(first.clone()));
        kept.map_err(|source| Error::Bytes {
            file: place.to_string(),
            object: "its first bytes".into(),
            source,
        })?;
        Ok(Self {
            place: place.clone(),
            version,
            blocks,
            failed: OnceLock::new(),
        })
    }

    /// Size of the file in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.version.size
    }

    /// Why it can be read no longer.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        let failed = self.failed.get()?;
        Some(io::Error::new(failed.kind(), Arc::clone(failed)))
    }

    /// Bytes from the store; waits for them.
    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (send, receive) = mpsc::sync_channel(1);
        let answer = get(self.place.clone(), range, Some(self.version.clone()));
        network()?.spawn(async move { send.send(answer.await) });
        let answer = receive.recv().map_err(io::Error::other)?;
        Ok(answer.map_err(io::Error::other)?.1)
    }
}

impl ReadAt for Remote {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.size()) {
            return Err(beyond_the_end());
        }
        let read = self.blocks.read(offset, into, |range| self.fetch(range));
        read.map_err(|error| {
            let first = self.failed.get_or_init(|| Arc::new(error));
            io::Error::new(first.kind(), Arc::clone(first))
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.version.size)
    }
}

/// What tells one state of an object from another.
#[derive(Debug, Clone)]
struct Version {
    size: u64,
    e_tag: Option<String>,
    modified: i64,
}

impl Version {
    fn of(object: &ObjectMeta) -> Self {
        Self {
            size: object.size,
            e_tag: object.e_tag.clone(),
            modified: object.last_modified.timestamp_millis(),
        }
    }

    /// Whether another answer is of the same state. Servers behind one name may differ in the time.
    fn is(&self, other: &Self) -> bool {
        let same = match (&self.e_tag, &other.e_tag) {
            (Some(own), Some(other)) => own == other,
            _ => self.modified == other.modified,
        };
        same && self.size == other.size
    }

    /// A tag that a request may ask for; weak ones never match.
    fn tag(&self) -> Option<&String> {
        self.e_tag.as_ref().filter(|tag| !tag.starts_with("W/"))
    }
}

/// Reads some bytes of an object, which must be in a known state if one is known. An object that ends before
/// gives as much as it has.
async fn get(
    place: Location,
    range: Range<u64>,
    known: Option<Version>,
) -> Result<(Version, Bytes)> {
    let failed = |source| match source {
        object_store::Error::Precondition { .. } => Error::Changed {
            file: place.to_string(),
        },
        source => Error::Store(StoreError::Io {
            action: "reading",
            object: place.to_string(),
            source,
        }),
    };
    let options = GetOptions::new()
        .with_range(Some(range.clone()))
        .with_if_match(known.as_ref().and_then(Version::tag));
    let answer = place.object_store().get_opts(place.path(), options).await;
    let answer = answer.map_err(failed)?;
    let version = Version::of(&answer.meta);
    if known.is_some_and(|known| !known.is(&version)) {
        return Err(Error::Changed {
            file: place.to_string(),
        });
    }
    let bytes = answer.bytes().await.map_err(failed)?;
    let end = range.end.min(version.size);
    match bytes.len() as u64 == end.saturating_sub(range.start) {
        true => Ok((version, bytes)),
        false => Err(Error::Store(StoreError::Short {
            object: place.to_string(),
            start: range.start,
            end,
            found: bytes.len(),
        })),
    }
}

/// Threads that do nothing but ask the stores of sources. Every other thread may at some time wait for
/// the HDF5 library, which may wait for an answer: the connections must not be in their hands.
fn network() -> io::Result<&'static Runtime> {
    static NETWORK: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        wellspring_store::start_runtime(builder.thread_name("network"), Some(2))
    });
    NETWORK
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

/// Asks the store of a source.
///
/// # Errors
/// [`Error::Task`].
pub(crate) async fn on_network<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let network = network().map_err(|error| Error::Task {
        reason: error.to_string(),
    })?;
    network.spawn(work).await.map_err(Error::task)
}
