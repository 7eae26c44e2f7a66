//! Connects the members of a cluster: with the token, and through TLS.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use tonic::transport::Endpoint;

use super::tls::{ClientTls, Tunnels};
use super::token::Token;

/// What a client brings.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// What the servers ask for, if they do.
    pub token: Option<Token>,
    /// Whom the client trusts; without it connections are plain.
    pub tls: Option<ClientTls>,
}

impl Credentials {
    /// Equips endpoints that Ballista makes. Called on a runtime, which tunnels need as long as they live.
    pub(super) fn dial(&self) -> EndpointOverrideFn {
        let agent = self.token.as_ref().map(Token::user_agent);
        let tunnels = self.tls.clone().map(Tunnels::new);
        Arc::new(move |endpoint| equipped(endpoint, agent.as_deref(), tunnels.as_ref()))
    }
}

fn equipped(
    endpoint: Endpoint,
    agent: Option<&str>,
    tunnels: Option<&Tunnels>,
) -> Result<Endpoint, Box<dyn StdError + Send + Sync>> {
    let endpoint = match tunnels {
        Some(tunnels) => {
            let address = endpoint.uri().authority();
            let address = address.ok_or("an address without a host")?;
            let socket = tunnels.to(address.as_str())?;
            Endpoint::from_shared(format!("unix:{}", socket.display()))?
                .http2_keep_alive_interval(Duration::from_secs(30))
                .keep_alive_while_idle(true)
        }
        None => endpoint,
    };
    Ok(match agent {
        Some(agent) => endpoint.user_agent(agent.to_owned())?,
        None => endpoint,
    })
}
