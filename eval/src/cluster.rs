//! SQL on many machines: a Ballista scheduler and executors that know our tables and functions.
//!
//! A client plans a query ([`Database::on_cluster`]) and sends it to the scheduler, which cuts it
//! into stages; executors read shards and Parquet files from where they lie, so results and data
//! sets must be in a place that all of them reach: a bucket, or a folder that all mount.

mod codec;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use ballista::prelude::SessionContextExt as _;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use crate::session::{self, StorageOptions};
use crate::{Database, Error, Result, functions};
use codec::{LogicalCodec, PhysicalCodec};

/// A machine that works for a scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// HOST:PORT of its scheduler.
    pub scheduler: String,
    /// Address that the others reach it at.
    pub host: String,
    /// Tasks at a time; as many as cores if none.
    pub slots: Option<usize>,
    /// Folder for what stages exchange; a temporary one if none.
    pub work: Option<PathBuf>,
    /// Settings of the buckets that queries read, as [`Location::parse_with`] takes them.
    ///
    /// [`Location::parse_with`]: wellspring_store::Location::parse_with
    pub storage: Vec<(String, String)>,
}

impl Database {
    /// Whose queries a cluster answers.
    ///
    /// # Errors
    /// [`Error::Cluster`] when the scheduler at HOST:PORT cannot be reached.
    pub async fn on_cluster(scheduler: &str) -> Result<Self> {
        let (host, port) = parted(scheduler)?;
        // A client connects when it first asks; people want to know at once.
        tokio::net::TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| unreachable(scheduler, &error))?;
        let storage = StorageOptions::default();
        let state = session::state(settings(&storage), &storage)?;
        let url = format!("df://{host}:{port}");
        let mut session = SessionContext::remote_with_state(&url, state).await?;
        // Ballista puts its own functions in the place of all others.
        functions::register(&mut session)?;
        Ok(Self::over_cluster(session))
    }
}

/// Runs a scheduler until the process ends; `ready` is told the address that it listens on. It opens
/// data sets to plan queries, with the settings of buckets in `storage`.
///
/// # Errors
/// [`Error::Cluster`] when the address cannot be listened on.
pub async fn serve_scheduler(
    bind: SocketAddr,
    storage: &[(String, String)],
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    let storage: StorageOptions = storage.into();
    let failed = |error: &dyn std::fmt::Display| unreachable(bind, error);
    let listener = tokio::net::TcpListener::bind(bind)
        .await
        .map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let config = SchedulerConfig {
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        external_host: address.ip().to_string(),
        override_config_producer: Some(configure(&storage)),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(&storage))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(&storage))),
        override_session_builder: Some(Arc::new(move |config| session::state(config, &storage))),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config)
        .await
        .map_err(|error| failed(&error))?;
    let scheduler =
        create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config));
    let scheduler = scheduler.await.map_err(|error| failed(&error))?;
    ready(address);
    start_grpc_service_with_listener(listener, scheduler)
        .await
        .map_err(|error| failed(&error))
}

/// Runs an executor until the process is told to end.
///
/// # Errors
/// [`Error::Cluster`] when the scheduler cannot be reached or no port is free.
pub async fn serve_executor(executor: &Executor) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| unreachable(&executor.scheduler, error);
    let storage: StorageOptions = executor.storage.as_slice().into();
    let (scheduler_host, scheduler_port) = parted(&executor.scheduler)?;
    let [port, grpc_port] = free_ports(&executor.host).map_err(|error| failed(&error))?;
    let mut registry = BallistaFunctionRegistry::default();
    for function in functions::scalar() {
        let name = function.name().to_owned();
        registry.scalar_functions.insert(name, function);
    }
    for function in functions::aggregate() {
        let name = function.name().to_owned();
        registry.aggregate_functions.insert(name, function);
    }
    let config = ExecutorProcessConfig {
        bind_host: executor.host.clone(),
        external_host: Some(executor.host.clone()),
        port,
        grpc_port,
        scheduler_host,
        scheduler_port,
        vcores: executor.slots.unwrap_or(0),
        work_dir: executor
            .work
            .as_ref()
            .map(|work| work.to_string_lossy().into_owned()),
        override_function_registry: Some(Arc::new(registry)),
        override_config_producer: Some(configure(&storage)),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(&storage))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(&storage))),
        override_runtime_producer: Some(Arc::new(move |_| session::runtime(&storage))),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config))
        .await
        .map_err(|error| failed(&error))
}

fn settings(storage: &StorageOptions) -> SessionConfig {
    session::config()
        .upgrade_for_ballista()
        .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::new(storage)))
        .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::new(storage)))
}

fn configure(storage: &StorageOptions) -> Arc<dyn Fn() -> SessionConfig + Send + Sync> {
    let storage = Arc::clone(storage);
    Arc::new(move || settings(&storage))
}

/// Two ports that nobody listens on now.
fn free_ports(host: &str) -> std::io::Result<[u16; 2]> {
    let [first, second] = [TcpListener::bind((host, 0))?, TcpListener::bind((host, 0))?];
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

fn parted(address: &str) -> Result<(String, u16)> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.ok_or_else(|| Error::Choice {
        text: address.to_owned(),
        what: "address",
        choices: "HOST:PORT",
    })
}

fn unreachable(address: impl ToString, reason: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::Cluster {
        address: address.to_string(),
        reason: reason.to_string(),
    }
}
