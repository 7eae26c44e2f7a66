//! What servers answer instead of what they were asked for.

use std::time::Duration;

use object_store::client::HttpError;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The hub of Hugging Face counts requests in windows of five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// No credentials were given, and the machine has none of its own.
#[derive(Debug, thiserror::Error)]
#[error(
    "no credentials: {ways}. (Asked last: {authority}, which gives them to machines of the cloud)"
)]
pub(super) struct NoCredentials {
    pub(super) ways: &'static str,
    pub(super) authority: String,
    pub(super) source: Option<HttpError>,
}

/// A server answers that it cannot answer now.
#[derive(Debug, thiserror::Error)]
#[error("the server answers {status} ({said})")]
pub(super) struct Busy {
    pub(super) status: u16,
    pub(super) said: String,
    pub(super) asked_wait: Option<Duration>,
}

impl Busy {
    pub(super) fn of(status: u16, headers: &HeaderMap, said: &str) -> Self {
        let code = said
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"));
        let said = code.map_or(said, |(code, _)| code);
        Self {
            status,
            said: said.chars().filter(|c| !c.is_control()).take(100).collect(),
            asked_wait: asked_wait(headers),
        }
    }

    /// Whether a status says that another answer may come later.
    pub(super) fn is_said_by(status: u16) -> bool {
        matches!(status, 408 | 425 | 429) || (status >= 500 && !matches!(status, 501 | 505))
    }
}

/// How long a server asks us to wait: `Retry-After: SECONDS`, or `RateLimit: "api";r=0;t=SECONDS`.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let of_limit = || {
        let mut parts = text("ratelimit")?.split(';').map(str::trim);
        parts.find_map(|part| part.strip_prefix("t=")?.parse().ok())
    };
    let seconds = text(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok());
    let seconds = seconds.or_else(of_limit)?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}
