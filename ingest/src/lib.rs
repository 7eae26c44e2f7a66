//! Converts The Well's HDF5 to data sets, and simulates flows in The Well's HDF5.
//!
//! **Reading.** [`ingest`] takes a folder in The Well's layout (`data/train/*.hdf5`, ...), a single
//! file, or the URL of either, including data sets of the Hugging Face hub. Only the ranges of a remote
//! file that are needed are fetched, and up to 16 GiB of them are kept in the temporary folder for the
//! second pass; the store must support range requests. It understands fields of rank 0, 1 and 2, with or
//! without variation in time, between samples and along each axis, scalars, coordinates and boundary
//! conditions. A missing axis is filled by repetition, as The Well's own loader does. Values in f32 and
//! f64, contiguous or in chunks, with gzip, shuffle,
//! Fletcher32 and LZF, are read by their offsets and decoded on all threads; other types, layouts and
//! filters go through the HDF5 library. What is not a field is kept too, exactly; what cannot be kept
//! (references, compounds, more than 64 MiB, what lies in another file) is named once and recorded.
//! Files that do not belong together, lack a field, hold a value that is not a number or frames that were
//! never written are refused by name, and so is a field that lies in another file.
//!
//! **Checking.** A simulation that is certainly broken is refused, with field, trajectory and step. One that
//! may be broken is reported through the [`Reporter`](wellspring_store::Reporter). [`FindingKind`] lists every
//! kind. [`check`] gives all [`Finding`]s of a source, [`check_dataset`] those of a data set; neither writes.
//!
//! **Converting.** Two passes: statistics of the training split, then normalized shards. Both are cut
//! into pieces that leave a record: an interrupted ingest continues, and [`ingest_part`] and [`finish`]
//! spread one over machines. Equal sources and options give equal bytes, however the work was divided. A
//! [`Selection`](wellspring_store::Selection) takes some fields, trajectories, cells or frames.
//!
//! **Transforming.** [`IngestOptions::transforms`] lets the values of some fields go through a
//! [`Transform`](wellspring_store::Transform), a logarithm for example, before statistics are gathered and values
//! are normalized. The schema keeps it, so everything that adds to the data set, makes it later or repairs it does the
//! same. A value outside the transform's domain is an error with field, trajectory and step.
//!
//! **On demand.** [`promise`] gathers the statistics, or takes those of the options, and makes no
//! shards. [`open`] opens a data set whose shards are made when they are first read, and recorded as
//! an ingest records them; an ingest with the same options makes the rest.
//!
//! **Simulating.** [`simulate`] computes flows from a seed and writes them in The Well's layout.
//!
//! **Predicting.** A [`PredictionFolder`] takes the frames of rollouts, whoever predicts them, and writes them in The
//! Well's layout too, a file for each.
//!
//! # Example
//!
//! ```
//! use wellspring_ingest::{Equation, IngestOptions, SimulateOptions, ingest, simulate};
//! use wellspring_store::{Location, Silent, Split};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let options = SimulateOptions {
//!     shape: vec![16, 32],
//!     frames: 3,
//!     train: 2,
//!     valid: 1,
//!     test: 1,
//!     ..SimulateOptions::of(Equation::ShearFlow)
//! };
//! simulate(Equation::ShearFlow, folder.path(), &options, &Silent)?;
//!
//! let source = Location::parse(&folder.path().display().to_string())?;
//! let root = Location::parse("memory:///ds")?;
//! let manifest = tokio::runtime::Runtime::new()?
//!     .block_on(ingest(&source, &root, &IngestOptions::default(), &Silent))?;
//! assert_eq!(manifest.schema.channels(), ["tracer", "pressure", "velocity_x", "velocity_y"]);
//! assert_eq!(manifest.split(Split::Train)?.frames(), 6);
//! # Ok(())
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod catalogue;
mod check;
mod convert;
mod error;
mod findings;
mod output;
mod predictions;
mod simulate;
mod source;
#[cfg(test)]
mod tests;
mod well;

pub use catalogue::{IngestOptions, Part, Summary, inspect, read_frame};
pub use check::{check, check_dataset};
pub use convert::{Stage, append, decode, finish, ingest, ingest_part, open, promise, repair};
pub use error::{Error, Result};
pub use findings::{Finding, FindingKind, Severity};
pub use output::Packing;
pub use predictions::{PredictionBatch, PredictionFolder, PredictionFormat, PredictionSource};
pub use simulate::{Equation, SimulateOptions, WaveField, Waves, simulate};
