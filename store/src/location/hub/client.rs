//! Requests to the hub: redirects and the token.

use std::time::Duration;

use object_store::Error;
use object_store::path::Path;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode, redirect};
use url::Url;

use crate::location::refusal::Busy;

const REDIRECTS: usize = 10;

/// A client of one hub.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) endpoint: Url,
    /// Token, which is sent only to the hub.
    token: Option<String>,
}

/// Why the hub, or the server that it sent us to, gave no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the hub answers {status} ({message}); if the data set is gated, accept its terms in a browser \
         ({page}), and set HF_TOKEN to a token that may read it"
    )]
    Closed {
        status: StatusCode,
        message: String,
        page: String,
    },
    #[error("the hub answers {status} ({message}) for {url}")]
    Status {
        status: StatusCode,
        message: String,
        url: Url,
    },
    #[error("{url} is busy")]
    Busy { url: String, source: Busy },
    #[error("{url} leads nowhere: {reason}")]
    Redirect { url: Url, reason: String },
    #[error("{url} cannot be reached")]
    Network { url: String, source: reqwest::Error },
    #[error("{url} gives what is not an answer of a hub: {reason}")]
    Answer { url: Url, reason: String },
}

impl Refusal {
    /// Whether the file, repository or revision is not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether a server that we were sent to has forgotten the errand.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Status { status, .. } | Self::Closed { status, .. } if status.is_client_error())
    }

    /// Converts to an error of `object_store` about an object.
    pub(super) fn about(self, key: &Path) -> Error {
        let path = key.to_string();
        match self {
            Self::Closed { status, .. } if status == StatusCode::UNAUTHORIZED => {
                let source = Box::new(self);
                Error::Unauthenticated { path, source }
            }
            Self::Closed { .. } => {
                let source = Box::new(self);
                Error::PermissionDenied { path, source }
            }
            missing if missing.is_missing() => {
                let source = Box::new(missing);
                Error::NotFound { path, source }
            }
            other => other.general(),
        }
    }

    /// Converts to an error of `object_store` about the repository.
    pub(super) fn general(self) -> Error {
        Error::Generic {
            store: "hub",
            source: Box::new(self),
        }
    }
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<String>) -> object_store::Result<Self> {
        let not_supported = |source| Error::NotSupported { source };
        let url = Url::parse(endpoint).map_err(|error| not_supported(error.into()))?;
        if !matches!(url.scheme(), "http" | "https") {
            let reason = format!("hf_endpoint {endpoint} is not a URL of a web server");
            return Err(not_supported(reason.into()));
        }
        let http = reqwest::Client::builder()
            // Followed here, with an eye on the token.
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60))
            .user_agent(concat!("wellspring/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| not_supported(error.into()))?;
        Ok(Self {
            http,
            endpoint: url,
            token,
        })
    }

    /// What is at a URL, or where it leads, and the URL that gave it.
    pub(super) async fn get(
        &self,
        mut url: Url,
        range: Option<&str>,
    ) -> Result<(Response, Url), Refusal> {
        for _ in 0..REDIRECTS {
            let answer = self.once(Method::GET, &url, range).await?;
            match destination(&url, &answer)? {
                Some(next) => url = next,
                None => return Ok((self.sound(&url, answer)?, url)),
            }
        }
        let reason = format!("there are more than {REDIRECTS} redirects");
        Err(Refusal::Redirect { url, reason })
    }

    /// The size of what is at a URL.
    pub(super) async fn size(&self, mut url: Url) -> Result<u64, Refusal> {
        for _ in 0..REDIRECTS {
            let answer = self.once(Method::HEAD, &url, None).await?;
            // The hub knows the size of what lies elsewhere.
            let header = match answer.status().is_redirection() {
                true => "x-linked-size",
                false => "content-length",
            };
            let size = number(answer.headers(), header);
            match (destination(&url, &answer)?, size) {
                (Some(_), Some(size)) => return Ok(size),
                (Some(next), None) => url = next,
                (None, size) => {
                    self.sound(&url, answer)?;
                    let reason = "it does not say how long the file is".into();
                    return size.ok_or(Refusal::Answer { url, reason });
                }
            }
        }
        let reason = format!("there are more than {REDIRECTS} redirects");
        Err(Refusal::Redirect { url, reason })
    }

    async fn once(
        &self,
        method: Method,
        url: &Url,
        range: Option<&str>,
    ) -> Result<Response, Refusal> {
        let mut request = self.http.request(method, url.clone());
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|_| url.origin() == self.endpoint.origin())
        {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = request.send().await;
        let answer = answer.map_err(|source| network(url, source))?;
        let status = answer.status().as_u16();
        if !Busy::is_said_by(status) {
            return Ok(answer);
        }
        let reason = answer.status().canonical_reason().unwrap_or_default();
        Err(Refusal::Busy {
            url: bare(url).to_string(),
            source: Busy::of(status, answer.headers(), reason),
        })
    }

    /// The answer, if it is one.
    fn sound(&self, url: &Url, answer: Response) -> Result<Response, Refusal> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let header = |name: &str| answer.headers().get(name)?.to_str().ok();
        let message = header("x-error-message").or(header("x-error-code"));
        let message = message
            .or(status.canonical_reason())
            .unwrap_or("no reason")
            .to_owned();
        let url = bare(url);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Refusal::Closed {
                status,
                message,
                page: page(&url),
            },
            _ => Refusal::Status {
                status,
                message,
                url,
            },
        })
    }
}

/// Target of a redirect, if the answer is one.
fn destination(url: &Url, answer: &Response) -> Result<Option<Url>, Refusal> {
    if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    let bad = |reason: String| Refusal::Redirect {
        url: bare(url),
        reason,
    };
    let to = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let to = to.ok_or_else(|| bad("it is a redirect without a destination".into()))?;
    let next = url.join(to).map_err(|error| bad(error.to_string()))?;
    if url.scheme() == "https" && next.scheme() != "https" {
        return Err(bad(
            "it is a redirect to a connection without encryption".into()
        ));
    }
    Ok(Some(next))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A URL without its query, which may be a signature.
fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

/// The page of the repository that a URL of a file or of the interface is about.
fn page(url: &Url) -> String {
    let mut page = url.clone();
    let parts = url
        .path()
        .trim_start_matches("/api")
        .split('/')
        .skip(1)
        .take(3);
    page.set_path(&parts.collect::<Vec<_>>().join("/"));
    page.to_string()
}

pub(super) fn network(url: &Url, source: reqwest::Error) -> Refusal {
    Refusal::Network {
        url: bare(url).to_string(),
        source: source.without_url(),
    }
}
