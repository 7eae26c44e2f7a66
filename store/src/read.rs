//! Reading a data set: what is open, what is fetched or mapped, and what a scan takes of it.

pub(crate) mod cache;
pub(crate) mod dataset;
pub(crate) mod fetch;
pub(crate) mod io_statistics;
pub(crate) mod scan;
mod shard_provider;

pub use cache::{CacheOptions, DEFAULT_CACHE_BYTES};
pub use dataset::Dataset;
pub use io_statistics::IoStatistics;
pub use scan::{FrameColumns, Scanner, ShardRows};
pub use shard_provider::ShardProvider;
