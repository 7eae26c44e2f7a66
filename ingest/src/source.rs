//! Where the HDF5 files of a data set are, and how one is had on the local disk.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use tempfile::NamedTempFile;
use wellspring_store::{Location, Split};

use crate::{Error, Result};

/// The files of a source by split, in the order of their names.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) files: Vec<SourceFile>,
    /// Objects that are no HDF5, or lie outside the splits.
    pub(crate) ignored: usize,
}

/// One HDF5 file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) split: Split,
    place: Location,
    /// Its path below the source.
    pub(crate) below: String,
    staged: Mutex<Weak<Staged>>,
}

/// A file on the local disk. A copy of a remote one is deleted when nobody reads it any longer.
#[derive(Debug)]
pub(crate) enum Staged {
    Local(PathBuf),
    Copy(NamedTempFile),
}

impl Staged {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Local(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

impl Source {
    /// Lists a folder (`data/train/*.hdf5`, `train/*.hdf5`, or `*.hdf5`, all of which then train),
    /// or takes a single file.
    ///
    /// # Errors
    /// [`Error::NoFiles`].
    pub(crate) async fn list(place: &Location) -> Result<Self> {
        let single = place.name().is_some_and(is_hdf5);
        let listed = if single {
            vec![place.clone()]
        } else {
            place.list().await?
        };
        let total = listed.len();
        let (mut files, mut described) = (Vec::new(), 0);
        for object in listed {
            let below = object.below(place).unwrap_or_default();
            described += usize::from(below == "stats.yaml");
            let split = if single {
                Some(Split::Train)
            } else {
                split_of(&below)
            };
            if let (Some(split), true) = (split, object.name().is_some_and(is_hdf5)) {
                files.push(SourceFile {
                    split,
                    below: match single {
                        true => object.name().unwrap_or_default().to_owned(),
                        false => below,
                    },
                    place: object,
                    staged: Mutex::default(),
                });
            }
        }
        if files.is_empty() {
            return Err(Error::NoFiles {
                source_url: place.to_string(),
            });
        }
        files.sort_by_key(|file| file.split);
        Ok(Self {
            ignored: total - files.len() - described,
            files,
        })
    }
}

impl SourceFile {
    /// How errors and manifests call it.
    pub(crate) fn named(&self) -> String {
        self.place.to_string()
    }

    /// Its own name, without folders.
    pub(crate) fn name(&self) -> &str {
        self.place.name().unwrap_or_default()
    }

    /// Its size.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn bytes(&self) -> Result<u64> {
        let found = self.place.object_store().head(self.place.path()).await;
        let found = found.map_err(|source| wellspring_store::Error::Io {
            action: "looking for",
            object: self.named(),
            source,
        })?;
        Ok(found.size)
    }

    /// The file on the local disk, fetched if it is remote.
    pub(crate) async fn stage(&self) -> Result<Arc<Staged>> {
        if let Some(path) = self.place.local_path() {
            return Ok(Arc::new(Staged::Local(path)));
        }
        if let Some(staged) = self.remembered() {
            return Ok(staged);
        }
        let staged = Arc::new(Staged::Copy(self.fetch().await?));
        *self.staged.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&staged);
        Ok(staged)
    }

    fn remembered(&self) -> Option<Arc<Staged>> {
        self.staged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }

    async fn fetch(&self) -> Result<NamedTempFile> {
        let disk = |source| Error::Disk {
            path: std::env::temp_dir(),
            source,
        };
        let remote = |source| {
            Error::Store(wellspring_store::Error::Io {
                action: "reading",
                object: self.named(),
                source,
            })
        };
        let mut file = NamedTempFile::with_suffix(".hdf5").map_err(disk)?;
        let answer = self
            .place
            .object_store()
            .get(self.place.path())
            .await
            .map_err(remote)?;
        let mut stream = answer.into_stream();
        while let Some(bytes) = stream.next().await {
            file.write_all(&bytes.map_err(remote)?).map_err(disk)?;
        }
        file.flush().map_err(disk)?;
        Ok(file)
    }
}

fn is_hdf5(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".hdf5") || name.ends_with(".h5")
}

/// The split that a path below the source belongs to.
fn split_of(below: &str) -> Option<Split> {
    let parts: Vec<&str> = below.split('/').collect();
    match parts.as_slice() {
        [_] => Some(Split::Train),
        [split, _] | ["data", split, _] => split.parse().ok(),
        _ => None,
    }
}
