//! Writes a data set, and verifies it against its manifest.

mod verify;
mod writer;

pub use verify::{Flaw, Place, verify};
pub use writer::{DatasetWriter, WriterOptions};
