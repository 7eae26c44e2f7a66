//! An object store that retries requests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::failure::CutOff;
use super::parts::{self, PartStore};
use super::{Patience, Tries};
use crate::location::bucket::Client;

/// Deletions at a time.
const DELETIONS: usize = 10;

/// A store on a network, met with patience.
#[derive(Debug)]
pub(in crate::location) struct PatientStore {
    inner: Arc<dyn ObjectStore>,
    parts: Option<PartStore>,
    patience: Arc<Patience>,
}

impl PatientStore {
    pub(in crate::location) fn new(client: Client, patience: Arc<Patience>) -> Self {
        let with_parts = |store| PartStore::new(store, Arc::clone(&patience));
        Self {
            inner: client.store,
            parts: client.parts.map(with_parts),
            patience,
        }
    }
}

impl fmt::Display for PatientStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for PatientStore {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if let (Some(parts), PutMode::Overwrite) = (&self.parts, &options.mode)
            && parts::is_large(&payload)
        {
            return parts.put(key, &payload).await;
        }
        let tries = self.patience.tries(options.mode != PutMode::Overwrite);
        let put = || self.inner.put_opts(key, payload.clone(), options.clone());
        tries.run(put).await
    }

    /// Its parts are sent once: this program hands over whole objects, which `put_opts` cuts.
    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begin = || self.inner.put_multipart_opts(key, options.clone());
        self.patience.run(begin).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let get = || self.inner.get_opts(key, options.clone());
        let mut answer = self.patience.run(get).await?;
        if let GetResultPayload::Stream(bytes) = answer.payload {
            let body = Body {
                store: Arc::clone(&self.inner),
                tries: self.patience.tries(false),
                key: key.clone(),
                rest: match options.head {
                    true => 0..0,
                    false => answer.range.clone(),
                },
                options,
                meta: answer.meta.clone(),
                bytes,
            };
            let bytes = stream::try_unfold(body, Body::next).boxed();
            answer.payload = GetResultPayload::Stream(bytes);
        }
        Ok(answer)
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, patience) = (Arc::clone(&self.inner), Arc::clone(&self.patience));
        keys.map(move |key| {
            let (inner, patience) = (Arc::clone(&inner), Arc::clone(&patience));
            async move {
                let key = key?;
                patience.run(|| inner.delete(&key)).await?;
                Ok(key)
            }
        })
        .buffered(DELETIONS)
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, patience) = (Arc::clone(&self.inner), Arc::clone(&self.patience));
        let prefix = prefix.cloned();
        let found = async move {
            let list = || inner.list(prefix.as_ref()).try_collect::<Vec<_>>();
            let found = patience.run(list).await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let list = || self.inner.list_with_delimiter(prefix);
        self.patience.run(list).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let tries = self.patience.tries(options.mode != CopyMode::Overwrite);
        let copy = || self.inner.copy_opts(from, to, options.clone());
        tries.run(copy).await
    }
}

/// An answer's bytes; where it breaks off, the rest is asked for.
struct Body {
    store: Arc<dyn ObjectStore>,
    tries: Tries,
    key: Path,
    options: GetOptions,
    /// Metadata of the object, from the first answer.
    meta: ObjectMeta,
    rest: Range<u64>,
    bytes: BoxStream<'static, Result<Bytes>>,
}

impl Body {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let error = match self.bytes.next().await {
                Some(Ok(bytes)) => {
                    self.rest.start += bytes.len() as u64;
                    if self.tries.made > 0 && !bytes.is_empty() {
                        self.tries.patience.answered();
                        self.tries = self.tries.patience.tries(false);
                    }
                    return Ok(Some((bytes, self)));
                }
                None | Some(Err(_)) if self.rest.start >= self.rest.end => return Ok(None),
                None => self.cut_off(),
                Some(Err(error)) => error,
            };
            self.tries.pause(error).await?;
            self.bytes = match self.go_on().await {
                Ok(bytes) => bytes,
                Err(error) => stream::once(async { Err(error) }).boxed(),
            };
        }
    }

    fn cut_off(&self) -> Error {
        let missing = self.rest.end - self.rest.start;
        Error::Generic {
            store: "network",
            source: Box::new(CutOff { missing }),
        }
    }

    async fn go_on(&mut self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut options = self.options.clone();
        options.range = Some(GetRange::Bounded(self.rest.clone()));
        let answer = self.store.get_opts(&self.key, options).await?;
        let (now, then) = (&answer.meta, &self.meta);
        let is_same = (&now.e_tag, now.size, now.last_modified)
            == (&then.e_tag, then.size, then.last_modified);
        if is_same {
            return Ok(answer.into_stream());
        }
        Err(Error::Precondition {
            path: self.key.to_string(),
            source: "it was replaced while it was read".into(),
        })
    }
}
