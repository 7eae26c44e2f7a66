//! The errors of this crate: what can be wrong with a source, a selection or an ingest.

use std::path::PathBuf;

use wellspring_store::Transform;

use crate::Finding;

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
        /// URL of the folder that was searched.
        source_url: String,
    },

    /// A file that HDF5 cannot open: truncated, or of another kind.
    #[error(
        "cannot open {file} as HDF5; it may be truncated or of another kind: make it again, or leave it \
         out (--exclude)"
    )]
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

    /// The bytes of a file could not be read.
    #[error("{file}: cannot read {object}")]
    Bytes {
        /// The file.
        file: String,
        /// Field, trajectory and step.
        object: String,
        /// The system's own words, or what the file's store said.
        source: std::io::Error,
    },

    /// A remote file has changed since it was opened.
    #[error("{file} changed while it was read; begin again")]
    Changed {
        /// The file.
        file: String,
    },

    /// The disk is too small for what is kept of remote files.
    #[error(
        "{path} has no room for what was fetched of remote files, of which up to {limit} bytes are \
         kept; set TMPDIR to a folder on a larger disk"
    )]
    Room {
        /// The temporary folder.
        path: PathBuf,
        /// Bytes that are kept at most.
        limit: u64,
        /// The system's own words.
        source: std::io::Error,
    },

    /// A selection that the source does not allow.
    #[error("{reason}")]
    Selection {
        /// What is wrong with it.
        reason: String,
    },

    /// A record that cannot be read.
    #[error(
        "{object} is damaged, or another version of the program wrote it; finish that work with the \
         program that began it, or overwrite it"
    )]
    Record {
        /// URL of the record.
        object: String,
        /// The JSON error, with line and column.
        source: serde_json::Error,
    },

    /// A part has to wait for others.
    #[error(
        "{missing} of {total} pieces of the statistics are missing in {root}: other parts have to \
         gather them first; then run this part again"
    )]
    Waiting {
        /// URL of the data set.
        root: String,
        /// Number of missing pieces.
        missing: usize,
        /// Number of all pieces.
        total: usize,
    },

    /// Shards are missing.
    #[error("{root} is not finished: {missing}; run the missing parts, then finish again")]
    Unfinished {
        /// URL of the data set.
        root: String,
        /// Numbers and names of the missing parts.
        missing: String,
    },

    /// Trajectories that do not fit the data set they are for.
    #[error("{source_url} does not fit {root}: {reason}")]
    Unlike {
        /// URL of the source.
        source_url: String,
        /// URL of the data set.
        root: String,
        /// The differences.
        reason: String,
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

    /// Something that The Well's layout requires is missing or malformed.
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
        /// The differences.
        reason: String,
    },

    /// An empty file.
    #[error("{file} is empty; make it again, or leave it out (--exclude)")]
    Empty {
        /// The file.
        file: String,
    },

    /// A simulation that is broken.
    #[error("{finding}; {}", finding.remedy())]
    Refused {
        /// What is wrong with it, and where.
        finding: Box<Finding>,
    },

    /// A value that is not a number.
    #[error(
        "{file}: {object} has a value that is not finite at trajectory {trajectory}, step {step}; leave \
         the trajectory out (--exclude-trajectory), or let zero take the place of such values (--nan zero)"
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

    /// A frame that the file has room for and that was never written.
    #[error(
        "{file}: {object} was never written at trajectory {trajectory}, step {step}: the program that \
         made the file may have stopped before; leave the trajectory out (--exclude-trajectory), or let \
         its frames have their fill value (--allow unwritten)"
    )]
    Unwritten {
        /// The file.
        file: String,
        /// The field.
        object: String,
        /// Sample in the file.
        trajectory: usize,
        /// Frame.
        step: usize,
    },

    /// A value that is a number, but none that 32-bit floats hold.
    #[error(
        "{file}: {object} is {value:e} at trajectory {trajectory}, step {step}, which is too large for \
         32-bit floats as it is or normalized; write it in other units, or check the statistics given"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The field.
        object: String,
        /// The value, in the field's units.
        value: f64,
        /// Sample in the file.
        trajectory: usize,
        /// Frame.
        step: usize,
    },

    /// A value that the transform of its field cannot take.
    #[error(
        "{file}: {object} is {value:e} at trajectory {trajectory}, step {step}, and {transform} of that is not a \
         number; {}",
        remedy(transform, field)
    )]
    NotTransformable {
        /// The file.
        file: String,
        /// The field.
        object: String,
        /// Name of the field.
        field: String,
        /// The value, in the field's units.
        value: f64,
        /// What it was to go through.
        transform: Transform,
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

    /// Output of an earlier simulation or prediction is there.
    #[error(
        "{path} holds simulations or predictions already; choose another folder or ask to overwrite them \
         (--overwrite)"
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },

    /// Another process simulates or predicts into the same folder.
    #[error(
        "{path} is being written by another simulation or prediction; wait for its end, or choose another folder"
    )]
    Simulating {
        /// The folder.
        path: PathBuf,
    },

    /// A simulation was asked for that cannot be.
    #[error("{what}: {found}; {expected}")]
    Simulation {
        /// The option.
        what: &'static str,
        /// The text as given.
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

impl Error {
    pub(crate) fn task(source: tokio::task::JoinError) -> Self {
        Self::Task {
            reason: source.to_string(),
        }
    }

    /// Whether values of the source are refused, so that the same work always ends here.
    pub(crate) fn refuses_values(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::NotFinite { .. }
                | Self::TooLarge { .. }
                | Self::NotTransformable { .. }
                | Self::Unwritten { .. }
        )
    }
}

/// What to do about a value that a transform cannot take.
fn remedy(transform: &Transform, field: &str) -> String {
    match transform {
        Transform::Log10 => format!(
            "take --transform {field}=asinh:SCALE, with the least magnitude that matters as SCALE, or leave the \
             trajectory out (--exclude-trajectory)"
        ),
        Transform::Asinh(_) => format!("take a larger SCALE in --transform {field}=asinh:SCALE"),
    }
}
