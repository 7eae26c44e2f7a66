//! Reads a data set: open data sets, the cache of fetched or mapped shards, and scans of columns.

pub(crate) mod cache;
pub(crate) mod conditions;
mod constants;
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
