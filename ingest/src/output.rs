//! The Well's HDF5, written: files, and the folder in which they appear when all are whole.

mod record;
mod staged;
mod well_writer;

pub(crate) use record::{Record, Request};
pub(crate) use staged::{StagingFolder, disk};
pub use well_writer::Packing;
pub(crate) use well_writer::{
    BoundaryCondition, Dimension, FieldLayout, FieldWriter, Header, WellWriter,
};

use crate::Error;

/// The error of a file whose `object` HDF5 could not write.
pub(crate) fn unwritten(file: &str, object: impl Into<String>, source: hdf5::Error) -> Error {
    Error::Write {
        file: file.to_owned(),
        object: object.into(),
        source,
    }
}
