//! Replaces an object only if it is still the version that was read.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::Location;
use crate::Result;

/// What tells an object from any other that takes its place.
#[derive(Debug, Clone)]
pub struct Version(UpdateVersion);

impl Location {
    /// The object's bytes with their version, or nothing when there is no such object.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub async fn get_version(&self) -> Result<Option<(Bytes, Version)>> {
        let found = match self.store.get(self.path()).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(self.io("reading", source)),
        };
        let version = Version(UpdateVersion {
            e_tag: found.meta.e_tag.clone(),
            version: found.meta.version.clone(),
        });
        let bytes = found.bytes().await;
        let bytes = bytes.map_err(|source| self.io("reading", source))?;
        Ok(Some((bytes, version)))
    }

    /// Writes an object over the one of a version: `false` says that another is there by now, or none.
    /// A disk cannot compare and write in one step; there a lock is needed instead.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), always on a disk.
    pub async fn put_over(&self, bytes: impl Into<PutPayload>, version: &Version) -> Result<bool> {
        use object_store::Error::{AlreadyExists, NotFound, Precondition};
        let options = PutOptions::from(PutMode::Update(version.0.clone()));
        let written = self.store.put_opts(self.path(), bytes.into(), options);
        match written.await {
            Ok(_) => Ok(true),
            Err(Precondition { .. } | AlreadyExists { .. } | NotFound { .. }) => Ok(false),
            Err(source) => Err(self.io("writing", source)),
        }
    }
}
