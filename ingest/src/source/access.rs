//! The two ways to read the bytes of a file: from the disk, or from a remote store.

use std::path::PathBuf;
use std::sync::Arc;

use super::remote::Remote;

/// The way to the bytes of a file.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// A file on the local disk.
    Local(PathBuf),
    /// A file that is read by ranges.
    Remote(Arc<Remote>),
}
