//! The scheduler of a cluster: accepts queries and distributes their parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use tokio::net::TcpListener;
use tonic::service::Routes;
use wellspring_store::Location;

use super::codec::{LogicalCodec, PhysicalCodec};
use super::dial::Credentials;
use super::gate::Gate;
use super::plan::{Question, Stage};
use super::presence::Presence;
use super::reach::Reach;
use super::tls::ServerTls;
use super::token::Token;
use super::{configure, guard, unusable};
use crate::Result;
use crate::sql::session::{self, StorageOptions};

/// How long an executor may be silent; it asks for work at least every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Address of a scheduler, its credentials, and what it may read.
#[derive(Debug, Clone)]
pub struct Scheduler {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What queries may read, with all below.
    pub reads: Vec<Location>,
    /// What others must know.
    pub token: Option<Token>,
    /// What it shows; without it connections are plain.
    pub tls: Option<ServerTls>,
    /// Settings of the buckets that hold what it reads, as [`Location::parse_with`] takes them.
    pub storage: Vec<(String, String)>,
}

/// Runs a scheduler until the process ends; calls `ready` with the address on which it listens. Its runtime needs
/// threads with a stack of [`STACK_BYTES`](super::STACK_BYTES).
///
/// # Errors
/// [`Error::Exposed`](crate::Error::Exposed) for an address that needs a token and has none;
/// [`Error::Cluster`](crate::Error::Cluster) when the address cannot be listened on.
pub async fn serve_scheduler(scheduler: Scheduler, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    guard(scheduler.bind, scheduler.token.as_ref())?;
    let failed = |error: &dyn std::fmt::Display| unusable(scheduler.bind, error);
    let listener = TcpListener::bind(scheduler.bind).await;
    let listener = listener.map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let config = Arc::new(config(&scheduler, address));
    let cluster = BallistaCluster::new_from_config(&config).await;
    let cluster = cluster.map_err(|error| failed(&error))?;
    let service = create_scheduler::<Question, Stage>(cluster, Arc::clone(&config)).await;
    let service = service.map_err(|error| failed(&error))?;
    let presence = Presence {
        executors: service.state.executor_manager.clone(),
        silence: SILENCE,
    };
    let service = SchedulerGrpcServer::new(service)
        .max_encoding_message_size(config.grpc_server_max_encoding_message_size as usize)
        .max_decoding_message_size(config.grpc_server_max_decoding_message_size as usize);
    let gate = Gate {
        token: scheduler.token.clone(),
        tls: scheduler.tls.clone(),
    };
    ready(address);
    let routes = Routes::new(service).add_service(presence);
    gate.serve(listener, routes, std::future::pending())
        .await
        .map_err(|error| failed(&error))
}

fn config(scheduler: &Scheduler, address: SocketAddr) -> SchedulerConfig {
    let storage: StorageOptions = scheduler.storage.as_slice().into();
    let reach = Reach::Below(scheduler.reads.as_slice().into());
    let config = configure(&storage, &reach, Credentials::default().dial());
    SchedulerConfig {
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        external_host: address.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: SILENCE.as_secs(),
        no_executors_grace_period_seconds: SILENCE.as_secs(),
        expire_dead_executor_interval_seconds: 5,
        override_config_producer: Some(config),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(&storage, &reach))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(&storage, &reach))),
        override_session_builder: Some(Arc::new(move |config| session::state(config, &storage))),
        ..SchedulerConfig::default()
    }
}
