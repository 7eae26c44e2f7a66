//! Lists the objects below a location.

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::Location;
use super::address::parse_key;
use crate::Result;

/// The objects below a location, and those whose names cannot be used.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Every object with its size in bytes, at any depth, in the order of their paths.
    pub objects: Vec<(Location, u64)>,
    /// Names of objects that were left out, since no place can be named after them: those with empty
    /// parts (`a//b`) or control characters, and files whose names are not UTF-8.
    pub left_out: Vec<String>,
}

impl Location {
    /// Every object below, at any depth, in the order of their paths.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub async fn list(&self) -> Result<Vec<Self>> {
        let found = self.list_objects().await?.into_iter();
        Ok(found.map(|object| self.at(object.location)).collect())
    }

    /// What the store's listing says of every object below, at any depth, in the order of their paths.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub async fn list_objects(&self) -> Result<Vec<ObjectMeta>> {
        let (objects, left_out) = self.found().await?;
        for name in &left_out {
            tracing::warn!("{self}: {name:?} is left out of the list: no place can have this name");
        }
        Ok(objects)
    }

    /// The place of an object that a listing of the same store found.
    #[must_use]
    pub fn sibling(&self, object: &ObjectMeta) -> Self {
        self.at(object.location.clone())
    }

    /// Every object below with its size, and the names of those that cannot be used.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub async fn listing(&self) -> Result<Listing> {
        let (objects, left_out) = self.found().await?;
        let sized = |object: ObjectMeta| (self.at(object.location), object.size);
        let objects = objects.into_iter().map(sized).collect();
        Ok(Listing { objects, left_out })
    }

    /// The objects below, and the names of those that cannot be used.
    async fn found(&self) -> Result<(Vec<ObjectMeta>, Vec<String>)> {
        let found = self.store.list(Some(self.path())).try_collect().await;
        let mut left_out = self.odd.below(self.path().as_ref());
        let mut objects: Vec<ObjectMeta> = match found {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            // A name on a disk that is not a key ends the whole list.
            Err(object_store::Error::InvalidPath { .. }) if self.local_path().is_some() => {
                let names = self.names_on_disk()?;
                left_out.extend(names.odd);
                self.known(names.keys).await?
            }
            Err(source) => return Err(self.io("listing", source)),
        };
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok((objects, left_out))
    }

    /// What the store says of objects, without those that are there no longer.
    async fn known(&self, keys: Vec<Path>) -> Result<Vec<ObjectMeta>> {
        let heads = futures::stream::iter(keys).map(|key| async move {
            match self.store.head(&key).await {
                Ok(object) => Ok(Some(object)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(source) => Err(self.at(key).io("looking for", source)),
            }
        });
        let found: Vec<Option<ObjectMeta>> = heads.buffered(16).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Names of all files of a folder on the disk.
    fn names_on_disk(&self) -> Result<Names> {
        let mut names = Names::default();
        let folder = self.local_path().unwrap_or_default();
        for entry in walkdir::WalkDir::new(folder).follow_links(true) {
            let entry = match entry {
                Ok(entry) => entry,
                // It went away meanwhile, or is a link that leads nowhere.
                Err(error) if error.io_error().is_some_and(is_missing) => continue,
                Err(error) => return Err(self.io("listing", generic(error))),
            };
            let path = entry.path();
            if !path.is_file() {
                continue;
            }
            match path
                .to_str()
                .map(|text| parse_key(text.trim_start_matches('/')))
            {
                Some(Ok(key)) if is_begun(&key) => {}
                Some(Ok(key)) => names.keys.push(key),
                _ => names.odd.push(path.to_string_lossy().into_owned()),
            }
        }
        Ok(names)
    }
}

#[derive(Default)]
struct Names {
    keys: Vec<Path>,
    odd: Vec<String>,
}

/// Whether it is a file `NAME#NUMBER`, as which the store begins to write `NAME`.
fn is_begun(key: &Path) -> bool {
    let number = key.filename().and_then(|name| name.split_once('#'));
    number.is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

fn generic(error: walkdir::Error) -> object_store::Error {
    object_store::Error::Generic {
        store: "LocalFileSystem",
        source: error.into(),
    }
}
