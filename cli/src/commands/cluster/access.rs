//! Reads tokens and certificates from files and variables, and connects to a cluster.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use wellspring_eval::{ClientTls, Cluster, Credentials, Error, ServerTls, Token};
use wellspring_store::Reporter;

use super::work::WorkFolder;
use crate::args::{Remote, Server};
use crate::commands::Session;
use crate::failure::{Misuse, misuse};

/// The variable that holds a token where no file is named.
const VARIABLE: &str = "WELLSPRING_TOKEN";

/// The token of a file, or of the environment. It is in no message.
pub fn token(file: Option<&Path>) -> Result<Option<Token>> {
    let text = match (file, std::env::var(VARIABLE)) {
        (Some(file), _) => match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => misuse!("--token-file {}: {error}", file.display()),
        },
        (None, Ok(text)) => text,
        (None, Err(std::env::VarError::NotPresent)) => return Ok(None),
        (None, Err(_)) => misuse!("{VARIABLE} is not text"),
    };
    Token::parse(&text).map(Some).map_err(as_misuse)
}

/// What a server shows, if it shows anything.
pub fn identity(server: &Server) -> Result<Option<ServerTls>> {
    let (Some(certificate), Some(key)) = (&server.tls_cert, &server.tls_key) else {
        return Ok(None);
    };
    let (certificate, key) = (pem("--tls-cert", certificate)?, pem("--tls-key", key)?);
    let tls = ServerTls::from_pem(&certificate, &key).map_err(as_misuse)?;
    Ok(Some(tls))
}

/// Whom a client trusts; its sockets lie in the folder.
pub fn authorities(file: &Path, folder: &WorkFolder) -> Result<ClientTls> {
    let sockets = folder.below("sockets")?;
    ClientTls::from_pem(&pem("--tls-ca", file)?, sockets).map_err(as_misuse)
}

fn pem(option: &str, file: &Path) -> Result<Vec<u8>> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(bytes),
        Err(error) => misuse!("{option} {}: {error}", file.display()),
    }
}

/// What was typed wrong ends with code 2, what went wrong with 1.
pub fn as_misuse(error: Error) -> anyhow::Error {
    match error {
        Error::Token { .. } | Error::Certificate { .. } | Error::Exposed { .. } => {
            Misuse(error.to_string()).into()
        }
        error => error.into(),
    }
}

/// A cluster that can be asked.
pub struct Connection {
    pub cluster: Cluster,
    patience: Duration,
    /// Folder of the sockets, kept as long as the connection is used.
    _folder: Option<WorkFolder>,
}

/// Reaches the cluster that was named, if one was.
pub fn connect(session: &Session, remote: &Remote) -> Result<Option<Connection>> {
    let Some(address) = &remote.cluster else {
        return Ok(None);
    };
    let mut credentials = Credentials {
        token: token(remote.token_file.as_deref())?,
        tls: None,
    };
    let folder = remote.tls_ca.is_some().then(|| WorkFolder::new(None));
    let folder = folder.transpose()?;
    if let (Some(file), Some(folder)) = (&remote.tls_ca, &folder) {
        credentials.tls = Some(authorities(file, folder)?);
    }
    Ok(Some(Connection {
        cluster: session.wait(Cluster::reach(address, credentials))?,
        patience: Duration::from_secs(remote.cluster_wait),
        _folder: folder,
    }))
}

impl Connection {
    /// Ends when the cluster has no executors any longer.
    pub async fn watch(&self, reporter: &dyn Reporter) -> Error {
        self.cluster.watch(self.patience, reporter).await
    }
}
