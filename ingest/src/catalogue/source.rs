//! The HDF5 files of a source: where they are, and access to their bytes.

mod listing;

use std::sync::Arc;

use tokio::sync::OnceCell;
use wellspring_store::{Contents, Location, Split};

use self::listing::{Listing, SkippedFiles, is_hdf5, objects};
use crate::source::Access;
use crate::source::remote::Remote;
use crate::well::{OpenFile, WellFile};
use crate::{Error, Result};

/// The files of a source by split, in the order of their names.
#[derive(Debug)]
pub(crate) struct SourceFiles {
    pub(crate) files: Vec<SourceFile>,
    /// What is not taken.
    pub(crate) rest: SkippedFiles,
}

/// An HDF5 file of a source.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) split: Split,
    place: Location,
    /// Path of the file below the source.
    pub(crate) below: String,
    /// Whether it has no bytes, as far as a list says.
    is_empty: bool,
    /// Found when it is first opened. What was fetched of it stays at hand from one pass to the next.
    remote: OnceCell<Arc<Remote>>,
}

impl SourceFiles {
    /// Lists a folder (`data/train/*.hdf5`, `train/*.hdf5`, or `*.hdf5`, all of which then train),
    /// or takes a single file. Files that one of the patterns is of are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn list(place: &Location, exclude: &[String]) -> Result<Self> {
        if place.name().is_some_and(is_hdf5) {
            return Ok(Self {
                files: vec![SourceFile::single(place.clone())],
                rest: SkippedFiles::default(),
            });
        }
        let mut listing = Listing::new(place, exclude);
        let (objects, unnameable) = objects(place).await?;
        listing.rest.unnameable = unnameable;
        for (object, bytes) in objects {
            listing.add(object, bytes);
        }
        Ok(listing.source())
    }

    /// Whether there is something to read.
    ///
    /// # Errors
    /// [`Error::NoFiles`], if so.
    pub(crate) fn holds_files(&self, place: &Location) -> Result<()> {
        match self.files.is_empty() {
            false => Ok(()),
            true => Err(Error::NoFiles {
                source_url: place.to_string(),
            }),
        }
    }
}

impl SourceFile {
    /// A file that is the whole source.
    pub(crate) fn single(place: Location) -> Self {
        let below = place.name().unwrap_or_default().to_owned();
        Self::new(Split::Train, place, below)
    }

    fn new(split: Split, place: Location, below: String) -> Self {
        Self {
            split,
            place,
            below,
            is_empty: false,
            remote: OnceCell::new(),
        }
    }

    /// Name of the file in errors and manifests.
    pub(crate) fn named(&self) -> String {
        self.place.to_string()
    }

    /// Name of the file, without folders.
    pub(crate) fn name(&self) -> &str {
        self.place.name().unwrap_or_default()
    }

    /// Size of the file in bytes.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub(crate) async fn bytes(&self) -> Result<u64> {
        match self.access().await? {
            Access::Remote(remote) => Ok(remote.size()),
            Access::Local(_) => Ok(self.place.size().await?),
        }
    }

    /// Reads the structure of the file, and what it holds beside the values of its fields.
    ///
    /// # Errors
    /// [`Error::Empty`]; as [`WellFile::open`], [`WellFile::contents`] and [`Self::access`].
    pub(crate) async fn look(&self) -> Result<(WellFile, Contents)> {
        if self.is_empty || self.place.local_path().is_some() && self.bytes().await? == 0 {
            return Err(Error::Empty { file: self.named() });
        }
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
