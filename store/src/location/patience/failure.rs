//! Decides which failures of a request are temporary: a server that is busy or unreachable, an answer that
//! breaks off. A missing object, a forbidden or a malformed request is not.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::GaveUp;
use crate::location::refusal::{Busy, NoCredentials};

/// A failure that may pass.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether the store may have done what it was asked for.
    pub(super) may_be_done: bool,
    /// Whether the server's name is not known.
    pub(super) is_unresolved: bool,
    /// How long the server asked us to wait.
    pub(super) asked_wait: Option<Duration>,
    /// Reason in a few words.
    pub(super) reason: String,
}

/// An answer has fewer bytes than it said.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended {missing} bytes early")]
pub(super) struct CutOff {
    pub(super) missing: u64,
}

impl Failure {
    /// Classifies an error; none if retrying cannot help.
    pub(super) fn of(error: &Error) -> Option<Self> {
        let Error::Generic { source, .. } = error else {
            return None;
        };
        let mut cause: Option<&(dyn StdError + 'static)> = Some(source.as_ref());
        while let Some(error) = cause {
            match Self::of_cause(error) {
                Verdict::Passes(failure) => return Some(failure),
                Verdict::Stays => return None,
                Verdict::Unknown => cause = error.source(),
            }
        }
        None
    }

    fn of_cause(error: &(dyn StdError + 'static)) -> Verdict {
        if let Some(busy) = error.downcast_ref::<Busy>() {
            let reason = format!("{} {}", busy.status, busy.said).trim().to_owned();
            return Verdict::Passes(Self {
                may_be_done: false,
                is_unresolved: false,
                asked_wait: busy.asked_wait,
                reason,
            });
        }
        if error.is::<NoCredentials>() || error.is::<GaveUp>() {
            return Verdict::Stays;
        }
        if error.is::<CutOff>() {
            return Self::on_the_line(error, true);
        }
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return match error.kind() {
                HttpErrorKind::Connect | HttpErrorKind::Request => Self::on_the_line(error, false),
                HttpErrorKind::Timeout | HttpErrorKind::Interrupted => {
                    Self::on_the_line(error, true)
                }
                _ => Verdict::Unknown,
            };
        }
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            let is_sent = error.is_timeout() || error.is_request() || error.is_body();
            return match error.is_connect() {
                true => Self::on_the_line(error, false),
                false if is_sent || error.is_decode() => Self::on_the_line(error, true),
                false => Verdict::Stays,
            };
        }
        Verdict::Unknown
    }

    /// A failure of a connection; those of certificates and the like stay.
    fn on_the_line(error: &(dyn StdError + 'static), may_be_done: bool) -> Verdict {
        let mut root = error;
        let mut is_unresolved = false;
        loop {
            // The client's own words; it has no type for it.
            is_unresolved |= root.to_string().starts_with("dns error");
            if root
                .downcast_ref::<io::Error>()
                .is_some_and(is_about_content)
            {
                return Verdict::Stays;
            }
            match root.source() {
                Some(source) => root = source,
                None => break,
            }
        }
        let reason = root.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        Verdict::Passes(Self {
            may_be_done,
            is_unresolved,
            asked_wait: None,
            reason: reason.to_lowercase(),
        })
    }
}

/// What an error says of a failure.
enum Verdict {
    Passes(Failure),
    Stays,
    /// An unknown failure, whose cause may say more.
    Unknown,
}

/// What TLS says of certificates, or of a server that does not speak it.
fn is_about_content(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}
