//! A stand-in for the hub of Hugging Face: the requests with which a data set's repository is read.
//!
//! Lists come in pages that name the next one in a header, and revisions are resolved to commits. Requests for
//! small files are redirected within the hub, those for large ones to a server on another port, whose links
//! are valid until [`Hub::forget_links`].

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::http::{Answer, Connection, Request};
use crate::trouble::Network;
use crate::{Server, Trouble};

/// Entries in one page of a tree.
const PAGE: usize = 3;

/// Files of this many bytes and more lie on the other server.
const LARGE: usize = 1000;

/// A running hub. It stops when it is dropped.
#[derive(Debug)]
pub struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropping it stops the hub.
    _running: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    repositories: Mutex<BTreeMap<String, Repository>>,
    network: Network,
    elsewhere: Server,
}

#[derive(Debug, Default)]
struct Repository {
    /// Files of each commit; `main` is the last.
    commits: Vec<BTreeMap<String, Bytes>>,
    /// Token that is needed to read it, if one is.
    token: Option<String>,
    moved_to: Option<String>,
    /// Number of times that links to the other server were forgotten.
    links: u64,
}

impl Hub {
    /// Starts a hub on a free port, and the other server on another.
    ///
    /// # Errors
    /// When there is no free port or no thread.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            repositories: Mutex::default(),
            network: Network::default(),
            elsewhere: Server::start()?,
        });
        let serving = Arc::clone(&shared);
        let (address, running) =
            crate::listen("hub", (Ipv4Addr::LOCALHOST, 0).into(), move |stream| {
                let shared = Arc::clone(&serving);
                async move { serve(stream, &shared).await }
            })?;
        Ok(Self {
            address,
            shared,
            _running: running,
        })
    }

    /// Settings that lead to it, with a token if one is given.
    #[must_use]
    pub fn settings(&self, token: Option<&str>) -> Vec<(String, String)> {
        let mut settings = vec![("hf_endpoint".into(), format!("http://{}", self.address))];
        // An empty one, so that no token of the machine is used.
        settings.push(("hf_token".into(), token.unwrap_or_default().into()));
        settings
    }

    /// A new commit of a repository (`OWNER/NAME`): the files of the last, and these.
    pub fn commit(&self, repository: &str, files: &[(&str, &[u8])]) {
        let mut held = self.shared.repositories();
        let commits = &mut held.entry(repository.to_owned()).or_default().commits;
        let mut all = commits.last().cloned().unwrap_or_default();
        for (path, bytes) in files {
            all.insert((*path).to_owned(), Bytes::copy_from_slice(bytes));
        }
        commits.push(all);
    }

    /// From now on only clients with the token get files of a repository.
    pub fn gate(&self, repository: &str, token: &str) {
        let mut held = self.shared.repositories();
        held.entry(repository.to_owned()).or_default().token = Some(token.to_owned());
    }

    /// From now on a repository has another name.
    pub fn rename(&self, old: &str, new: &str) {
        let mut held = self.shared.repositories();
        let repository = held.remove(old).unwrap_or_default();
        held.insert(new.to_owned(), repository);
        held.entry(old.to_owned()).or_default().moved_to = Some(new.to_owned());
    }

    /// From now on earlier links to the other server are refused.
    pub fn forget_links(&self, repository: &str) {
        let mut held = self.shared.repositories();
        held.entry(repository.to_owned()).or_default().links += 1;
        self.shared.elsewhere.clear();
    }

    /// From now on simulates a failure of the hub's own answers.
    pub fn trouble(&self, trouble: Trouble) {
        self.shared.network.set_trouble(Some(trouble));
    }

    /// Requests that the hub has answered with something.
    #[must_use]
    pub fn gets(&self) -> u64 {
        self.shared.network.seen().gets
    }

    /// The server that large files lie on.
    #[must_use]
    pub fn elsewhere(&self) -> &Server {
        &self.shared.elsewhere
    }
}

impl Shared {
    fn repositories(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        let held = self.repositories.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Answer {
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let (of_api, parts) = match parts.split_first() {
            Some((&"api", rest)) => (true, rest),
            _ => (false, parts.as_slice()),
        };
        let ["datasets", owner, name, verb, revision, path @ ..] = parts else {
            return missing("RepoNotFound");
        };
        let held = self.repositories();
        let Some(repository) = held.get(&format!("{owner}/{name}")) else {
            // It does not say whether there is one.
            return Answer::new(401, "").with("x-error-message", "Invalid username or password.");
        };
        if let Some(new) = &repository.moved_to {
            let to = request.path.replacen(&format!("{owner}/{name}"), new, 1);
            let query = request
                .query
                .iter()
                .map(|(key, value)| format!("{key}={value}"));
            let query = query.collect::<Vec<_>>().join("&");
            return Answer::new(307, "").with("location", format!("{to}?{query}"));
        }
        let Some(commit) = repository.find(revision) else {
            return missing("RevisionNotFound");
        };
        let path = path.join("/");
        match (*verb, of_api) {
            ("revision", true) => Answer::new(
                200,
                format!(r#"{{"sha":"{}","private":false}}"#, sha(commit)),
            ),
            ("tree", true) => repository.tree(request, commit, &path),
            ("resolve" | "cache", false) => self.file(request, repository, commit, &path),
            _ => missing("EntryNotFound"),
        }
    }

    fn file(&self, request: &Request, held: &Repository, commit: usize, path: &str) -> Answer {
        if let Some(token) = &held.token
            && request.header("authorization") != Some(&format!("Bearer {token}"))
        {
            let message = "Access to this dataset is restricted.";
            return Answer::new(403, "")
                .with("x-error-code", "GatedRepo")
                .with("x-error-message", message);
        }
        let Some(bytes) = held.commits[commit].get(path) else {
            return missing("EntryNotFound");
        };
        if bytes.len() >= LARGE {
            let key = format!("/large/{}/{commit}/{path}", held.links);
            self.elsewhere.put(&key, bytes.clone());
            let to = format!("{}{key}?Signature=any", self.elsewhere.endpoint());
            return Answer::new(302, "")
                .with("location", to)
                .with("x-linked-size", bytes.len().to_string());
        }
        if request.path.contains("/resolve/") {
            let to = request.path.replacen("/resolve/", "/cache/", 1);
            return Answer::new(307, "").with("location", to.replace(' ', "%20"));
        }
        crate::requests::object(request, bytes.clone(), "\"small\"")
    }
}

impl Repository {
    /// The index of the commit that a revision is.
    fn find(&self, revision: &str) -> Option<usize> {
        match revision {
            "main" => self.commits.len().checked_sub(1),
            commit => (0..self.commits.len()).find(|index| sha(*index) == commit),
        }
    }

    fn tree(&self, request: &Request, commit: usize, folder: &str) -> Answer {
        let below = |path: &&String| folder.is_empty() || path.starts_with(&format!("{folder}/"));
        let paths: Vec<&String> = self.commits[commit].keys().filter(below).collect();
        if paths.is_empty() && !folder.is_empty() {
            return missing("EntryNotFound");
        }
        let from = request.query("cursor").and_then(|text| text.parse().ok());
        let from: usize = from.unwrap_or(0);
        let entries = paths.iter().skip(from).take(PAGE).map(|path| {
            let size = self.commits[commit][*path].len();
            format!(r#"{{"type":"file","oid":"0","size":{size},"path":"{path}"}}"#)
        });
        // The hub's trees have folders among the files.
        let mut entries: Vec<String> = entries.collect();
        if from == 0 {
            entries.push(r#"{"type":"directory","oid":"0","size":0,"path":"data"}"#.into());
        }
        let answer = Answer::new(200, format!("[{}]", entries.join(",")));
        match from + PAGE < paths.len() {
            true => answer.with(
                "link",
                format!(
                    "<{}?recursive=true&expand=false&cursor={}>; rel=\"next\"",
                    request.path,
                    from + PAGE
                ),
            ),
            false => answer,
        }
    }
}

fn sha(commit: usize) -> String {
    format!("{commit:040x}")
}

fn missing(code: &str) -> Answer {
    Answer::new(404, "").with("x-error-code", code)
}

/// Answers the requests of one connection until it ends.
async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.receive().await? {
        let mut answer = shared.answer(&request);
        answer.head = request.method == "HEAD";
        shared
            .network
            .send(&mut connection, &request, answer)
            .await?;
    }
    Ok(())
}
