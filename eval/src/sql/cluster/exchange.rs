//! The server on which an executor hands rows to other executors and to clients.
//!
//! Ballista builds a file's path from the job's name in a request, without checking it. A name that contains a
//! path could lead out of the work folder, so it is refused.

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use ballista_core::serde::decode_protobuf;
use ballista_core::serde::scheduler::Action as Fetch;
use ballista_executor::flight_service::BallistaFlightService;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of the largest message.
const MESSAGE: usize = 16 << 20;

type Answer<T> = Result<Response<T>, Status>;
type Rows<T> = BoxStream<'static, Result<T, Status>>;

/// Rows of the files in one work folder.
pub(super) struct Exchange(BallistaFlightService);

impl Exchange {
    pub(super) fn of(work: String) -> FlightServiceServer<Self> {
        FlightServiceServer::new(Self(BallistaFlightService::new(work)))
            .max_encoding_message_size(MESSAGE)
            .max_decoding_message_size(MESSAGE)
    }
}

/// Refuses a request for a job whose name is more than a name.
fn check(request: &[u8]) -> Result<(), Status> {
    let fetch = decode_protobuf(request);
    let Fetch::FetchPartition { job_id, .. } =
        fetch.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let job = job_id.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match !job.is_empty() && job.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(Status::invalid_argument("that is not the name of a job")),
    }
}

fn refused<T>() -> Answer<T> {
    Err(Status::unimplemented("rows are fetched, and nothing else"))
}

#[tonic::async_trait]
impl FlightService for Exchange {
    type HandshakeStream = Rows<HandshakeResponse>;
    type ListFlightsStream = Rows<FlightInfo>;
    type DoGetStream = Rows<FlightData>;
    type DoPutStream = Rows<PutResult>;
    type DoExchangeStream = Rows<FlightData>;
    type DoActionStream = Rows<arrow_flight::Result>;
    type ListActionsStream = Rows<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        check(&request.get_ref().ticket)?;
        self.0.do_get(request).await
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        check(&request.get_ref().body)?;
        self.0.do_action(request).await
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Self::HandshakeStream> {
        refused()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        refused()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        refused()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        refused()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        refused()
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        refused()
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Answer<Self::DoExchangeStream> {
        refused()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        refused()
    }
}
