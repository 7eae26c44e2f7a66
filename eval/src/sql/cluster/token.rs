//! [`Token`]: the secret that all members of a cluster know.
//!
//! Ballista lets a program change how its clients connect to a server, but not the headers they send. So the
//! token is sent in the one header that belongs to the connection: `user-agent`.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use tonic::{Request, Status};

use crate::{Error, Result};

/// Characters of the shortest token: 16 random letters and digits cannot be tried out.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=1024;

/// What the header begins with.
const AGENT: &str = "wellspring ";

/// A secret of 16 or more visible ASCII characters, never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// Reads a token; spaces and line breaks around it are not part of it.
    ///
    /// # Errors
    /// [`Error::Token`] for one that is short or cannot stand in a header.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let refused = |reason| Error::Token { reason };
        if !LENGTHS.contains(&text.len()) {
            return Err(refused("it needs 16 to 1024 characters"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("it may hold visible ASCII characters only"));
        }
        Ok(Self(text.into()))
    }

    pub(super) fn user_agent(&self) -> String {
        format!("{AGENT}{}", self.0)
    }

    /// Lets a request pass that carries this token. How long that takes does not depend on what it carries.
    pub(super) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let agent = request.metadata().get("user-agent");
        let agent = agent.and_then(|agent| agent.to_str().ok());
        let said = agent.and_then(|agent| agent.strip_prefix(AGENT)?.split(' ').next());
        let said = said.unwrap_or_default().as_bytes();
        match bool::from(said.ct_eq(self.0.as_bytes())) {
            true => Ok(request),
            false => Err(Status::unauthenticated("the token is missing or wrong")),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn request(agent: &str) -> Request<()> {
        let mut request = Request::new(());
        let headers = request.metadata_mut();
        headers.insert("user-agent", agent.parse().unwrap());
        request
    }

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token::parse(" 0123456789abcdef\n").unwrap();
        let agent = format!("{} tonic/0.14", token.user_agent());
        assert!(token.check(request(&agent)).is_ok());
        let wrong = [
            "tonic/0.14",
            "wellspring  tonic/0.14",
            "wellspring 0123456789abcdee tonic/0.14",
            "wellspring 0123456789abcde tonic/0.14",
            "wellspring 0123456789abcdef0 tonic/0.14",
            "0123456789abcdef",
        ];
        for agent in wrong {
            assert!(token.check(request(agent)).is_err(), "{agent}");
        }
        assert!(token.check(Request::new(())).is_err());
    }

    #[test]
    fn tokens_that_are_weak_or_cannot_travel_are_refused_and_none_is_shown() {
        for text in [
            "",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdéf",
        ] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
        let token = Token::parse("0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
    }
}
