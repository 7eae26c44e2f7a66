//! `manifest.json` as it was found, and the one step that changes it.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, UpdateVersion};

use crate::{Error, Location, Manifest, Result, checksum};

/// The manifest that a data set has, with what tells it from any other that takes its place.
#[derive(Debug, Clone)]
pub struct Head {
    place: Location,
    bytes: Bytes,
    version: UpdateVersion,
}

impl Head {
    /// The manifest of the data set at `root`, if there is one. Whether it can be understood is not looked at.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn find(root: &Location) -> Result<Option<Self>> {
        let place = root.join("manifest.json");
        let found = match place.object_store().get(place.path()).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(place.io("reading", source)),
        };
        let version = UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        };
        let bytes = found.bytes().await;
        Ok(Some(Self {
            bytes: bytes.map_err(|source| place.io("reading", source))?,
            place,
            version,
        }))
    }

    /// The manifest of the data set at `root`.
    ///
    /// # Errors
    /// [`Error::NotADataset`] when there is none; [`Error::Io`].
    pub async fn load(root: &Location) -> Result<Self> {
        let found = Self::find(root).await?;
        found.ok_or_else(|| Error::NotADataset {
            root: root.to_string(),
        })
    }

    /// What it says.
    ///
    /// # Errors
    /// As [`Manifest::from_json`].
    pub fn manifest(&self) -> Result<Manifest> {
        Manifest::from_json(&self.bytes, &self.place.to_string())
    }

    /// A name for exactly these bytes.
    #[must_use]
    pub fn id(&self) -> String {
        checksum(&self.bytes)
    }

    /// The manifest's text.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Puts another manifest in its place; `false` says that there is one already, or none any longer.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Lock`] for a local manifest that cannot be locked.
    pub(super) async fn replace(&self, next: &Manifest) -> Result<bool> {
        use object_store::Error::{AlreadyExists, NotFound, Precondition};
        if let Some(path) = self.place.local_path() {
            return self.replace_local(path, next).await;
        }
        let options = PutOptions::from(PutMode::Update(self.version.clone()));
        let (store, path) = (self.place.object_store(), self.place.path());
        match store.put_opts(path, next.to_json().into(), options).await {
            Ok(_) => Ok(true),
            Err(Precondition { .. } | AlreadyExists { .. } | NotFound { .. }) => Ok(false),
            Err(source) => Err(self.place.io("writing", source)),
        }
    }

    /// A disk compares nothing when it writes. So who compares and writes holds a lock on the manifest
    /// that it compares with, which ends with its process; who waited for it finds another manifest.
    async fn replace_local(&self, path: PathBuf, next: &Manifest) -> Result<bool> {
        let lock = tokio::task::spawn_blocking(move || locked(&path));
        let lock = lock.await.map_err(|source| Error::Task {
            reason: source.to_string(),
        })?;
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(source) => {
                return Err(Error::Lock {
                    object: self.place.to_string(),
                    source,
                });
            }
        };
        let is_there = self.place.get_opt().await? == Some(self.bytes());
        if is_there {
            self.place.put(next.to_json()).await?;
        }
        drop(lock);
        Ok(is_there)
    }
}

fn locked(path: &PathBuf) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    file.lock()?;
    Ok(file)
}
