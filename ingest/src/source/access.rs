//! The two ways to read the bytes of a file: from the disk, or from a remote store.

use std::path::PathBuf;
use std::sync::Arc;

use super::remote::Remote;

/// How the bytes of a file are had.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// On the local disk.
    Local(PathBuf),
    /// By ranges.
    Remote(Arc<Remote>),
}
