//! The files of a repository of the hub, as a read-only object store.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use reqwest::header::{CONTENT_RANGE, LINK};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::Repository;
use super::client::{Client, Refusal, network};

/// A repository of the hub. It resolves its revision once, on the first request.
#[derive(Debug)]
pub(in super::super) struct HubStore(Arc<Files>);

#[derive(Debug)]
struct Files {
    repository: Repository,
    client: Client,
    /// What the revision meant when it was first asked for: a branch that moves does not mix files.
    commit: OnceCell<String>,
    /// URLs of files, after redirects.
    found: Mutex<HashMap<Path, Url>>,
}

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// An entry of a tree.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
}

impl HubStore {
    pub(super) fn new(repository: Repository, client: Client) -> Self {
        Self(Arc::new(Files {
            repository,
            client,
            commit: OnceCell::new(),
            found: Mutex::default(),
        }))
    }

    /// What the revision means to this store.
    ///
    /// # Errors
    /// When the hub does not say.
    pub(in super::super) async fn commit(&self) -> Result<&str> {
        self.0.commit().await
    }
}

impl Files {
    async fn commit(&self) -> Result<&str> {
        let ask = || async {
            let revision = self.repository.revision();
            let after = ["revision", &revision];
            let url = self.repository.url(&self.client.endpoint, &["api"], &after);
            let (answer, url) = self.client.get(url, None).await?;
            let revision: Revision = json(&url, answer).await?;
            Ok(revision.sha)
        };
        let commit = self.commit.get_or_try_init(ask).await;
        Ok(commit.map_err(Refusal::general)?)
    }

    /// What is known of a file of this size.
    async fn meta(&self, key: &Path, size: u64) -> Result<ObjectMeta> {
        Ok(ObjectMeta {
            location: key.clone(),
            // The hub does not say when; a commit's files never change.
            last_modified: std::time::UNIX_EPOCH.into(),
            size,
            e_tag: Some(format!("\"{}\"", self.commit().await?)),
            version: None,
        })
    }

    /// URL at which the hub serves a file.
    async fn address(&self, key: &Path) -> Result<Url> {
        let commit = self.commit().await?;
        let mut after = vec!["resolve", commit];
        after.extend(key.as_ref().split('/'));
        Ok(self.repository.url(&self.client.endpoint, &[], &after))
    }

    /// A file, or some of it.
    async fn get(&self, key: &Path, range: Option<&str>) -> Result<(Response, Url)> {
        let found = self.found().get(key).cloned();
        if let Some(url) = found {
            match self.client.get(url, range).await {
                Err(refusal) if refusal.is_stale() => drop(self.found().remove(key)),
                answer => return answer.map_err(|refusal| refusal.about(key)),
            }
        }
        let address = self.address(key).await?;
        let answer = self.client.get(address.clone(), range).await;
        let (answer, url) = answer.map_err(|refusal| refusal.about(key))?;
        if url != address {
            self.found().insert(key.clone(), url.clone());
        }
        Ok((answer, url))
    }

    fn found(&self) -> std::sync::MutexGuard<'_, HashMap<Path, Url>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files and folders below a folder, page by page.
    async fn tree(&self, folder: &Path, recursive: bool) -> Result<Vec<Entry>> {
        let mut after = vec!["tree", self.commit().await?];
        after.extend(folder.as_ref().split('/').filter(|part| !part.is_empty()));
        let mut url = self.repository.url(&self.client.endpoint, &["api"], &after);
        url.set_query(Some(&format!("recursive={recursive}&expand=false")));
        let (mut entries, mut next) = (Vec::new(), Some(url));
        while let Some(url) = next {
            let about = |refusal: Refusal| refusal.about(folder);
            let (answer, url) = self.client.get(url, None).await.map_err(about)?;
            next = next_page(&url, &answer);
            entries.extend(json::<Vec<Entry>>(&url, answer).await.map_err(about)?);
        }
        Ok(entries)
    }
}

async fn json<T: for<'a> Deserialize<'a>>(url: &Url, answer: Response) -> Result<T, Refusal> {
    let bytes = answer
        .bytes()
        .await
        .map_err(|source| network(url, source))?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal::Answer {
        url: url.clone(),
        reason: error.to_string(),
    })
}

/// The URL of `Link: <URL>; rel="next"`.
fn next_page(url: &Url, answer: &Response) -> Option<Url> {
    let links = answer.headers().get(LINK)?.to_str().ok()?;
    let next = links
        .split(',')
        .find(|link| link.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    url.join(rest.split_once('>')?.0).ok()
}

/// First byte, one past the last, and size of `bytes A-B/SIZE`.
fn content_range(answer: &Response) -> Option<(Range<u64>, u64)> {
    let header = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some((start.parse().ok()?..end, size.parse().ok()?))
}

/// Range of a file that an answer has, and the size of the file.
fn extent(url: &Url, answer: &Response, asked: bool) -> Result<(Range<u64>, u64), Refusal> {
    let of_all = || answer.content_length().map(|size| (0..size, size));
    let extent = match (answer.status(), asked) {
        (StatusCode::PARTIAL_CONTENT, _) => content_range(answer),
        (_, false) => of_all(),
        (_, true) => None,
    };
    let reason = match asked {
        true => "the server does not answer a request for a range with one",
        false => "the server does not say how long the file is",
    };
    extent.ok_or_else(|| Refusal::Answer {
        url: url.clone(),
        reason: reason.into(),
    })
}

impl fmt::Display for HubStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.0.repository)
    }
}

#[async_trait]
impl ObjectStore for HubStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let files = &self.0;
        if options.head {
            let size = files.client.size(files.address(location).await?).await;
            let size = size.map_err(|refusal| refusal.about(location))?;
            let meta = files.meta(location, size).await?;
            options.check_preconditions(&meta)?;
            return Ok(result(meta, 0..size, stream::empty().boxed()));
        }
        if let Some(GetRange::Bounded(range)) = &options.range
            && range.is_empty()
        {
            return Err(Error::Generic {
                store: "hub",
                source: format!("no bytes of {location} were asked for").into(),
            });
        }
        let range = options.range.as_ref().map(ToString::to_string);
        let (answer, url) = files.get(location, range.as_deref()).await?;
        let extent = extent(&url, &answer, range.is_some());
        let (found, size) = extent.map_err(|refusal| refusal.about(location))?;
        let meta = files.meta(location, size).await?;
        options.check_preconditions(&meta)?;
        let key = location.clone();
        let bytes = answer.bytes_stream();
        let bytes = bytes.map_err(move |source| network(&url, source).about(&key));
        let bytes = bytes.boxed();
        Ok(result(meta, found, bytes))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let files = Arc::clone(&self.0);
        let folder = prefix.cloned().unwrap_or_default();
        let found = async move {
            let mut objects = Vec::new();
            for entry in files.tree(&folder, true).await? {
                if entry.kind == "file" {
                    let key = Path::parse(&entry.path)?;
                    objects.push(files.meta(&key, entry.size).await?);
                }
            }
            Ok::<_, Error>(stream::iter(objects.into_iter().map(Ok)))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let mut found = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
        };
        for entry in self.0.tree(&folder, false).await? {
            let key = Path::parse(&entry.path)?;
            match entry.kind.as_str() {
                "file" => found.objects.push(self.0.meta(&key, entry.size).await?),
                _ => found.common_prefixes.push(key),
            }
        }
        Ok(found)
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

fn result(
    meta: ObjectMeta,
    range: Range<u64>,
    bytes: BoxStream<'static, Result<Bytes>>,
) -> GetResult {
    GetResult {
        payload: GetResultPayload::Stream(bytes),
        meta,
        range,
        attributes: object_store::Attributes::default(),
    }
}

fn read_only() -> Error {
    Error::NotSupported {
        source: "the hub is only read: write to a disk or a bucket".into(),
    }
}
