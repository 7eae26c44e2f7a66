//! The executor of a cluster: asks the scheduler for parts of queries and hands on their rows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::ArrowFlightServerProvider;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::shutdown::Shutdown;
use tokio::net::TcpListener;
use tonic::service::Routes;
use wellspring_store::Location;

use super::client::Cluster;
use super::codec::{LogicalCodec, PhysicalCodec};
use super::dial::Credentials;
use super::exchange::Exchange;
use super::gate::Gate;
use super::reach::Reach;
use super::tls::ServerTls;
use super::{configure, guard, parted, unusable};
use crate::Result;
use crate::sql::functions;
use crate::sql::session::{self, StorageOptions};

/// A machine that works for a scheduler.
#[derive(Debug, Clone)]
pub struct Executor {
    /// HOST:PORT of its scheduler.
    pub scheduler: String,
    /// Address of this machine that it listens on and that the others reach it at.
    pub host: String,
    /// Tasks at a time; as many as cores if none.
    pub slots: Option<usize>,
    /// Folder for what stages exchange; of this executor alone.
    pub work: PathBuf,
    /// What queries may read, with all below.
    pub reads: Vec<Location>,
    /// Credentials for the scheduler and other executors; its own server requires the same token.
    pub credentials: Credentials,
    /// What its server shows; without it connections are plain.
    pub tls: Option<ServerTls>,
    /// Settings of the buckets that queries read, as [`Location::parse_with`] takes them.
    pub storage: Vec<(String, String)>,
}

/// Runs an executor until a signal ends the process; calls `ready` with the address on which it hands on rows. It
/// continues if the scheduler is away for a while. Its runtime needs threads with a stack of
/// [`STACK_BYTES`](super::STACK_BYTES).
///
/// # Errors
/// [`Error::Exposed`](crate::Error::Exposed) for an address that needs a token and has none;
/// [`Error::Cluster`](crate::Error::Cluster) when the scheduler cannot be reached or no port is free.
pub async fn serve_executor(executor: Executor, ready: impl FnOnce(SocketAddr)) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| unusable(&executor.scheduler, error);
    let address = resolved(&executor.host).await?;
    guard(address, executor.credentials.token.as_ref())?;
    // Configuration errors should show at the start.
    Cluster::reach(&executor.scheduler, executor.credentials.clone()).await?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| unusable(address, &error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let config = config(&executor, address, listener)?;
    ready(address);
    start_executor_process(Arc::new(config))
        .await
        .map_err(|error| failed(&error))
}

async fn resolved(host: &str) -> Result<SocketAddr> {
    let found = tokio::net::lookup_host((host, 0)).await;
    let mut found = found.map_err(|error| unusable(host, &error))?;
    found
        .next()
        .ok_or_else(|| unusable(host, "the host has no address"))
}

fn config(
    executor: &Executor,
    address: SocketAddr,
    listener: TcpListener,
) -> Result<ExecutorProcessConfig> {
    let storage: StorageOptions = executor.storage.as_slice().into();
    let reach = Reach::Below(executor.reads.as_slice().into());
    let (scheduler_host, scheduler_port) = parted(&executor.scheduler)?;
    let dial = executor.credentials.dial();
    let gate = Gate {
        token: executor.credentials.token.clone(),
        tls: executor.tls.clone(),
    };
    Ok(ExecutorProcessConfig {
        bind_host: address.ip().to_string(),
        external_host: Some(executor.host.clone()),
        port: address.port(),
        // Pushed work is not accepted.
        grpc_port: address.port(),
        scheduler_host,
        scheduler_port,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        vcores: executor.slots.unwrap_or(0),
        work_dir: Some(executor.work.to_string_lossy().into_owned()),
        override_function_registry: Some(Arc::new(registry())),
        override_config_producer: Some(configure(&storage, &reach, Arc::clone(&dial))),
        override_create_grpc_client_endpoint: Some(dial),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(&storage, &reach))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(&storage, &reach))),
        override_runtime_producer: Some(Arc::new(move |_| session::runtime(&storage))),
        override_arrow_flight_service: Some(exchange(gate, listener)),
        ..ExecutorProcessConfig::default()
    })
}

/// The server of shuffled rows and answers, on an address that is listened on already.
fn exchange(gate: Gate, listener: TcpListener) -> Arc<ArrowFlightServerProvider> {
    let listener = Mutex::new(Some(listener));
    Arc::new(move |work, _, mut end: Shutdown, _| {
        let listener = listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let gate = gate.clone();
        tokio::spawn(async move {
            let listener =
                listener.ok_or_else(|| BallistaError::Internal("it serves already".into()))?;
            let routes = Routes::new(Exchange::of(work));
            let serving = gate.serve(listener, routes, end.recv());
            serving.await.map_err(BallistaError::TonicError)
        })
    })
}

/// The engine's functions and ours, and no others.
fn registry() -> BallistaFunctionRegistry {
    let mut registry = BallistaFunctionRegistry::default();
    for function in functions::scalar() {
        let name = function.name().to_owned();
        registry.scalar_functions.insert(name, function);
    }
    for function in functions::aggregate() {
        let name = function.name().to_owned();
        registry.aggregate_functions.insert(name, function);
    }
    registry
}
