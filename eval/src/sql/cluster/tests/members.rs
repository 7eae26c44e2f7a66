//! Schedulers and executors of a test, and a client that skips our checks.

use super::*;

/// Runs a test on threads as a server has them.
pub(super) fn served(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .unwrap();
    runtime.block_on(runtime.spawn(test)).unwrap();
}

pub(super) fn place(folder: &Path) -> Location {
    Location::parse(folder.to_str().unwrap()).unwrap()
}

/// Our scheduler, which reads below a folder.
pub(super) async fn scheduler(reads: &Path) -> String {
    let scheduler = Scheduler {
        bind: "127.0.0.1:0".parse().unwrap(),
        reads: vec![place(reads)],
        token: None,
        tls: None,
        storage: Vec::new(),
    };
    let (ready, listening) = tokio::sync::oneshot::channel();
    let serving = serve_scheduler(scheduler, |address| ready.send(address).unwrap());
    tokio::spawn(serving);
    listening.await.unwrap().to_string()
}

/// Ballista's scheduler, which carries out whatever comes.
pub(super) async fn careless_scheduler() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let storage = StorageOptions::default();
    let dial = Credentials::default().dial();
    let config = SchedulerConfig {
        scheduling_policy: ballista_core::config::TaskSchedulingPolicy::PullStaged,
        bind_port: address.port(),
        task_max_failures: 1,
        override_config_producer: Some(configure(&storage, &Reach::Anywhere, dial)),
        override_logical_codec: Some(Arc::new(LogicalCodec::new(&storage, &Reach::Anywhere))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::new(&storage, &Reach::Anywhere))),
        override_session_builder: Some(Arc::new(move |config| session::state(config, &storage))),
        ..SchedulerConfig::default()
    };
    let config = Arc::new(config);
    let cluster = BallistaCluster::new_from_config(&config).await.unwrap();
    let service = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config)
        .await
        .unwrap();
    let presence = Presence {
        executors: service.state.executor_manager.clone(),
        silence: Duration::from_secs(30),
    };
    let routes = Routes::new(SchedulerGrpcServer::new(service)).add_service(presence);
    tokio::spawn(Gate::default().serve(listener, routes, std::future::pending()));
    address.to_string()
}

/// Our executor, which reads below a folder and works in another.
pub(super) async fn executor(scheduler: &str, reads: &Path, work: &Path) -> String {
    let executor = Executor {
        scheduler: scheduler.to_owned(),
        host: "127.0.0.1".into(),
        slots: Some(1),
        work: work.to_owned(),
        reads: vec![place(reads)],
        credentials: Credentials::default(),
        tls: None,
        storage: Vec::new(),
    };
    let (ready, listening) = tokio::sync::oneshot::channel();
    let serving = serve_executor(executor, |address| ready.send(address).unwrap());
    tokio::spawn(serving);
    listening.await.unwrap().to_string()
}

pub(super) fn message(plan: &LogicalPlan) -> Query {
    let codec = LogicalCodec::new(&StorageOptions::default(), &Reach::Anywhere);
    let mut bytes = Vec::new();
    let node = LogicalPlanNode::try_from_logical_plan(plan, &codec).unwrap();
    node.try_encode(&mut bytes).unwrap();
    Query::LogicalPlan(bytes)
}

/// What becomes of a query: nothing more than that it was answered, or why it was not.
pub(super) async fn outcome(scheduler: &str, query: Query) -> Result<(), String> {
    let address = format!("http://{scheduler}");
    let mut client = SchedulerGrpcClient::connect(address).await.unwrap();
    let mut request = tonic::Request::new(ExecuteQueryParams {
        session_id: "stranger".into(),
        settings: Vec::new(),
        operation_id: "1".into(),
        query: Some(query),
    });
    insert_version_header(request.metadata_mut());
    let taken = client.execute_query(request).await.unwrap().into_inner();
    let job_id = match taken.result.unwrap() {
        Taken::Success(job) => job.job_id,
        Taken::Failure(failure) => return Err(format!("{failure:?}")),
    };
    loop {
        let params = GetJobStatusParams {
            job_id: job_id.clone(),
        };
        let status = client.get_job_status(params).await.unwrap().into_inner();
        match status.status.and_then(|job| job.status) {
            Some(Job::Failed(job)) => return Err(job.error),
            Some(Job::Successful(_)) => return Ok(()),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
