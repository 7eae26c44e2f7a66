//! What can be wrong with a source of simulations.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every variant says which file or object it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to read.
    #[error(
        "{source_url} holds no HDF5 files; expected data/train/*.hdf5 (or train/*.hdf5, or *.hdf5)"
    )]
    NoFiles {
        /// Where they were looked for.
        source_url: String,
    },

    /// A file that HDF5 cannot open: truncated, or of another kind.
    #[error("cannot open {file} as HDF5; it may be truncated or of another kind")]
    Open {
        /// The file.
        file: String,
        /// HDF5's own words.
        source: hdf5::Error,
    },

    /// HDF5 failed on an object.
    #[error("{file}: cannot read {object}")]
    Read {
        /// The file.
        file: String,
        /// Group, dataset or attribute.
        object: String,
        /// HDF5's own words.
        source: hdf5::Error,
    },

    /// HDF5 failed to write.
    #[error("{file}: cannot write {object}")]
    Write {
        /// The file.
        file: String,
        /// Group, dataset or attribute.
        object: String,
        /// HDF5's own words.
        source: hdf5::Error,
    },

    /// Something that The Well's layout asks for is not there, or not as it must be.
    #[error("{file}: {object} {reason}")]
    Layout {
        /// The file.
        file: String,
        /// Group, dataset or attribute.
        object: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Two files that do not belong to one data set.
    #[error("{file} does not fit {other}: {reason}; ingest them as two data sets")]
    Mixed {
        /// The file.
        file: String,
        /// The first file.
        other: String,
        /// How they differ.
        reason: String,
    },

    /// A value that is no number.
    #[error(
        "{file}: {object} has a value that is not finite at trajectory {trajectory}, step {step}"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The field.
        object: String,
        /// Sample in the file.
        trajectory: usize,
        /// Frame.
        step: usize,
    },

    /// A folder or file could not be made or moved.
    #[error("cannot write {path}")]
    Disk {
        /// What.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },

    /// Output of an earlier simulation is there.
    #[error("{path} holds simulations already; choose another folder or ask to overwrite them")]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// A simulation was asked for that cannot be.
    #[error("{what}: {found}; {expected}")]
    Simulation {
        /// The option.
        what: &'static str,
        /// As given.
        found: String,
        /// What it must be.
        expected: String,
    },

    /// A simulation left the numbers: its flow is not resolved by the grid.
    #[error("the simulation of {file} diverged at frame {frame}; use a finer grid")]
    Diverged {
        /// The file that was to be.
        file: String,
        /// The frame.
        frame: usize,
    },

    /// A transform that cannot be planned.
    #[error(transparent)]
    Spectra(#[from] wellspring_spectra::Error),

    /// The data set could not be read or written.
    #[error(transparent)]
    Store(#[from] wellspring_store::Error),

    /// A background task ended without an answer.
    #[error("a background task of the ingest ended early: {reason}")]
    Task {
        /// The runtime's own words.
        reason: String,
    },
}
