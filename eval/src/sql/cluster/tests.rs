//! Sends a scheduler the plans of clients that skip our checks, and an executor the stages of a scheduler
//! without checks: both refuse.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "files that nobody may touch")]

mod members;

use std::path::Path;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::ProstMessageExt as _;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result::Result as Taken;
use ballista_core::serde::protobuf::job_status::Status as Job;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_core::serde::protobuf::{self, ExecuteQueryParams, GetJobStatusParams};
use ballista_core::serde::scheduler::{Action as Fetch, ShuffleFileKind, ShuffleLayout};
use ballista_core::version::insert_version_header;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{LogicalPlan, Volatility, create_udf};
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
use datafusion_proto::logical_plan::AsLogicalPlan as _;
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use datafusion_proto::protobuf::logical_expr_node::ExprType;
use datafusion_proto::protobuf::logical_plan_node::LogicalPlanType;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;
use tonic::service::Routes;
use wellspring_store::Location;

use super::depth::LIMIT;
use super::gate::Gate;
use super::presence::Presence;
use super::*;
use members::{careless_scheduler, executor, message, outcome, scheduler, served};

/// Plans that a client can make, each with what its refusal by a scheduler and by an executor says. Where the
/// executor never sees one, it is for the scheduler only.
struct Hostile {
    name: &'static str,
    plan: LogicalPlan,
    scheduler: &'static str,
    executor: Option<&'static str>,
}

async fn hostile(secrets: &Path) -> Vec<Hostile> {
    let session = SessionContext::new();
    let (csv, parquet) = (secrets.join("secret.csv"), secrets.join("secret.parquet"));
    std::fs::write(&csv, "a,b\n1,2\n").unwrap();
    let options = CsvReadOptions::new();
    let rows = session
        .read_csv(csv.to_str().unwrap(), options)
        .await
        .unwrap();
    let written = parquet.to_str().unwrap();
    rows.write_parquet(written, Default::default(), None)
        .await
        .unwrap();
    let csv = csv.to_str().unwrap();
    session
        .register_csv("secret", csv, CsvReadOptions::new())
        .await
        .unwrap();
    let options = ParquetReadOptions::default();
    session
        .register_parquet("rows", written, options)
        .await
        .unwrap();
    let view = "CREATE VIEW seen AS SELECT a FROM secret";
    session.sql(view).await.unwrap().collect().await.unwrap();
    let type_ = DataType::Int64;
    session.register_udf(create_udf(
        "evil",
        vec![type_.clone()],
        type_,
        Volatility::Immutable,
        Arc::new(|values| Ok(values[0].clone())),
    ));
    let stolen = secrets.join("stolen.csv");
    let stolen = stolen.to_str().unwrap();
    let all: [(_, String, _, _); 9] = [
        (
            "copy",
            format!("COPY (SELECT 1 AS a) TO '{stolen}' STORED AS CSV"),
            "refuses COPY TO",
            Some("refuses DataSinkExec"),
        ),
        (
            "create",
            format!("CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '{csv}'"),
            "refuses a change of tables",
            None,
        ),
        (
            "insert",
            "INSERT INTO secret SELECT 3, 4".into(),
            "refuses",
            None,
        ),
        (
            "csv",
            "SELECT a FROM secret".into(),
            "refuses a scan of",
            Some("refuses a scan of csv files"),
        ),
        (
            "parquet",
            "SELECT a FROM rows".into(),
            "refuses a scan of",
            Some("may not read"),
        ),
        (
            "union",
            "SELECT a FROM (VALUES (1)) AS t(a) UNION ALL SELECT a FROM secret".into(),
            "refuses a scan of",
            Some("refuses a scan of csv files"),
        ),
        (
            "view",
            "SELECT count(*) FROM seen".into(),
            "refuses a scan of",
            Some("refuses a scan of csv files"),
        ),
        (
            "explain",
            "EXPLAIN ANALYZE SELECT a FROM secret".into(),
            "refuses a scan of",
            None,
        ),
        (
            "function",
            "SELECT evil(a) FROM (VALUES (1), (2)) AS t(a)".into(),
            "evil",
            None,
        ),
    ];
    let mut plans = Vec::new();
    for (name, sql, scheduler, executor) in all {
        let plan = session.state().create_logical_plan(&sql).await.unwrap();
        plans.push(Hostile {
            name,
            plan,
            scheduler,
            executor,
        });
    }
    plans
}

#[test]
fn a_scheduler_refuses_what_is_no_question_about_what_it_serves() {
    served(async {
        let folder = tempfile::tempdir().unwrap();
        let (served, secrets) = (folder.path().join("served"), folder.path().join("secrets"));
        std::fs::create_dir_all(&served).unwrap();
        std::fs::create_dir_all(&secrets).unwrap();
        let address = scheduler(&served).await;
        for hostile in hostile(&secrets).await {
            let name = hostile.name;
            let refused = outcome(&address, message(&hostile.plan)).await.unwrap_err();
            assert!(refused.contains(hostile.scheduler), "{name}: {refused}");
        }
        let session = SessionContext::new();
        let frame = session.sql("SELECT 1").await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let codec = PhysicalCodec::new(&StorageOptions::default(), &Reach::Anywhere);
        let node = PhysicalPlanNode::try_from_physical_plan(plan, &codec).unwrap();
        let mut bytes = Vec::new();
        node.try_encode(&mut bytes).unwrap();
        let refused = outcome(&address, Query::PhysicalPlan(bytes))
            .await
            .unwrap_err();
        assert!(refused.contains("refuses a physical plan"), "{refused}");
        assert!(!secrets.join("stolen.csv").exists());
    });
}

#[test]
fn an_executor_refuses_the_same_from_a_scheduler_that_lets_all_pass() {
    served(async {
        let folder = tempfile::tempdir().unwrap();
        let [served, secrets, work] =
            ["served", "secrets", "work"].map(|name| folder.path().join(name));
        for folder in [&served, &secrets, &work] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let address = careless_scheduler().await;
        executor(&address, &served, &work).await;
        let session = SessionContext::new();
        let questions = [
            "SELECT a, count(*) FROM (VALUES (1), (2), (2)) AS t(a) GROUP BY a",
            "SELECT a FROM (VALUES (1), (2), (2)) AS t(a) ORDER BY a",
            "SELECT last_value(a) OVER () FROM (VALUES (1), (2), (2)) AS t(a)",
            "SELECT t.a FROM (VALUES (1)) AS t(a) LEFT JOIN (VALUES (2)) AS u(b) ON t.a < u.b LIMIT 3",
        ];
        for question in questions {
            let plan = session.state().create_logical_plan(question).await.unwrap();
            let outcome = outcome(&address, message(&plan)).await;
            assert_eq!(outcome, Ok(()), "{question}");
        }
        for hostile in hostile(&secrets).await {
            let (name, Some(expected)) = (hostile.name, hostile.executor) else {
                continue;
            };
            let refused = outcome(&address, message(&hostile.plan)).await.unwrap_err();
            assert!(refused.contains(expected), "{name}: {refused}");
        }
        assert!(!secrets.join("stolen.csv").exists());
        // Without the check these are carried out: the folder is all that decides.
        let trusting = tempfile::tempdir().unwrap();
        let address = careless_scheduler().await;
        executor(&address, &secrets, trusting.path()).await;
        let parquet = hostile(&secrets).await.remove(4);
        assert_eq!(outcome(&address, message(&parquet.plan)).await, Ok(()));
    });
}

#[test]
fn a_sum_of_any_length_is_answered_by_an_error() {
    served(async {
        let folder = tempfile::tempdir().unwrap();
        let address = scheduler(folder.path()).await;
        let session = SessionContext::new();
        let plan = session
            .state()
            .create_logical_plan("SELECT 1 + 1")
            .await
            .unwrap();
        let codec = LogicalCodec::new(&StorageOptions::default(), &Reach::Anywhere);
        for terms in [LIMIT + 2, 1_800, 1_000_000] {
            let mut node = LogicalPlanNode::try_from_logical_plan(&plan, &codec).unwrap();
            let Some(LogicalPlanType::Projection(projection)) = &mut node.logical_plan_type else {
                panic!("{node:?}");
            };
            let Some(ExprType::BinaryExpr(sum)) = &mut projection.expr[0].expr_type else {
                panic!("{:?}", projection.expr);
            };
            sum.operands = vec![sum.operands[0].clone(); terms];
            let mut bytes = Vec::new();
            node.try_encode(&mut bytes).unwrap();
            let refused = outcome(&address, Query::LogicalPlan(bytes))
                .await
                .unwrap_err();
            assert!(refused.contains("operators deep"), "{terms}: {refused}");
        }
    });
}

#[test]
fn an_executor_hands_on_nothing_from_beside_its_folder() {
    served(async {
        let folder = tempfile::tempdir().unwrap();
        let [work, beside] = ["work", "beside"].map(|name| folder.path().join(name));
        for folder in [&work, &beside.join("1/0"), &work.join("job/1/0")] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("data.arrow"), "rows").unwrap();
        }
        let scheduler = careless_scheduler().await;
        let address = format!(
            "http://{}",
            executor(&scheduler, folder.path(), &work).await
        );
        let channel = tonic::transport::Endpoint::from_shared(address).unwrap();
        let mut client = FlightServiceClient::new(channel.connect().await.unwrap());
        let mut fetch = async |job: &str| {
            let action = Fetch::FetchPartition {
                job_id: job.into(),
                stage_id: 1,
                partition_id: 0,
                host: String::new(),
                port: 0,
                file_id: None,
                layout: ShuffleLayout::Passthrough,
                file_kind: ShuffleFileKind::Data,
                byte_ranges: Vec::new(),
            };
            let action: protobuf::Action = action.try_into().unwrap();
            let body = action.as_any().value;
            let request = arrow_flight::Action::new("IO_BLOCK_TRANSPORT", body);
            let mut rows = client.do_action(request).await?.into_inner();
            Ok::<_, tonic::Status>(rows.message().await?.unwrap().body)
        };
        assert_eq!(&fetch("job").await.unwrap()[..], b"rows");
        for job in ["../beside", beside.to_str().unwrap(), "..", ""] {
            let refused = fetch(job).await.unwrap_err();
            assert!(
                refused.message().contains("not the name of a job"),
                "{job}: {refused}"
            );
        }
    });
}
