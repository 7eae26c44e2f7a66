//! Writing a data set, and comparing what was written with its manifest.

mod verify;
mod writer;

pub use verify::{Flaw, Place, verify};
pub use writer::{DatasetWriter, WriterOptions};
