//! The HTTP client of buckets: that of `object_store`, but one odd key does not break a list, and missing
//! credentials and busy servers give clear errors.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use super::odd_keys::OddKeys;
use super::refusal::{Busy, NoCredentials};

/// Makes the clients of a store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    odd: Arc<OddKeys>,
    metadata: Metadata,
}

/// The service that gives credentials to a machine of a cloud. It is asked when there are no others.
#[derive(Debug, Clone)]
struct Metadata {
    /// Host, and port if it is not the usual one.
    authorities: Vec<String>,
    /// Other ways to give credentials, for error messages.
    ways: &'static str,
}

impl Connector {
    /// Keeps the odd keys of lists; knows where a cloud's service of credentials is, and which other ways
    /// there are to give them.
    pub(super) fn new(odd: &Arc<OddKeys>, authorities: Vec<String>, ways: &'static str) -> Self {
        Self {
            odd: Arc::clone(odd),
            metadata: Metadata { authorities, ways },
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client {
            client: ReqwestConnector::default().connect(options)?,
            connector: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    connector: Connector,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let authority = request.uri().authority().map(ToString::to_string);
        let lists = is_list(request.uri().query().unwrap_or_default());
        let answer = self.client.execute(request).await;
        match authority.filter(|held| self.connector.metadata.authorities.contains(held)) {
            Some(authority) => {
                let answer = self.connector.metadata.credentials(authority, answer)?;
                not_busy(answer).await
            }
            None if lists => sifted(not_busy(answer?).await?, &self.connector.odd).await,
            None => not_busy(answer?).await,
        }
    }
}

impl Metadata {
    /// An error that is final, and says what to do, where the service is not there or has nothing to give.
    fn credentials(
        &self,
        authority: String,
        answer: Result<HttpResponse, HttpError>,
    ) -> Result<HttpResponse, HttpError> {
        let source = match answer {
            Ok(answer) if answer.status() != 404 => return Ok(answer),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let missing = NoCredentials {
            ways: self.ways,
            authority,
            source,
        };
        // `object_store` does not retry errors of this kind.
        Err(HttpError::new(HttpErrorKind::Unknown, missing))
    }
}

/// Whether a request is for a page of a list, by its query: of S3 and Google, or of Azure.
fn is_list(query: &str) -> bool {
    query
        .split('&')
        .any(|part| part == "list-type=2" || part == "comp=list")
}

/// An answer, if it is one: an error for a server that cannot answer now, or that has another write of
/// the same object under way.
async fn not_busy(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = answer.status().as_u16();
    if status != CONFLICT && !Busy::is_said_by(status) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body.bytes().await?;
    let said = String::from_utf8_lossy(&body);
    let is_under_way = ["ConditionalRequestConflict", "OperationAborted"];
    if status == CONFLICT && !is_under_way.iter().any(|code| said.contains(code)) {
        return Ok(HttpResponse::from_parts(head, body.into()));
    }
    let busy = Busy::of(status, &head.headers, &said);
    // The client passes on errors of this kind unchanged.
    Err(HttpError::new(HttpErrorKind::Unknown, busy))
}

const CONFLICT: u16 = 409;

async fn sifted(answer: HttpResponse, odd: &OddKeys) -> Result<HttpResponse, HttpError> {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let page = body.bytes().await?;
    let kept = std::str::from_utf8(&page)
        .ok()
        .and_then(|page| odd.sift(page));
    let body = kept.map_or_else(|| page.into(), Into::into);
    Ok(HttpResponse::from_parts(head, body))
}
