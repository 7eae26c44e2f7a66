//! The number of executors of a scheduler, which Ballista's own service does not tell.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_scheduler::state::executor_manager::ExecutorManager;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Path of the request.
const PATH: &str = "/wellspring.Presence/executors";

/// The header of the answer.
const HEADER: &str = "wellspring-executors";

/// Answers it.
#[derive(Clone)]
pub(super) struct Presence {
    pub(super) executors: ExecutorManager,
    /// Since when an executor that says nothing is not there.
    pub(super) silence: Duration,
}

impl Presence {
    async fn count(&self) -> usize {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = now.unwrap_or_default().saturating_sub(self.silence);
        let known = self.executors.get_executors_state().await;
        let known = known.unwrap_or_default().into_iter();
        known.filter(|(_, heard, _)| *heard >= Some(since)).count()
    }
}

impl NamedService for Presence {
    const NAME: &'static str = "wellspring.Presence";
}

impl Service<http::Request<Body>> for Presence {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let count = this.count().await;
            let mut answer = Status::ok("").into_http();
            answer.headers_mut().insert(HEADER, count.into());
            Ok(answer)
        })
    }
}

/// Asks a scheduler. One that says nothing for ten seconds is taken for one that is away.
pub(super) async fn ask(scheduler: Channel) -> Result<usize, Status> {
    let asked = tokio::time::timeout(super::CONNECT, ask_for_ever(scheduler));
    let silent = |_| Status::deadline_exceeded("it does not answer");
    asked.await.map_err(silent)?
}

async fn ask_for_ever(mut scheduler: Channel) -> Result<usize, Status> {
    let unreachable = |error: tonic::transport::Error| Status::from_error(Box::new(error));
    let mut question = http::Request::new(Body::empty());
    *question.method_mut() = http::Method::POST;
    *question.uri_mut() = http::Uri::from_static(PATH);
    poll_fn(|context| scheduler.poll_ready(context))
        .await
        .map_err(unreachable)?;
    let answer = scheduler.call(question).await.map_err(unreachable)?;
    if let Some(status) = Status::from_header_map(answer.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let count = answer.headers().get(HEADER);
    let count = count.and_then(|count| count.to_str().ok()?.parse().ok());
    count.ok_or_else(|| Status::unimplemented("it is not a scheduler of this wellspring"))
}
