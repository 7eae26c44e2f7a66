//! The Well's HDF5 in, data sets out; and simulators that write The Well's HDF5.
//!
//! **Reading.** [`ingest`] takes a folder in The Well's layout (`data/train/*.hdf5`, ...), a single
//! file, or the URL of either: a remote file is copied to the temporary folder while it is read. It
//! understands fields of rank 0, 1 and 2, with or without variation in time, between samples and
//! along each axis, scalars, coordinates and boundary conditions; f32 and f64; any chunking and
//! filter that HDF5 itself reads. A missing axis is filled by repetition, as The Well's own loader
//! does. Files that do not belong together, lack a field or hold a value that is no number are
//! refused by name.
//!
//! **Converting.** Two passes: statistics of the training split, then normalised shards. Memory is
//! bounded by the number of threads times the size of a shard, whatever the size of a file. Equal
//! sources and options give equal bytes.
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
mod convert;
mod error;
mod inspect;
mod simulate;
mod source;
#[cfg(test)]
mod tests;
mod well;

pub use convert::{IngestOptions, ingest};
pub use error::{Error, Result};
pub use inspect::{Summary, inspect};
pub use simulate::{Equation, SimulateOptions, simulate};
