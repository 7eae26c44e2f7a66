//! One HDF5 file in The Well's layout: its description, and its frames one by one.
//!
//! The HDF5 library, which runs one call at a time, gives the contents of a file and their offsets; the
//! values themselves are read by offset and decoded on any number of threads. Remote files are read in the
//! same way, since the library reads every file through our driver.

mod attributes;
mod block;
mod boundary;
mod contents;
mod describe;
mod dimensions;
mod driver;
mod enclosed;
mod filters;
mod gather;
pub(crate) mod glance;
mod heap;
mod kind;
mod planes;
mod scalars;
mod storage;
mod unwritten;

use std::collections::BTreeMap;
use std::sync::Arc;

use hdf5::{Dataset, File};
use wellspring_store::{Contents, Field, Schema, TensorOrder};

pub(crate) use gather::{Cell, Slab};
pub(crate) use planes::FieldReader;

use self::dimensions::Rows;
use self::scalars::Scalar;
use self::storage::Storage;
use crate::source::Access;
use crate::source::extents::ReadAt;
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
    /// Name of the file in errors.
    pub(crate) named: String,
    access: Access,
    file: File,
    pub(crate) schema: Schema,
    pub(crate) stored: Vec<StoredField>,
    pub(crate) samples: usize,
    pub(crate) frames: usize,
    times: Rows,
    /// Along each axis.
    coordinates: Vec<Rows>,
    scalars: BTreeMap<String, Scalar>,
    /// What a person should know of the file, though it is taken.
    remarks: Vec<String>,
}

/// A file whose fields can be read.
pub(crate) struct OpenFile {
    pub(crate) well: WellFile,
    /// Where and how the values of each field are stored, in the order of the fields.
    storage: Vec<Storage>,
    bytes: Arc<dyn ReadAt>,
    /// Whether frames that were never written are read as their fill value, and not refused.
    pub(crate) allow_unwritten: bool,
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
            allow_unwritten: false,
            well,
        })
    }

    #[cfg(test)]
    /// Frames of a field, by trajectory and step, of which some chunk was never written; those that hold
    /// a fill value are found when they are read. A field that does not vary in time has step 0 only.
    pub(crate) fn unwritten(&self, field: usize) -> impl Iterator<Item = (usize, usize)> {
        let (well, unwritten) = (&self.well, &self.storage[field].unwritten);
        let steps = match well.stored[field].field.time_varying {
            true => well.frames,
            false => 1,
        };
        let frames = (0..well.samples).flat_map(move |sample| (0..steps).map(move |n| (sample, n)));
        frames.filter(|&(sample, step)| unwritten.holds(sample, step))
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

/// A remark on what is there for more trajectories than there are.
fn longer(object: &str, found: usize, samples: usize) -> String {
    format!(
        "{object} is for {found} trajectories, and {samples} are left: the first are taken, though one \
         before the last may be the one that was removed"
    )
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
        let described = file.and_then(|file| describe::describe(file, access, named));
        access.sound(named, described)
    }

    /// Everything that the file holds beside the values of its fields.
    ///
    /// # Errors
    /// As [`contents::read`].
    pub(crate) fn contents(&self) -> Result<Contents> {
        self.access.sound(&self.named, contents::read(self))
    }

    /// What a person should know of the file, though it is taken: sentences, of which the last are about
    /// its contents.
    pub(crate) fn remarks(&self, contents: &Contents) -> Vec<String> {
        let mut remarks = self.remarks.clone();
        remarks.extend(contents::remarks(contents));
        remarks
    }

    /// Times of a sample's frames.
    pub(crate) fn times(&self, sample: usize) -> &[f64] {
        self.times.of(sample)
    }

    /// Coordinates along each axis, as a sample has them.
    pub(crate) fn coordinates(&self, sample: usize) -> Vec<&[f64]> {
        self.coordinates
            .iter()
            .map(|axis| axis.of(sample))
            .collect()
    }

    /// Scalars of a sample that do not vary in time.
    pub(crate) fn parameters(&self, sample: usize) -> BTreeMap<String, f64> {
        let constant = self
            .scalars
            .iter()
            .filter(|(_, scalar)| !scalar.time_varying);
        constant
            .map(|(name, scalar)| (name.clone(), scalar.of(sample, self.frames)[0]))
            .collect()
    }

    /// Scalars of a sample that vary in time, a value for each frame.
    pub(crate) fn series(&self, sample: usize) -> BTreeMap<String, Vec<f64>> {
        let varying = self
            .scalars
            .iter()
            .filter(|(_, scalar)| scalar.time_varying);
        varying
            .map(|(name, scalar)| (name.clone(), scalar.of(sample, self.frames).to_vec()))
            .collect()
    }

    /// The index of a field among the file's own, which may come in another order than those of the
    /// first file.
    ///
    /// # Errors
    /// [`Error::Layout`].
    pub(crate) fn field(&self, name: &str) -> Result<usize> {
        let index = self.stored.iter().position(|s| s.field.name == name);
        index.ok_or_else(|| self.layout(name, "is not a field of this file; did the file change?"))
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
        // Their order is each file's own.
        for field in &self.stored {
            let name = &field.field.name;
            match other.stored.iter().find(|s| s.field.name == *name) {
                None => return mixed(format!("it has no field {name}")),
                Some(found) if found != field => {
                    return mixed(format!("its field {name} varies along other axes"));
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| self.stored.iter().any(|s| s.field.name == *name);
        let mut names = other.stored.iter().map(|stored| &stored.field.name);
        if let Some(more) = names.find(|name| !known(name)) {
            return mixed(format!("it has a field {more}"));
        }
        if self.schema.boundaries() != other.schema.boundaries() {
            return mixed("its boundary conditions differ".into());
        }
        Ok(())
    }

    /// How a field is stored: shape, layout, filters and bytes.
    ///
    /// # Errors
    /// [`Error::Bytes`], [`Error::Read`].
    pub(crate) fn storage(&self, field: &str) -> Result<String> {
        let path = &self.stored[self.field(field)?].path;
        let described = self.file.dataset(path).and_then(|it| described(&it));
        let described = described.map_err(|source| Error::Read {
            file: self.named.clone(),
            object: path.clone(),
            source,
        });
        self.access.sound(&self.named, described)
    }

    fn layout(&self, object: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Layout {
            file: self.named.clone(),
            object: object.into(),
            reason: reason.into(),
        }
    }
}

fn described(dataset: &Dataset) -> hdf5::Result<String> {
    let created = dataset.dcpl()?;
    let layout = match created.get_chunk()? {
        Some(chunk) => format!("chunks of {chunk:?}"),
        None => "contiguous".into(),
    };
    let filters = created.get_filters()?;
    let filters: Vec<String> = filters.iter().map(|filter| format!("{filter:?}")).collect();
    let filters = match filters.is_empty() {
        true => String::new(),
        false => format!(", {}", filters.join(" ")),
    };
    Ok(format!(
        "{:?}, {layout}{filters}, {} bytes",
        dataset.get_shape()?,
        dataset.storage_size()
    ))
}
