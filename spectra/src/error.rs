//! The errors of this crate: grids and fields that do not fit.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every variant says which numbers do not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A grid without points.
    #[error("a grid of shape {shape:?} has no points to transform")]
    EmptyGrid {
        /// The shape as given.
        shape: Vec<usize>,
    },

    /// A field of another length than the grid.
    #[error("a field of {found} values does not fit the grid {shape:?}")]
    Length {
        /// The grid.
        shape: Vec<usize>,
        /// Values given.
        found: usize,
    },

    /// Edges that are not at least two increasing numbers.
    #[error("bin edges {edges:?} are not at least two increasing numbers")]
    Edges {
        /// The edges as given.
        edges: Vec<f32>,
    },
}
