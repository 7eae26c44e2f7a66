//! SQL: a database of the tables of results and data sets, with views and functions, in this process or on a
//! cluster.

#[cfg(feature = "cluster")]
mod cluster;
mod database;
pub(crate) mod depth;
pub(crate) mod engine;
pub(crate) mod format;
pub(crate) mod frames;
pub(crate) mod functions;
mod meanings;
pub(crate) mod memory;
mod results;
mod run_files;
pub(crate) mod session;
mod spacing;
mod training;
mod views;

#[cfg(feature = "cluster")]
pub use cluster::{
    ClientTls, Cluster, Credentials, Executor, STACK_BYTES, Scheduler, ServerTls, Token,
    serve_executor, serve_scheduler,
};
pub use database::{Database, SqlOptions};
pub use format::Format;
pub use results::Results;
pub(crate) use run_files::RunFiles;
pub use views::View;
