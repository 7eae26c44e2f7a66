//! One HDF5 file in The Well's layout: what it holds, and its frames one by one.
//!
//! The HDF5 library, which does one thing at a time, says what a file holds and where; the values
//! themselves are read by their offsets and decoded on any number of threads. A remote file is read the
//! same way, for the library reads every file through a driver of ours.

mod attributes;
mod block;
mod boundary;
mod contents;
mod describe;
mod driver;
mod enclosed;
mod filters;
mod gather;
mod heap;
mod planes;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;

use hdf5::{Dataset, File};
use wellspring_store::{Contents, Field, Schema, TensorOrder};

pub(crate) use gather::Cell;
pub(crate) use planes::{FieldReader, Slab};

use self::storage::Storage;
use crate::extents::ReadAt;
use crate::source::Access;
use crate::{Error, Result};

/// The groups of fields, by rank.
const GROUPS: [(&str, TensorOrder); 3] = [
    ("t0_fields", TensorOrder::Scalar),
    ("t1_fields", TensorOrder::Vector),
    ("t2_fields", TensorOrder::Tensor),
];

/// An open file whose structure was checked.
#[derive(Debug)]
pub(crate) struct WellFile {
    /// How errors call it.
    pub(crate) named: String,
    access: Access,
    file: File,
    pub(crate) schema: Schema,
    pub(crate) stored: Vec<StoredField>,
    pub(crate) samples: usize,
    pub(crate) frames: usize,
    /// One list for each sample, or one for all.
    times: Vec<Vec<f64>>,
    scalars: BTreeMap<String, Scalar>,
}

/// A file whose fields can be read.
pub(crate) struct OpenFile {
    pub(crate) well: WellFile,
    /// Of each field.
    storage: Vec<Storage>,
    bytes: Arc<dyn ReadAt>,
}

impl OpenFile {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`WellFile::open`], and [`Error::Read`].
    pub(crate) fn open(access: &Access, named: &str) -> Result<Self> {
        let well = WellFile::open(access, named)?;
        let fields = well.stored.iter();
        let storage = fields.map(|field| Storage::of(&well.file, field, named));
        Ok(Self {
            storage: access.sound(named, storage.collect())?,
            bytes: access.bytes().map_err(|source| unread(named, source))?,
            well,
        })
    }
}

impl Access {
    /// Lets the HDF5 library open the file.
    fn library(&self) -> hdf5::Result<File> {
        let bytes = self.bytes().map_err(|error| error.to_string())?;
        driver::open(bytes)
    }

    fn bytes(&self) -> std::io::Result<Arc<dyn ReadAt>> {
        match self {
            Self::Local(path) => Ok(Arc::new(std::fs::File::open(path)?)),
            Self::Remote(remote) => Ok(Arc::clone(remote) as _),
        }
    }

    /// What the library found, unless some of the bytes did not come: what it says then is not to be
    /// trusted, even where it says that all is well.
    fn sound<T>(&self, named: &str, found: Result<T>) -> Result<T> {
        match self {
            Self::Remote(remote) => match remote.failure() {
                Some(source) => Err(unread(named, source)),
                None => found,
            },
            Self::Local(_) => found,
        }
    }
}

fn unread(named: &str, source: std::io::Error) -> Error {
    Error::Bytes {
        file: named.to_owned(),
        object: "the file".into(),
        source,
    }
}

/// A field as it lies in the file: axes on which it does not vary are absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredField {
    pub(crate) field: Field,
    /// "t0_fields/pressure".
    path: String,
    dim_varying: Vec<bool>,
}

/// A number for each sample and frame, as far as it varies.
#[derive(Debug)]
struct Scalar {
    sample_varying: bool,
    time_varying: bool,
    values: Vec<f64>,
}

impl WellFile {
    /// Opens a file and checks its structure; `named` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Layout`], [`Error::Read`], [`Error::Bytes`].
    pub(crate) fn open(access: &Access, named: &str) -> Result<Self> {
        let file = access.library().map_err(|source| Error::Open {
            file: named.to_owned(),
            source,
        });
        let described = file.and_then(|file| {
            enclosed::check(&file, named)?;
            describe::describe(file, access, named)
        });
        access.sound(named, described)
    }

    /// Everything that the file holds beside the values of its fields.
    ///
    /// # Errors
    /// As [`contents::read`].
    pub(crate) fn contents(&self) -> Result<Contents> {
        self.access.sound(&self.named, contents::read(self))
    }

    /// Times of a sample's frames.
    pub(crate) fn times(&self, sample: usize) -> &[f64] {
        self.times.get(sample).unwrap_or(&self.times[0])
    }

    /// Scalars of a sample that do not vary in time.
    pub(crate) fn parameters(&self, sample: usize) -> BTreeMap<String, f64> {
        let constant = self
            .scalars
            .iter()
            .filter(|(_, scalar)| !scalar.time_varying);
        let value = |scalar: &Scalar| scalar.values[if scalar.sample_varying { sample } else { 0 }];
        constant
            .map(|(name, scalar)| (name.clone(), value(scalar)))
            .collect()
    }

    /// Scalars of a sample that vary in time, a value for each frame.
    pub(crate) fn series(&self, sample: usize) -> BTreeMap<String, Vec<f64>> {
        let varying = self
            .scalars
            .iter()
            .filter(|(_, scalar)| scalar.time_varying);
        let values = |scalar: &Scalar| {
            let start = if scalar.sample_varying {
                sample * self.frames
            } else {
                0
            };
            scalar.values[start..start + self.frames].to_vec()
        };
        varying
            .map(|(name, scalar)| (name.clone(), values(scalar)))
            .collect()
    }

    /// Whether another file can be of the same data set.
    pub(crate) fn fits(&self, other: &Self) -> Result<()> {
        let mixed = |reason: String| {
            Err(Error::Mixed {
                file: other.named.clone(),
                other: self.named.clone(),
                reason,
            })
        };
        if self.schema.grid.shape() != other.schema.grid.shape() {
            let shapes = (self.schema.grid.shape(), other.schema.grid.shape());
            return mixed(format!("the grid is {:?}, not {:?}", shapes.1, shapes.0));
        }
        let names = |file: &Self| {
            file.stored
                .iter()
                .map(|s| s.field.name.clone())
                .collect::<Vec<_>>()
        };
        if let Some(missing) = names(self).iter().find(|name| !names(other).contains(name)) {
            return mixed(format!("it has no field {missing}"));
        }
        if self.stored != other.stored {
            return mixed(format!(
                "its fields are {}, not {}",
                names(other).join(" "),
                names(self).join(" ")
            ));
        }
        if self.schema.boundaries() != other.schema.boundaries() {
            return mixed("its boundary conditions differ".into());
        }
        Ok(())
    }

    /// How a field is stored: shape, layout, filters and bytes.
    ///
    /// # Errors
    /// [`Error::Bytes`].
    pub(crate) fn storage(&self, field: &str) -> Result<String> {
        let stored = self.stored.iter().find(|stored| stored.field.name == field);
        let dataset = stored.and_then(|stored| self.file.dataset(&stored.path).ok());
        let said = dataset.map_or("unreadable".into(), |dataset| described(&dataset));
        self.access.sound(&self.named, Ok(said))
    }

    fn layout(&self, object: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Layout {
            file: self.named.clone(),
            object: object.into(),
            reason: reason.into(),
        }
    }
}

fn described(dataset: &Dataset) -> String {
    let layout = match dataset.chunk() {
        Some(chunk) => format!("chunks of {chunk:?}"),
        None => "contiguous".into(),
    };
    let filters = dataset.filters();
    let filters: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    let filters = match filters.is_empty() {
        true => String::new(),
        false => format!(", {}", filters.join(" ")),
    };
    format!(
        "{:?}, {layout}{filters}, {} bytes",
        dataset.shape(),
        dataset.storage_size()
    )
}
