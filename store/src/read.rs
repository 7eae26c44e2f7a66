//! Reading a data set: what is open, what is fetched or mapped, and what a scan takes of it.

pub(crate) mod cache;
pub(crate) mod dataset;
pub(crate) mod fetch;
mod origin;
pub(crate) mod scan;
pub(crate) mod traffic;

pub use cache::{CacheOptions, DEFAULT_CACHE_BYTES};
pub use dataset::Dataset;
pub use origin::Origin;
pub use scan::{Piece, Scanner, Wanted};
pub use traffic::Traffic;
