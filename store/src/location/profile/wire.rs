//! Adapts the HTTP client of `object_store` to the crates of AWS, which ask the services of roles and SSO
//! through it.

use std::sync::Arc;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

/// Opens its connections when it is first asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Client(Arc<std::sync::OnceLock<reqwest::Client>>);

impl HttpClient for Client {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        None
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.get_or_init(reqwest::Client::default).clone();
        HttpConnectorFuture::new(answer(client, request))
    }
}

async fn answer(
    client: reqwest::Client,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let (head, body) = user(request.try_into_http1x())?.into_parts();
    let body = Bytes::copy_from_slice(body.bytes().unwrap_or_default());
    let request = client
        .request(head.method, head.uri.to_string())
        .headers(head.headers)
        .body(body);
    let answer = request.send().await.map_err(failed)?;
    let status = user(StatusCode::try_from(answer.status().as_u16()))?;
    let headers = answer.headers().clone();
    let body = answer.bytes().await.map_err(failed)?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        if let Ok(value) = value.to_str() {
            response
                .headers_mut()
                .append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

fn failed(error: reqwest::Error) -> ConnectorError {
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}

fn user<T, E: std::error::Error + Send + Sync + 'static>(
    made: Result<T, E>,
) -> Result<T, ConnectorError> {
    made.map_err(|error| ConnectorError::user(error.into()))
}
