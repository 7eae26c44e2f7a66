//! A place for objects: a URL and the object store behind it.

mod bucket;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use url::Url;

use crate::{Error, Result};

/// A folder or an object, on a disk, in memory or in a bucket.
///
/// Written as a path, `file://`, `s3://`, `gs://`, `az://`, `https://` (to read) or `memory://`.
/// Credentials and endpoints of buckets come from the environment: `AWS_ACCESS_KEY_ID`,
/// `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, ...;
/// [`Location::parse_with`] takes them by hand.
#[derive(Debug, Clone)]
pub struct Location {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The URL of the store's root without a trailing slash; empty for the local disk.
    root: String,
    local: bool,
}

impl Location {
    /// Reads a path or URL. Nothing need be there yet.
    ///
    /// # Errors
    /// [`Error::Location`] for an unknown scheme, a bad URL or unusable settings.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, &[])
    }

    /// Like [`Location::parse`], with settings of the bucket by the names of `object_store`, such as
    /// `aws_endpoint` or `google_service_account`. They win over the environment.
    ///
    /// # Errors
    /// As [`Location::parse`]; also for a setting that this kind of place does not know.
    pub fn parse_with(text: &str, options: &[(String, String)]) -> Result<Self> {
        let bad = |reason: String| Error::Location {
            text: text.to_owned(),
            reason,
        };
        match Url::parse(text) {
            Ok(url) if url.scheme() == "file" => {
                let path = url
                    .to_file_path()
                    .map_err(|()| bad("not a local path".into()))?;
                Self::local(&path).map_err(bad)
            }
            Ok(url) if url.scheme() == "memory" => Ok(Self::in_memory(url.path())),
            Ok(url) if url.has_host() => Self::remote(&url, options).map_err(bad),
            _ if text.is_empty() => Err(bad("it is empty".into())),
            _ => Self::local(std::path::Path::new(text)).map_err(bad),
        }
    }

    /// A place in a store that the caller made; `root` is the URL that errors show.
    pub fn from_store(store: Arc<dyn ObjectStore>, path: Path, root: impl Into<String>) -> Self {
        Self {
            store,
            path,
            root: root.into(),
            local: false,
        }
    }

    fn in_memory(path: &str) -> Self {
        Self::from_store(Arc::new(InMemory::new()), Path::from(path), "memory:/")
    }

    fn local(path: &std::path::Path) -> Result<Self, String> {
        let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
        Ok(Self {
            // Writes go to a temporary file that is renamed into place.
            store: Arc::new(LocalFileSystem::new()),
            path: Path::from_absolute_path(normal(&absolute)).map_err(|error| error.to_string())?,
            root: String::new(),
            local: true,
        })
    }

    fn remote(url: &Url, options: &[(String, String)]) -> Result<Self, String> {
        let (store, path) = bucket::open(url, options).map_err(|error| error.to_string())?;
        let root = url.as_str().trim_end_matches('/');
        let root = root.strip_suffix(path.as_ref()).unwrap_or(root);
        Ok(Self {
            store,
            path,
            root: root.trim_end_matches('/').to_owned(),
            local: false,
        })
    }

    /// A place below this one; `/` separates folders.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        let mut place = self.clone();
        for part in below.split('/').filter(|part| !part.is_empty()) {
            place.path = place.path.join(part);
        }
        place
    }

    /// The object's bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also when there is no such object.
    pub async fn get(&self) -> Result<Bytes> {
        let answer = async { self.store.get(&self.path).await?.bytes().await };
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

    /// Some of the object's bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also when there are fewer.
    pub async fn get_range(&self, range: Range<u64>) -> Result<Bytes> {
        let answer = self.store.get_range(&self.path, range.clone()).await;
        let bytes = answer.map_err(|source| self.io("reading", source))?;
        self.whole(&range, bytes)
    }

    /// Some of the object's bytes, into memory that is there already.
    ///
    /// # Errors
    /// As [`Location::get_range`].
    pub(crate) async fn read_range(&self, start: u64, into: &mut [u8]) -> Result<()> {
        let range = start..start + into.len() as u64;
        let failed = |source| self.io("reading", source);
        let options = GetOptions::new().with_range(Some(range.clone()));
        let answer = self.store.get_opts(&self.path, options).await;
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
        let answer = self.store.get_ranges(&self.path, ranges).await;
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
        let answer = self.store.head(&self.path).await;
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
    pub async fn put(&self, bytes: impl Into<PutPayload>) -> Result<()> {
        let answer = self.store.put(&self.path, bytes.into()).await;
        answer
            .map(drop)
            .map_err(|source| self.io("writing", source))
    }

    /// Writes an object whole unless there is one: `false` says that there was.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn put_new(&self, bytes: impl Into<PutPayload>) -> Result<bool> {
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&self.path, bytes.into(), options).await {
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
        match self.store.delete(&self.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.io("deleting", source)),
        }
    }

    /// Moves an object to another place in the same store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn rename(&self, to: &Self) -> Result<()> {
        let answer = self.store.rename(&self.path, &to.path).await;
        answer.map_err(|source| self.io("renaming", source))
    }

    /// Whether there is such an object.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn exists(&self) -> Result<bool> {
        match self.store.head(&self.path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(self.io("looking for", source)),
        }
    }

    /// Every object below, at any depth, in the order of their paths.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list(&self) -> Result<Vec<Self>> {
        let found = self.list_sizes().await?.into_iter();
        Ok(found.map(|(place, _)| place).collect())
    }

    /// Every object below with its size in bytes, in the order of their paths.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list_sizes(&self) -> Result<Vec<(Self, u64)>> {
        let found = self.list_objects().await?.into_iter();
        let place = |object: ObjectMeta| Self {
            path: object.location,
            ..self.clone()
        };
        let sized = |object: ObjectMeta| {
            let size = object.size;
            (place(object), size)
        };
        Ok(found.map(sized).collect())
    }

    /// What the store's listing says of every object below, at any depth, in the order of their paths.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn list_objects(&self) -> Result<Vec<ObjectMeta>> {
        let mut found: Vec<_> = match self.store.list(Some(&self.path)).try_collect().await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(source) => return Err(self.io("listing", source)),
        };
        found.sort_by(|a: &ObjectMeta, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Where the object lies on the local disk, if it does.
    #[must_use]
    pub fn local_path(&self) -> Option<PathBuf> {
        self.local.then(|| PathBuf::from(format!("/{}", self.path)))
    }

    /// URL of the store that the place lies in, without a path: `file://`, `s3://bucket`. Stores of a
    /// kind of their own, such as memory, have one for all.
    #[must_use]
    pub fn store_url(&self) -> String {
        if self.local {
            return "file://".into();
        }
        match Url::parse(&self.root) {
            Ok(url) if url.has_host() => format!("{}://{}", url.scheme(), url.authority()),
            Ok(url) => format!("{}://store", url.scheme()),
            Err(_) => "store://store".into(),
        }
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.path.filename()
    }

    /// The path below `folder`, if it lies there.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Option<String> {
        let parts: Vec<_> = self.path.prefix_match(&folder.path)?.collect();
        Some(
            parts
                .iter()
                .map(AsRef::as_ref)
                .collect::<Vec<_>>()
                .join("/"),
        )
    }

    /// The store behind it.
    #[must_use]
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path within the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, action: &'static str, source: object_store::Error) -> Error {
        Error::Io {
            action,
            object: self.to_string(),
            source,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root, self.path)
    }
}

/// Resolves `.` and `..` by the text alone: the place need not exist.
fn normal(path: &std::path::Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_path_need_not_exist() {
        let place = Location::parse("/no/such/../folder/ds").unwrap();
        assert_eq!(place.to_string(), "/no/folder/ds");
        assert_eq!(place.local_path().unwrap(), PathBuf::from("/no/folder/ds"));
        assert_eq!(
            place.join("train/0.arrow").to_string(),
            "/no/folder/ds/train/0.arrow"
        );
    }

    #[test]
    fn a_bucket_keeps_its_url() {
        let place = Location::parse("s3://bucket/some/ds").unwrap();
        assert_eq!(place.to_string(), "s3://bucket/some/ds");
        assert_eq!(
            place.join("manifest.json").to_string(),
            "s3://bucket/some/ds/manifest.json"
        );
        assert_eq!(place.local_path(), None);
    }

    #[test]
    fn settings_by_hand_are_known_or_refused() {
        let option = |key: &str| vec![(key.to_owned(), "http://127.0.0.1:9".to_owned())];
        assert!(Location::parse_with("s3://bucket/ds", &option("aws_endpoint")).is_ok());
        let error = Location::parse_with("s3://bucket/ds", &option("aws_endpiont")).unwrap_err();
        assert!(error.to_string().contains("aws_endpiont"), "{error}");
    }

    #[test]
    fn an_unknown_scheme_is_refused() {
        assert!(Location::parse("gopher://host/path").is_err());
        assert!(Location::parse("").is_err());
    }

    /// What holds of every kind of place.
    async fn conforms(place: &Location) {
        let object = place.join("a/b");
        assert_eq!(object.get_opt().await.unwrap(), None);
        assert!(object.put_new("one").await.unwrap());
        assert!(!object.put_new("two").await.unwrap());
        assert_eq!(object.get().await.unwrap(), "one");
        assert_eq!(place.list().await.unwrap()[0].below(place).unwrap(), "a/b");

        object.put("abcdefgh").await.unwrap();
        assert_eq!(object.size().await.unwrap(), 8);
        assert_eq!(object.get_range(2..5).await.unwrap(), "cde");
        assert_eq!(object.get_ranges(&[6..8, 0..1]).await.unwrap(), ["gh", "a"]);
        assert!(object.get_range(6..9).await.is_err());
        let mut room = [0; 3];
        object.read_range(1, &mut room).await.unwrap();
        assert_eq!(&room, b"bcd");
        assert!(place.join("none").size().await.is_err());

        object.rename(&place.join("c & d")).await.unwrap();
        assert!(!object.exists().await.unwrap());
        assert_eq!(place.join("c & d").get().await.unwrap(), "abcdefgh");
        place.join("c & d").delete().await.unwrap();
        place.join("c & d").delete().await.unwrap();

        let racing = (0..16).map(|i| {
            let object = place.join("race");
            tokio::spawn(async move { object.put_new(format!("{i}")).await.unwrap() })
        });
        let won = futures::future::join_all(racing).await;
        assert_eq!(
            won.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
            1
        );
        place.join("race").delete().await.unwrap();

        // More than one page of a list.
        for i in 0..230 {
            place.join(&format!("many/{i:03}")).put("x").await.unwrap();
        }
        let many = place.join("many").list().await.unwrap();
        assert_eq!((many.len(), many[229].name()), (230, Some("229")));
    }

    #[tokio::test]
    async fn a_disk_memory_and_buckets_conform() {
        let folder = tempfile::tempdir().unwrap();
        let server = wellspring_s3_testing::Server::start().unwrap();
        conforms(&Location::parse(folder.path().to_str().unwrap()).unwrap()).await;
        conforms(&Location::parse("memory://").unwrap()).await;
        conforms(&Location::parse_with("s3://bucket/below", &server.settings()).unwrap()).await;
        let google = Location::parse_with("gs://other/below", &server.google_settings());
        conforms(&google.unwrap()).await;
    }
}
