//! [`Location`]: a path or URL, and the object store behind it.

mod address;
mod bucket;
mod client;
mod disk;
mod file_lock;
mod hub;
pub(crate) mod leftovers;
mod listing;
mod mask;
mod objects;
mod odd_keys;
mod patience;
mod profile;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;
mod version;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use mask::masked;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

#[cfg(test)]
pub(crate) use self::disk::Operation;
pub(crate) use self::disk::remove;
pub use self::disk::{is_at, move_into_place, remove_left, sync_folder};
pub use self::file_lock::FileLock;
pub use self::leftovers::begun_name;
pub use self::listing::Listing;
pub(crate) use self::patience::rounded;
pub use self::patience::{DEFAULT_RETRY_FOR, report_outages};
pub use self::version::Version;

use self::address::{Address, Kind};
use self::bucket::Client;
use self::disk::DiskStore;
use self::hub::HubStore;
use self::odd_keys::OddKeys;
use self::patience::{GaveUp, Patience, PatientStore};
use crate::{Error, Result, with_causes};

/// The location of a folder or an object: on a disk, in memory, in a bucket, behind a web server, or on the
/// hub of Hugging Face.
///
/// Rules by which a text becomes a location:
///
/// | text                               | what follows the root             | access         |
/// |------------------------------------|-----------------------------------|----------------|
/// | `path`                             | the path, literally               | read and write |
/// | `file://`                          | by the rules of URLs              | read and write |
/// | `memory:///KEY`                    | the key, literally                | read and write |
/// | `s3://BUCKET/KEY`, `gs://`, `az://` | the key, literally               | read and write |
/// | `hf://datasets/OWNER/NAME[@REV]/KEY` | the file's path, literally      | read           |
/// | `http://`, `https://`              | by the rules of URLs              | read           |
///
/// Literally: nothing is decoded, and `#`, `?`, `%`, `+` and spaces are ordinary characters, so
/// `s3://b/res#1` and `s3://b/res#2` are two locations. By the rules of URLs: `%20` is a space, and a query,
/// a fragment or `%2F` are refused, since they would be lost. One slash at the end changes nothing. Texts
/// that cannot be kept exactly are refused, too: empty parts (`a//b`), control characters, and `.` and `..`,
/// except in paths and URLs of the web, where they are resolved in the text. The output of
/// [`Display`](fmt::Display) can be parsed again and gives an equal location.
///
/// Credentials and endpoints of buckets come from the environment: `AWS_ACCESS_KEY_ID`,
/// `AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, `HF_TOKEN`, ...;
/// [`Location::parse_with`] takes them as arguments. If there are none for S3, the profile `AWS_PROFILE` of
/// `~/.aws` is used.
///
/// A request to a store on a network is retried after a temporary failure, for [`DEFAULT_RETRY_FOR`] or the
/// time in the setting `retry_for` (`90s`, `1h`; `0s` is never); [`report_outages`] sets who is informed. A large
/// object goes to a bucket in parts and appears there with the last of them.
#[derive(Debug, Clone)]
pub struct Location {
    store: Arc<dyn ObjectStore>,
    address: Address,
    /// What its lists left out.
    odd: Arc<OddKeys>,
    /// The store, if it is the hub.
    hub: Option<Arc<HubStore>>,
    /// Retry policy of a store on a network.
    patience: Option<Arc<Patience>>,
}

impl Location {
    /// Parses a path or URL. Nothing needs to exist there yet.
    ///
    /// # Errors
    /// [`Error::Location`] for an unknown scheme, a bad URL or unusable settings.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, &[])
    }

    /// [`Location::parse`] with settings of the store by the names of `object_store`, such as
    /// `aws_endpoint` or `google_service_account`, or `hf_token`. They override the environment. Settings
    /// for other kinds of stores are ignored.
    ///
    /// # Errors
    /// As [`Location::parse`]; also for a setting that no kind of store knows.
    pub fn parse_with(text: &str, options: &[(String, String)]) -> Result<Self> {
        let bad = |reason: String| Error::Location {
            text: masked(text).into_owned(),
            reason: masked(&reason).into_owned(),
        };
        let address = Address::parse(text).map_err(bad)?;
        let (odd, mut hub, mut patience) = (Arc::default(), None, None);
        let failed = |error: object_store::Error| bad(with_causes(&error));
        let mut patiently = |client: Client| -> Result<Arc<dyn ObjectStore>> {
            let with = Patience::with(&address.root, options).map_err(failed)?;
            patience = Some(Arc::clone(&with));
            Ok(Arc::new(PatientStore::new(client, with)))
        };
        let store: Arc<dyn ObjectStore> = match &address.kind {
            // Its writes are whole or not there, and last.
            Kind::Disk => Arc::new(DiskStore::new()),
            Kind::Memory => Arc::new(InMemory::new()),
            Kind::Bucket | Kind::Web => {
                patiently(bucket::open(&address, options, &odd).map_err(failed)?)?
            }
            Kind::Hub(repository) => {
                let opened = hub::open(repository, options).map_err(failed)?;
                hub = Some(Arc::clone(&opened));
                patiently(Client::without_parts(opened))?
            }
        };
        Ok(Self {
            store,
            address,
            odd,
            hub,
            patience,
        })
    }

    /// A location in a store that the caller made; `root` is the URL that errors show.
    pub fn from_store(store: Arc<dyn ObjectStore>, path: Path, root: impl Into<String>) -> Self {
        Self {
            store,
            address: Address {
                kind: Kind::Memory,
                root: root.into(),
                key: path,
            },
            odd: Arc::default(),
            hub: None,
            patience: None,
        }
    }

    /// A location below this one; `/` separates folders. Parts that no key can hold, such as `..`, are
    /// percent-encoded.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        let mut place = self.clone();
        place.address.join(below);
        place
    }

    /// The place under a name that keeps its meaning: a branch of the hub becomes the commit that it was
    /// when it was first asked for something. Other places are what they are.
    ///
    /// # Errors
    /// [`Error::Io`] when the hub does not say what the branch is.
    pub async fn pinned(&self) -> Result<Self> {
        let mut place = self.clone();
        if let (Kind::Hub(repository), Some(hub)) = (&self.address.kind, &self.hub) {
            let commit = match &self.patience {
                Some(patience) => patience.run(|| hub.commit()).await,
                None => hub.commit().await,
            };
            let commit = commit.map_err(|source| self.io("looking for", source))?;
            let repository = repository.at(commit);
            place.address.root = format!("hf://{repository}");
            place.address.kind = Kind::Hub(repository);
        }
        Ok(place)
    }

    /// Another place in the same store.
    fn at(&self, key: Path) -> Self {
        let mut place = self.clone();
        place.address.key = key;
        place
    }

    /// Path of the object on the local disk, if it is there.
    #[must_use]
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.address.kind == Kind::Disk).then(|| PathBuf::from(format!("/{}", self.path())))
    }

    /// URL of the store that the place lies in, without a path: `file://`, `s3://bucket`. Stores of a
    /// kind of their own, such as memory, have one for all.
    #[must_use]
    pub fn store_url(&self) -> String {
        let root = &self.address.root;
        match (&self.address.kind, root.split_once(':')) {
            (Kind::Disk, _) => "file://".into(),
            (Kind::Hub(repository), _) => {
                let name = repository.to_string().replace(['/', '@', '%'], ".");
                format!("hf://{name}")
            }
            (Kind::Bucket | Kind::Web, Some((scheme, rest))) => {
                let authority = rest.trim_start_matches('/').split('/').next();
                format!("{scheme}://{}", authority.unwrap_or_default())
            }
            (_, Some((scheme, _))) => format!("{scheme}://store"),
            (_, None) => "store://store".into(),
        }
    }

    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.path().filename()
    }

    /// The path below `folder`, if it lies there.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Option<String> {
        let parts: Vec<_> = self.path().prefix_match(folder.path())?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        Some(parts.join("/"))
    }

    /// The store behind it.
    #[must_use]
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path within the store: what was typed, nothing in it encoded.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.address.key
    }

    /// Requests to its store that were made again, of all places in it that came from this one.
    pub(crate) fn retries(&self) -> u64 {
        let patience = self.patience.as_ref();
        patience.map_or(0, |patience| patience.retries())
    }

    /// An error of the store, about this place.
    pub(crate) fn io(&self, action: &'static str, source: object_store::Error) -> Error {
        let object = self.to_string();
        let object_store::Error::Generic { store, source } = source else {
            return Error::Io {
                action,
                object,
                source,
            };
        };
        match source.downcast::<GaveUp>() {
            Ok(gave_up) => Error::GaveUp {
                action,
                object,
                tries: gave_up.tries,
                waited: gave_up.waited,
                source: Box::new(gave_up.source),
            },
            Err(source) => Error::Io {
                action,
                object,
                source: object_store::Error::Generic { store, source },
            },
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
