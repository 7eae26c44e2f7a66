//! Simulates the network between client and server, with its failures.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::http::{Answer, Connection, Request};

/// Latency and speed of the connection to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Before each answer.
    pub latency: Duration,
    /// Bytes a second of each connection; no limit if not said.
    pub bandwidth: Option<u64>,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another status, such as 500 or 503, instead of the answer; 429 asks for a pause of a second.
    Status(u16),
    /// The connection is reset after so many bytes of the body.
    Reset {
        /// Bytes that come.
        after: usize,
    },
    /// The body is shorter than it should be, and nothing says so.
    Short {
        /// Bytes that are missing.
        by: usize,
    },
    /// A byte in the middle is another.
    Corrupt,
    /// The connection is reset without an answer.
    Gone,
    /// There is no answer, ever.
    Hang,
}

/// A failure, and the answers that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// Only requests of this method fail; a GET that lists does not count.
    pub method: &'static str,
    /// What goes wrong.
    pub fault: Fault,
    /// Every nth of these requests fails, the nth being the first, where n is this number; 1 is all.
    pub every: u64,
    /// Number of failures in all.
    pub times: u64,
}

/// What a server has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Requests for objects or ranges of them.
    pub gets: u64,
    /// Requests that write objects or parts of them.
    pub puts: u64,
    /// Bytes of objects that it sent.
    pub bytes: u64,
    /// Faults that it made.
    pub faults: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    link: Mutex<Link>,
    trouble: Mutex<Option<(Trouble, u64)>>,
    /// Paths that are elsewhere, and where.
    redirects: Mutex<BTreeMap<String, String>>,
    authorizations: Mutex<BTreeSet<String>>,
    gets: AtomicU64,
    puts: AtomicU64,
    bytes: AtomicU64,
    faults: AtomicU64,
}

impl Network {
    pub(crate) fn set_link(&self, link: Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        let trouble = trouble.map(|trouble| (trouble, 0));
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(crate) fn set_redirect(&self, path: &str, to: &str) {
        self.redirects().insert(path.to_owned(), to.to_owned());
    }

    /// URL to which a path is redirected, if it is.
    pub(crate) fn redirect(&self, path: &str) -> Option<String> {
        self.redirects().get(path).cloned()
    }

    /// Keeps in mind with whose authority a request came.
    pub(crate) fn note(&self, authorization: Option<&str>) {
        let header = authorization.unwrap_or_default().to_owned();
        self.noted().insert(header);
    }

    pub(crate) fn authorizations(&self) -> BTreeSet<String> {
        self.noted().clone()
    }

    fn noted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let noted = self.authorizations.lock();
        noted.unwrap_or_else(PoisonError::into_inner)
    }

    fn redirects(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.redirects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> ServerCounts {
        ServerCounts {
            gets: self.gets.load(Ordering::SeqCst),
            puts: self.puts.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
            faults: self.faults.load(Ordering::SeqCst),
        }
    }

    /// Sends an answer the way the line lets it.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        request: &Request,
        mut answer: Answer,
    ) -> io::Result<()> {
        let link = *self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if !link.latency.is_zero() {
            tokio::time::sleep(link.latency).await;
        }
        let mut end = usize::MAX;
        match self.fault(request) {
            Some(Fault::Status(429)) => {
                answer = Answer::error(429, "SlowDown").with("retry-after", "1");
            }
            Some(Fault::Status(status)) => answer = Answer::error(status, "SlowDown"),
            Some(Fault::Reset { after }) => end = after,
            Some(Fault::Short { by }) => {
                let length = answer.body.len().saturating_sub(by);
                answer.body.truncate(length);
            }
            Some(Fault::Corrupt) => answer.body = corrupted(&answer.body),
            Some(Fault::Gone) => return Err(connection.reset()),
            Some(Fault::Hang) => return std::future::pending().await,
            None => {}
        }
        let sent = &answer.body[..end.min(answer.body.len())];
        if !answer.head {
            // Before the answer, after which a client may ask for the count.
            self.count(request, sent.len() as u64);
        }
        connection.send(answer.head_text().as_bytes()).await?;
        if answer.head {
            return Ok(());
        }
        trickle(connection, sent, link.bandwidth).await?;
        match end < answer.body.len() {
            true => Err(connection.reset()),
            false => Ok(()),
        }
    }

    fn count(&self, request: &Request, sent: u64) {
        match request.method.as_str() {
            "GET" if request.query("list-type").is_none() => {
                self.gets.fetch_add(1, Ordering::SeqCst);
                self.bytes.fetch_add(sent, Ordering::SeqCst);
            }
            "PUT" => {
                self.puts.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }

    /// The fault of an answer, if it has one.
    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut held = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let (trouble, count) = held.as_mut()?;
        if trouble.method != request.method || request.query("list-type").is_some() {
            return None;
        }
        *count += 1;
        if trouble.times == 0 || !count.is_multiple_of(trouble.every.max(1)) {
            return None;
        }
        trouble.times -= 1;
        self.faults.fetch_add(1, Ordering::SeqCst);
        Some(trouble.fault)
    }
}

fn corrupted(body: &Bytes) -> Bytes {
    let mut body = body.to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 0x40;
    }
    body.into()
}

/// Sends bytes at no more than a bandwidth.
async fn trickle(
    connection: &mut Connection,
    bytes: &[u8],
    bandwidth: Option<u64>,
) -> io::Result<()> {
    let Some(bandwidth) = bandwidth else {
        return connection.send(bytes).await;
    };
    let began = tokio::time::Instant::now();
    let mut sent = 0;
    for chunk in bytes.chunks(64 << 10) {
        connection.send(chunk).await?;
        sent += chunk.len();
        let due = Duration::from_secs_f64(sent as f64 / bandwidth.max(1) as f64);
        tokio::time::sleep_until(began + due).await;
    }
    Ok(())
}
