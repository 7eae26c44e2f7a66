//! Reads, writes and removes the object at a location.

use std::ops::Range;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{GetOptions, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use super::Location;
use crate::{Error, Result};

impl Location {
    /// The object's bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is no such object.
    pub async fn get(&self) -> Result<Bytes> {
        let answer = async { self.store.get(self.path()).await?.bytes().await };
        answer.await.map_err(|source| self.io("reading", source))
    }

    /// The object's bytes, or nothing when there is no such object.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn get_opt(&self) -> Result<Option<Bytes>> {
        match self.get().await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Io {
                source: object_store::Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a range of the object's bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also when there are fewer.
    pub async fn get_range(&self, range: Range<u64>) -> Result<Bytes> {
        let answer = self.store.get_range(self.path(), range.clone()).await;
        let bytes = answer.map_err(|source| self.io("reading", source))?;
        self.whole(&range, bytes)
    }

    /// Reads bytes of the object from `start` on, until `into` is full.
    ///
    /// # Errors
    /// As [`Location::get_range`].
    pub(crate) async fn read_range(&self, start: u64, into: &mut [u8]) -> Result<()> {
        let range = start..start + into.len() as u64;
        let failed = |source| self.io("reading", source);
        let options = GetOptions::new().with_range(Some(range.clone()));
        let answer = self.store.get_opts(self.path(), options).await;
        let mut stream = answer.map_err(failed)?.into_stream();
        let mut found = 0;
        while let Some(bytes) = stream.try_next().await.map_err(failed)? {
            let Some(room) = into.get_mut(found..found + bytes.len()) else {
                return Err(self.short(&range, found + bytes.len()));
            };
            room.copy_from_slice(&bytes);
            found += bytes.len();
        }
        match found == into.len() {
            true => Ok(()),
            false => Err(self.short(&range, found)),
        }
    }

    /// Several ranges of the object's bytes; those that lie close together are one request.
    ///
    /// # Errors
    /// As [`Location::get_range`].
    pub async fn get_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let answer = self.store.get_ranges(self.path(), ranges).await;
        let parts = answer.map_err(|source| self.io("reading", source))?;
        let parts = ranges.iter().zip(parts);
        parts
            .map(|(range, bytes)| self.whole(range, bytes))
            .collect()
    }

    /// The object's size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is no such object.
    pub async fn size(&self) -> Result<u64> {
        let answer = self.store.head(self.path()).await;
        Ok(answer
            .map_err(|source| self.io("looking for", source))?
            .size)
    }

    /// A store may end an answer early without an error.
    fn whole(&self, range: &Range<u64>, bytes: Bytes) -> Result<Bytes> {
        let expected = range.end.saturating_sub(range.start);
        match bytes.len() as u64 == expected {
            true => Ok(bytes),
            false => Err(self.short(range, bytes.len())),
        }
    }

    fn short(&self, range: &Range<u64>, found: usize) -> Error {
        Error::Short {
            object: self.to_string(),
            start: range.start,
            end: range.end,
            found,
        }
    }

    /// Writes an object whole, over any that is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[tracing::instrument(name = "write", level = "debug", skip_all, fields(object = %self))]
    pub async fn put(&self, bytes: impl Into<PutPayload>) -> Result<()> {
        let answer = self.store.put(self.path(), bytes.into()).await;
        answer
            .map(drop)
            .map_err(|source| self.io("writing", source))
    }

    /// Writes an object whole unless there is one: `false` says that there was.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[tracing::instrument(name = "write new", level = "debug", skip_all, fields(object = %self))]
    pub async fn put_new(&self, bytes: impl Into<PutPayload>) -> Result<bool> {
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(self.path(), bytes.into(), options)
            .await
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(self.io("writing", source)),
        }
    }

    /// Removes the object; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn delete(&self) -> Result<()> {
        match self.store.delete(self.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.io("deleting", source)),
        }
    }

    /// Moves an object to another place in the same store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn rename(&self, to: &Self) -> Result<()> {
        let answer = self.store.rename(self.path(), to.path()).await;
        answer.map_err(|source| self.io("renaming", source))
    }

    /// Whether there is such an object.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn exists(&self) -> Result<bool> {
        match self.store.head(self.path()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(self.io("looking for", source)),
        }
    }
}
