//! Where the HDF5 files of a data set are, and how their bytes are had.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;
use wellspring_store::{Contents, Location, Split};

use crate::remote::{self, Remote};
use crate::well::{OpenFile, WellFile};
use crate::{Error, Result};

/// The files of a source by split, in the order of their names.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) files: Vec<SourceFile>,
    /// Objects that are no HDF5, or lie outside the splits.
    pub(crate) ignored: usize,
}

/// One HDF5 file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) split: Split,
    place: Location,
    /// Its path below the source.
    pub(crate) below: String,
    /// Found when it is first opened. What was fetched of it stays at hand from one pass to the next.
    remote: OnceCell<Arc<Remote>>,
}

/// How the bytes of a file are had.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// On the local disk.
    Local(PathBuf),
    /// By ranges.
    Remote(Arc<Remote>),
}

impl Source {
    /// Lists a folder (`data/train/*.hdf5`, `train/*.hdf5`, or `*.hdf5`, all of which then train),
    /// or takes a single file.
    ///
    /// # Errors
    /// [`Error::NoFiles`].
    pub(crate) async fn list(place: &Location) -> Result<Self> {
        if place.name().is_some_and(is_hdf5) {
            return Ok(Self {
                files: vec![SourceFile::single(place.clone())],
                ignored: 0,
            });
        }
        let folder = place.clone();
        let listed = remote::on_network(async move { folder.list().await }).await??;
        let total = listed.len();
        let (mut files, mut described) = (Vec::new(), 0);
        for object in listed {
            let below = object.below(place).unwrap_or_default();
            described += usize::from(below == "stats.yaml");
            if let (Some(split), true) = (split_of(&below), object.name().is_some_and(is_hdf5)) {
                files.push(SourceFile::new(split, object, below));
            }
        }
        if files.is_empty() {
            return Err(Error::NoFiles {
                source_url: place.to_string(),
            });
        }
        files.sort_by_key(|file| file.split);
        Ok(Self {
            ignored: total - files.len() - described,
            files,
        })
    }
}

impl SourceFile {
    /// One that is all there is.
    pub(crate) fn single(place: Location) -> Self {
        let below = place.name().unwrap_or_default().to_owned();
        Self::new(Split::Train, place, below)
    }

    fn new(split: Split, place: Location, below: String) -> Self {
        Self {
            split,
            place,
            below,
            remote: OnceCell::new(),
        }
    }

    /// How errors and manifests call it.
    pub(crate) fn named(&self) -> String {
        self.place.to_string()
    }

    /// Its own name, without folders.
    pub(crate) fn name(&self) -> &str {
        self.place.name().unwrap_or_default()
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub(crate) async fn bytes(&self) -> Result<u64> {
        match self.access().await? {
            Access::Remote(remote) => Ok(remote.size()),
            Access::Local(_) => Ok(self.place.size().await?),
        }
    }

    /// Its structure, and what it holds beside the values of its fields.
    ///
    /// # Errors
    /// As [`WellFile::open`], [`WellFile::contents`] and [`Self::access`].
    pub(crate) async fn look(&self) -> Result<(WellFile, Contents)> {
        self.on_a_thread(|access, named| {
            let file = WellFile::open(access, named)?;
            let contents = file.contents()?;
            Ok((file, contents))
        })
        .await
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// As [`OpenFile::open`] and [`Self::access`].
    pub(crate) async fn open(&self) -> Result<OpenFile> {
        self.on_a_thread(OpenFile::open).await
    }

    /// Does work that waits for the HDF5 library, which may wait for a network.
    pub(crate) async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Access, &str) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (access, named) = (self.access().await?, self.named());
        let work = tokio::task::spawn_blocking(move || work(&access, &named));
        work.await.map_err(Error::task)?
    }

    /// The way to its bytes.
    ///
    /// # Errors
    /// As [`Remote::open`].
    async fn access(&self) -> Result<Access> {
        if let Some(path) = self.place.local_path() {
            return Ok(Access::Local(path));
        }
        let open = || async { Ok::<_, Error>(Arc::new(Remote::open(&self.place).await?)) };
        let remote = self.remote.get_or_try_init(open).await?;
        Ok(Access::Remote(Arc::clone(remote)))
    }
}

fn is_hdf5(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".hdf5") || name.ends_with(".h5")
}

/// The split that a path below the source belongs to.
fn split_of(below: &str) -> Option<Split> {
    let parts: Vec<&str> = below.split('/').collect();
    match parts.as_slice() {
        [_] => Some(Split::Train),
        [split, _] | ["data", split, _] => split.parse().ok(),
        _ => None,
    }
}
