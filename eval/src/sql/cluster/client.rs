//! The client of a cluster: plans queries and sends them to the scheduler.

use std::time::{Duration, Instant};

use ballista::prelude::SessionContextExt as _;
use ballista_core::extension::EndpointOverrideFn;
use datafusion::prelude::SessionContext;
use tonic::transport::{Channel, Endpoint};
use wellspring_store::Reporter;

use super::dial::Credentials;
use super::reach::Reach;
use super::{CONNECT, parted, presence, settings, unusable, within};
use crate::sql::functions;
use crate::sql::session::{self, StorageOptions};
use crate::{Database, Error, Result};

/// Between two looks at who is there.
const LOOK: Duration = Duration::from_millis(500);

/// How long it may take before a person is told what is waited for.
const QUIET: Duration = Duration::from_secs(2);

/// A scheduler that answers.
#[derive(Clone)]
pub struct Cluster {
    address: String,
    channel: Channel,
    dial: EndpointOverrideFn,
}

impl Cluster {
    /// Looks whether the scheduler at HOST:PORT answers, and lets one in that brings these credentials.
    ///
    /// # Errors
    /// [`Error::Cluster`] with the reason when it does not.
    pub async fn reach(address: &str, credentials: Credentials) -> Result<Self> {
        let failed = |reason: &dyn std::fmt::Display| unusable(address, reason);
        let (host, port) = parted(address)?;
        // Behind a tunnel nobody hears why there is no connection.
        match &credentials.tls {
            Some(tls) => drop(within(tls.connect(address)).await.map_err(|e| failed(&e))?),
            None => {
                let stream = tokio::net::TcpStream::connect((host.as_str(), port));
                drop(within(stream).await.map_err(|error| failed(&error))?);
            }
        }
        let dial = credentials.dial();
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map_err(|error| failed(&error))?;
        let endpoint = dial(endpoint.connect_timeout(CONNECT)).map_err(|error| failed(&error))?;
        let cluster = Self {
            address: address.to_owned(),
            channel: endpoint.connect_lazy(),
            dial,
        };
        let present = presence::ask(cluster.channel.clone()).await;
        present.map_err(|status| failed(&reason(&status, credentials.tls.is_some())))?;
        Ok(cluster)
    }

    /// Watches for as long as a query runs. Says so when there is no executor for two seconds, and ends when there
    /// was none, or no scheduler, for `patience`.
    pub async fn watch(&self, patience: Duration, reporter: &dyn Reporter) -> Error {
        let (mut seen, mut is_told) = (Instant::now(), false);
        loop {
            let executors = presence::ask(self.channel.clone()).await;
            if matches!(executors, Ok(1..)) {
                (seen, is_told) = (Instant::now(), false);
            }
            if seen.elapsed() >= patience {
                return self.gone(patience, executors.err());
            }
            if seen.elapsed() >= QUIET && !is_told {
                is_told = true;
                let address = &self.address;
                reporter.note(&match executors {
                    Ok(_) => format!("no executor has registered with {address}; waiting"),
                    Err(_) => format!("{address} does not answer; waiting"),
                });
            }
            tokio::time::sleep(LOOK.min(patience)).await;
        }
    }

    fn gone(&self, patience: Duration, error: Option<tonic::Status>) -> Error {
        match error {
            Some(status) => unusable(&self.address, status.message()),
            None => Error::NoExecutor {
                address: self.address.clone(),
                seconds: patience.as_secs(),
            },
        }
    }
}

impl Database {
    /// A database whose queries a cluster answers.
    ///
    /// # Errors
    /// [`Error::Sql`] when the engine cannot be started.
    pub async fn on_cluster(cluster: &Cluster) -> Result<Self> {
        let storage = StorageOptions::default();
        let settings = settings(&storage, &Reach::Anywhere, cluster.dial.clone());
        let state = session::state(settings, &storage)?;
        let url = format!("df://{}", cluster.address);
        let mut session = SessionContext::remote_with_state(&url, state).await?;
        // Ballista puts its own functions in the place of all others.
        functions::register(&mut session)?;
        Ok(Self::over_cluster(session))
    }
}

/// What a person can do about an answer.
fn reason(status: &tonic::Status, is_tls: bool) -> String {
    match status.code() {
        tonic::Code::Unauthenticated => {
            format!(
                "{}; give it with --token-file or WELLSPRING_TOKEN",
                status.message()
            )
        }
        tonic::Code::Unimplemented | tonic::Code::NotFound => {
            "it is not a scheduler of this version of wellspring".into()
        }
        _ if is_tls => status.message().to_owned(),
        _ => format!("{}; if it asks for TLS, give --tls-ca", status.message()),
    }
}
