//! Stored results: tables in Parquet, and pictures of a few rollouts.

pub(crate) mod pictures;
pub(crate) mod tables;

pub use tables::{OnExisting, RunRecord, TABLE_VERSION};
