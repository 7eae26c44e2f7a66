//! Certificates of a cluster, and tunnels for clients that know only plain connections.
//!
//! Ballista dials `http://` and lets a program change the endpoint. An endpoint of tonic can do TLS only where
//! tonic is built with it, and tonic's TLS asks for features of rustls that no other part of this program needs.
//! So clients connect to a socket in a folder of this user only, and [`Tunnels`] forwards it through TLS to the
//! server.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{parted, within};
use crate::{Error, Result};

/// What HTTP/2 is called in a handshake.
const HTTP2: &[u8] = b"h2";

/// What a server shows to its clients: a certificate and the key of it.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

/// What a client asks of its servers: a certificate signed by an authority that it trusts.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    folder: PathBuf,
    /// Number of sockets that were made in the folder.
    sockets: Arc<AtomicUsize>,
}

impl ServerTls {
    /// Takes a chain of certificates, the server's first, and its private key, both as PEM.
    ///
    /// # Errors
    /// [`Error::Certificate`] for what is not PEM, and for a key of another certificate.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self> {
        let chain = certificates_of(certificates, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| refused("key", &error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, key))
            .map_err(|error| refused("certificate", &error))?;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

impl ClientTls {
    /// Trusts the authorities of a PEM file and no others. `folder`, where sockets will lie, must be open to
    /// this user alone.
    ///
    /// # Errors
    /// [`Error::Certificate`] for what is not PEM or holds no authority.
    pub fn from_pem(authorities: &[u8], folder: PathBuf) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in certificates_of(authorities, "authority")? {
            let added = roots.add(authority);
            added.map_err(|error| refused("authority", &error))?;
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("authority", &error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            folder,
            sockets: Arc::default(),
        })
    }

    /// Connects to HOST:PORT and makes sure that it is who the certificate says.
    pub(super) async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let (host, port) = parted(address).map_err(io::Error::other)?;
        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await
    }
}

/// Sockets that lead to servers, one for each.
pub(super) struct Tunnels {
    tls: ClientTls,
    runtime: Handle,
    open: Mutex<HashMap<String, PathBuf>>,
}

impl Tunnels {
    /// Tunnels that live as long as the runtime that this is called on.
    pub(super) fn new(tls: ClientTls) -> Self {
        Self {
            tls,
            runtime: Handle::current(),
            open: Mutex::default(),
        }
    }

    /// The socket that leads to HOST:PORT.
    pub(super) fn to(&self, address: &str) -> io::Result<PathBuf> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = open.get(address) {
            return Ok(path.clone());
        }
        let number = self.tls.sockets.fetch_add(1, Ordering::Relaxed);
        let path = self.tls.folder.join(format!("{number}.socket"));
        let _guard = self.runtime.enter();
        let listener = UnixListener::bind(&path)?;
        self.runtime
            .spawn(lead(listener, self.tls.clone(), address.to_owned()));
        open.insert(address.to_owned(), path.clone());
        Ok(path)
    }
}

/// Forwards connections to a server.
async fn lead(listener: UnixListener, tls: ClientTls, address: String) {
    while let Ok((near, _)) = listener.accept().await {
        let (tls, address) = (tls.clone(), address.clone());
        tokio::spawn(async move {
            if let Err(error) = pass(near, &tls, &address).await {
                tracing::info!("the connection to {address} ended: {error}");
            }
        });
    }
}

async fn pass(mut near: UnixStream, tls: &ClientTls, address: &str) -> io::Result<()> {
    let mut far = within(tls.connect(address)).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

fn certificates_of(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| refused(what, &error))?;
    if found.is_empty() {
        return Err(refused(what, &"the file holds no certificate"));
    }
    Ok(found)
}

fn refused(what: &'static str, reason: &dyn fmt::Display) -> Error {
    Error::Certificate {
        what,
        reason: reason.to_string(),
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(hidden)")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.folder).finish()
    }
}
