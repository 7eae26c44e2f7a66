//! A small S3 server for tests: buckets in memory, on a port of this machine, with simulated failures of
//! networks and stores.
//!
//! It supports what `object_store` uses of S3: objects with ranges and conditions (`If-Match`,
//! `If-None-Match`), multipart uploads, copies, deletions, and lists of the second version. Every
//! bucket exists. Conditions are checked and applied under one lock, so of two racing writers one
//! succeeds. It does not verify signatures, though it knows whose they are, and it keeps no times. It also
//! speaks Google's dialect, in which conditions are on generations. For a plain HTTP client it is a web
//! server, which may redirect to another place. [`Hub`] stands in for the hub of Hugging Face.
//!
//! ```
//! use wellspring_s3_testing::{Fault, Server, Trouble};
//!
//! let server = Server::start().expect("a free port");
//! // Every third answer with an object breaks off after a kilobyte.
//! server.trouble(Trouble { method: "GET", fault: Fault::Reset { after: 1024 }, every: 3, times: u64::MAX });
//! let settings = server.settings(); // for Location::parse_with("s3://any-bucket/any/prefix", &settings)
//! assert_eq!(settings[0].1, server.endpoint());
//! ```

mod http;
mod hub;
mod objects;
mod requests;
mod trouble;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use hub::Hub;
pub use trouble::{Fault, Link, ServerCounts, Trouble};

use objects::{Condition, Objects};
use trouble::Network;

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    objects: Arc<Objects>,
    network: Arc<Network>,
    /// Dropping it stops the server.
    _running: oneshot::Sender<()>,
}

impl Server {
    /// Starts a server on a free port, with a thread of its own.
    ///
    /// # Errors
    /// When there is no free port or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts a server at an address.
    ///
    /// # Errors
    /// When it is not free, or there is no thread.
    pub fn start_at(address: SocketAddr) -> io::Result<Self> {
        let (objects, network) = (Arc::new(Objects::default()), Arc::new(Network::default()));
        let shared = (Arc::clone(&objects), Arc::clone(&network));
        let (address, running) = listen("s3", address, move |stream| {
            let (objects, network) = shared.clone();
            async move { serve(stream, &objects, &network).await }
        })?;
        Ok(Self {
            address,
            objects,
            network,
            _running: running,
        })
    }

    /// Address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of the server.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settings that lead an S3 client to it, by the names of `object_store`.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("aws_endpoint", self.endpoint()),
            ("aws_region", "us-east-1".into()),
            ("aws_access_key_id", "anyone".into()),
            ("aws_secret_access_key", "anything".into()),
        ];
        settings.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Settings that lead a client of Google's Cloud Storage to it, by the names of `object_store`.
    #[must_use]
    pub fn google_settings(&self) -> Vec<(String, String)> {
        // `google_skip_signature` does not keep the client from asking for a token before it writes.
        let key = format!(
            r#"{{"private_key":"any","private_key_id":"any","client_email":"any","disable_oauth":true,"gcs_base_url":"{}"}}"#,
            self.endpoint()
        );
        let settings = [("google_service_account_key", key)];
        settings.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// Sets the speed and latency of the connection from now on.
    pub fn link(&self, link: Link) {
        self.network.set_link(link);
    }

    /// Simulates a failure from now on, in place of an earlier one.
    pub fn trouble(&self, trouble: Trouble) {
        self.network.set_trouble(Some(trouble));
    }

    /// Ends all simulated failures.
    pub fn calm(&self) {
        self.network.set_trouble(None);
    }

    /// From now on redirects requests for this path (`/BUCKET/KEY`) to another URL, with status 302.
    pub fn redirect(&self, path: &str, to: &str) {
        self.network.set_redirect(path, to);
    }

    /// Puts an object at a path (`/BUCKET/KEY`), also under a key that clients would not write.
    pub fn put(&self, path: &str, bytes: impl Into<bytes::Bytes>) {
        let written = self.objects.put(path, bytes.into(), &Condition::Always);
        debug_assert!(written.is_ok(), "there is no condition");
    }

    /// Removes every object.
    pub(crate) fn clear(&self) {
        self.objects.clear();
    }

    /// The `Authorization` headers that came so far; an empty text for requests without one.
    #[must_use]
    pub fn authorizations(&self) -> BTreeSet<String> {
        self.network.authorizations()
    }

    /// Ids of the access keys that requests were signed with.
    #[must_use]
    pub fn key_ids(&self) -> BTreeSet<String> {
        let id = |header: &String| {
            let (_, rest) = header.split_once("Credential=")?;
            Some(rest.split_once('/')?.0.to_owned())
        };
        self.authorizations().iter().filter_map(id).collect()
    }

    /// From now on lists do not show objects that are newer than this call, as those of an eventually
    /// consistent store may; `false` ends this.
    pub fn freeze_lists(&self, frozen: bool) {
        self.objects.freeze_lists(frozen);
    }

    /// Uploads in parts that are neither complete nor given up.
    #[must_use]
    pub fn uploads(&self) -> usize {
        self.objects.uploads()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> ServerCounts {
        self.network.seen()
    }
}

/// Serves each connection to an address, on a thread of its own, until the sender is dropped.
fn listen<F: Future<Output = io::Result<()>> + Send + 'static>(
    name: &str,
    address: SocketAddr,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> io::Result<(SocketAddr, oneshot::Sender<()>)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (running, stopped) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = accept(listener, serve) => {}
                }
            });
            runtime.shutdown_background();
        })?;
    Ok((address, running))
}

async fn accept<F: Future<Output = io::Result<()>> + Send + 'static>(
    listener: std::net::TcpListener,
    serve: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

/// Answers the requests of one connection until it ends.
async fn serve(stream: TcpStream, objects: &Objects, network: &Network) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = http::Connection::new(stream);
    while let Some(request) = connection.receive().await? {
        network.note(request.header("authorization"));
        let answer = match network.redirect(&request.path) {
            Some(to) => http::Answer::new(302, "").with("location", to),
            None => requests::answer(&request, objects),
        };
        network.send(&mut connection, &request, answer).await?;
    }
    Ok(())
}
