//! The Well's HDF5 in, data sets out; and simulators that write The Well's HDF5.
//!
//! **Reading.** [`ingest`] takes a folder in The Well's layout (`data/train/*.hdf5`, ...), a single
//! file, or the URL of either, also of a data set of the Hugging Face hub. Of a remote file only the
//! ranges that are needed are fetched, and up to 16 GiB of them are kept in the temporary folder for the
//! second pass; the store must give ranges. It understands fields of rank 0, 1 and 2, with or without variation in time, between samples and along
//! each axis, scalars, coordinates and boundary conditions. A missing axis is filled by repetition, as
//! The Well's own loader does. Values in f32 and f64, contiguous or in chunks, with gzip, shuffle,
//! Fletcher32 and LZF, are read by their offsets and decoded on all threads; other types, layouts and
//! filters go through the HDF5 library. What is not a field is kept too, exactly; what cannot be kept
//! (references, compounds, more than 64 MiB, what lies in another file) is named once and recorded.
//! Files that do not belong together, lack a field, hold a value that is not a number or frames that were
//! never written are refused by name, and so is a field that lies in another file.
//!
//! **Checking.** A simulation that is certainly broken is refused with field, trajectory and step, what
//! may be is told through the [`Reporter`](wellspring_store::Reporter); [`FindingKind`] has every kind.
//! [`check`] gives all [`Finding`]s of a source and writes nothing, [`check_dataset`] those of a data set.
//!
//! **Converting.** Two passes: statistics of the training split, then normalized shards. Both are cut
//! into pieces that leave a record: an interrupted ingest goes on, and [`ingest_part`] and [`finish`]
//! spread one over machines. Equal sources and options give equal bytes, whoever did which piece. A
//! [`Selection`](wellspring_store::Selection) takes some fields, trajectories, cells or frames.
//!
//! **On demand.** [`promise`] gathers the statistics, or takes those that are given, and makes no
//! shards. [`open`] gives a data set of which each shard is made when it is first read, and recorded as
//! an ingest records it; an ingest with the same options makes the rest.
//!
//! **Simulating.** [`simulate`] writes flows from a seed, as The Well would have them.
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

mod catalogue;
mod check;
mod convert;
mod error;
mod findings;
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
pub use simulate::{Equation, Packing, SimulateOptions, WaveField, Waves, simulate};
