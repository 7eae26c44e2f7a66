//! SQL on many machines: a Ballista scheduler and executors that know our tables and functions.
//!
//! A client plans a query ([`Database::on_cluster`]) and sends it to the scheduler, which cuts it
//! into stages; executors ask the scheduler for parts of them and read shards and Parquet files from where they
//! lie, so results and data sets must be in a place that all of them reach: a bucket, or a folder that all mount.
//!
//! **Authentication.** Every server, that is the scheduler and the executors' exchange of shuffled rows, requires
//! one [`Token`] that all members know, and can require TLS. All connections are covered: client to
//! scheduler, executor to scheduler, executor to executor, and client to executor for the answer. There is no
//! way from the scheduler to an executor: executors ask for work (Ballista's pull scheduling), since its service
//! for pushed work takes neither a token nor TLS. Without TLS the token and all rows can be read by whoever
//! sees the packets. An address that other machines reach needs the token ([`Error::Exposed`]).
//!
//! **Authorization.** Scheduler and executors read only below the locations that they were started with, and
//! carry out only plans whose nodes are all on a list (`reach.rs`). Anyone who knows the token can read
//! everything there, and use all of the machines' capacity.
//!
//! | part of Ballista 55                 | what it offers                                   | what is done here   |
//! |-------------------------------------|--------------------------------------------------|---------------------|
//! | scheduler's server                  | plain `axum::serve`; its service can be taken    | `gate.rs` serves it |
//! | executor's Flight server            | `override_arrow_flight_service`                  | `gate.rs` serves it; `exchange.rs` keeps it in its folder |
//! | executor's server for pushed work   | plain, cannot be replaced                        | not started         |
//! | all clients                         | `override_create_grpc_client_endpoint`: another endpoint, no headers | `dial.rs`: the token as `user-agent`, a tunnel for TLS |
//! | plans                               | codecs, and the types of messages at the scheduler | `codec.rs`, `plan.rs` |

mod client;
mod codec;
mod depth;
mod dial;
mod exchange;
mod executor;
mod gate;
mod plan;
mod presence;
mod reach;
mod scheduler;
mod tls;
mod token;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::ConfigProducer;
use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt as _};
use datafusion::prelude::SessionConfig;

use crate::sql::session::{self, StorageOptions};
use crate::{Error, Result};
use codec::{LogicalCodec, PhysicalCodec};
use reach::Reach;

pub use client::Cluster;
pub use dial::Credentials;
pub use executor::{Executor, serve_executor};
pub use scheduler::{Scheduler, serve_scheduler};
pub use tls::{ClientTls, ServerTls};
pub use token::Token;

/// Stack for each thread of a runtime that serves a cluster: planning goes through expressions by recursion.
pub const STACK_BYTES: usize = 64 << 20;

/// How long a member may take to answer a connection or a short question.
const CONNECT: Duration = Duration::from_secs(10);

/// What all members set: our codecs, and how they reach one another.
fn settings(storage: &StorageOptions, reach: &Reach, dial: EndpointOverrideFn) -> SessionConfig {
    session::config()
        .upgrade_for_ballista()
        .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::new(storage, reach)))
        .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::new(storage, reach)))
        .with_ballista_override_create_grpc_client_endpoint(dial)
}

fn configure(storage: &StorageOptions, reach: &Reach, dial: EndpointOverrideFn) -> ConfigProducer {
    let (storage, reach) = (Arc::clone(storage), reach.clone());
    Arc::new(move || settings(&storage, &reach, Arc::clone(&dial)))
}

/// Refuses an address that others reach without a token.
fn guard(address: SocketAddr, token: Option<&Token>) -> Result<()> {
    match address.ip().is_loopback() || token.is_some() {
        true => Ok(()),
        false => Err(Error::Exposed {
            address: address.to_string(),
        }),
    }
}

/// Host and port of HOST:PORT.
fn parted(address: &str) -> Result<(String, u16)> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    });
    parts.ok_or_else(|| Error::Choice {
        text: address.to_owned(),
        what: "an address",
        choices: "HOST:PORT",
    })
}

fn unusable(address: impl ToString, reason: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::Cluster {
        address: address.to_string(),
        reason: reason.to_string(),
    }
}

/// The end of a piece of work, or an error when it takes too long.
async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    match tokio::time::timeout(CONNECT, work).await {
        Ok(done) => done,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
    }
}
