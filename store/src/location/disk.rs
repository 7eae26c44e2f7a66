//! Objects as files on a local disk, which a power cut leaves whole.
//!
//! A write creates a temporary file beside the object, syncs it, renames it in one step, and syncs the
//! folder. So a write that has returned is permanent, and an object is never half written. The temporary
//! file is `NAME#1` (or `#2`, ...), which no list shows. It is locked for as long as its writer lives, so
//! the next writer of the name recognizes what a killed one left and removes it.
//!
//! Each step that changes the disk is noted as an [`Operation`]: a test cuts the power after every one of them.
//!
//! `WELLSPRING_SYNC=off` turns syncing off, for disks that lose nothing or data that may be lost.
#![allow(clippy::disallowed_methods, reason = "what Location does on a disk")]

mod operation;
mod staged;

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

pub(crate) use operation::Operation;
pub(crate) use staged::remove;
use staged::{delete, write};
pub use staged::{is_at, move_into_place, remove_left, sync_folder};

/// Deletions at a time.
const DELETIONS: usize = 10;

/// The files of a machine.
#[derive(Debug)]
pub(super) struct DiskStore {
    files: LocalFileSystem,
}

impl DiskStore {
    pub(super) fn new() -> Self {
        Self {
            files: LocalFileSystem::new(),
        }
    }
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for DiskStore {
    async fn put_opts(
        &self,
        key: &Key,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let path = self.files.path_to_filesystem(key)?;
        let new = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return self.files.put_opts(key, payload, options).await,
        };
        let written = tokio::task::spawn_blocking(move || {
            write(&path, new, |file| {
                payload.iter().try_for_each(|bytes| file.write_all(bytes))
            })
            .map_err(|source| failed(&path, source))
        });
        written.await??;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.files.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(key, options).await
    }

    async fn get_ranges(
        &self,
        key: &Key,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.files.get_ranges(key, ranges).await
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        keys.map(|key| async {
            let key = key?;
            let path = LocalFileSystem::new().path_to_filesystem(&key)?;
            let delete = move || delete(&path).map_err(|source| failed(&path, source));
            tokio::task::spawn_blocking(delete).await??;
            Ok(key)
        })
        .buffered(DELETIONS)
        .boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    let path = path.display().to_string();
    match source.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: source.into(),
        },
        ErrorKind::NotFound => Error::NotFound {
            path,
            source: source.into(),
        },
        ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: source.into(),
        },
        _ => Error::Generic {
            store: "LocalFileSystem",
            source: source.into(),
        },
    }
}
