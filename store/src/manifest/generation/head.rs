//! [`Head`]: `manifest.json` as it was read, and the one step that replaces it.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use bytes::Bytes;

use crate::{Error, Location, Manifest, Result, Version, checksum};

/// The manifest that a data set has, with what tells it from any other that takes its place.
#[derive(Debug, Clone)]
pub struct Head {
    place: Location,
    bytes: Bytes,
    version: Version,
}

impl Head {
    /// The manifest of the data set at `root`, if there is one. Whether it can be understood is not looked at.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn find(root: &Location) -> Result<Option<Self>> {
        let place = root.join("manifest.json");
        let found = place.get_version().await?;
        Ok(found.map(|(bytes, version)| Self {
            place,
            bytes,
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
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Puts another manifest in its place; `false` says that there is one already, or none any longer.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Lock`] for a local manifest that cannot be locked.
    pub(super) async fn replace(&self, next: &Manifest) -> Result<bool> {
        if let Some(path) = self.place.local_path() {
            return self.replace_local(path, next).await;
        }
        self.place.put_over(next.to_json(), &self.version).await
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
