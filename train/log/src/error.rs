//! The errors of this crate: logs that cannot be written or read.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every variant names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A segment that is not what was written.
    #[error("{object} is damaged: {reason}; move it away, and its part of the log is missing")]
    Damaged {
        /// URL of the segment.
        object: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Rows that cannot become a segment.
    #[error("the rows of {object} cannot be written: {reason}")]
    Unwritable {
        /// URL of the log's folder.
        object: String,
        /// Why not.
        reason: String,
    },

    /// A store could not be read or written.
    #[error(transparent)]
    Store(#[from] wellspring_store::Error),
}
