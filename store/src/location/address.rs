//! Parses paths and URLs, before any store is opened, by the rules in the docs of [`Location`].
//!
//! [`Location`]: super::Location

use std::fmt;
use std::path::{Component, PathBuf};

use object_store::ObjectStoreScheme;
use object_store::path::{Path, PathPart};
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use super::hub::Repository;

/// Schemes of buckets.
const BUCKETS: [&str; 8] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss"];

/// A store and a key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// The URL of the store's root without a trailing slash; empty for the local disk.
    pub(super) root: String,
    /// Key as the store has it, without any encoding.
    pub(super) key: Path,
}

/// What kind of place it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The local disk; the key is the absolute path.
    Disk,
    /// Memory of this process, or a store that the caller made.
    Memory,
    /// S3, Google or Azure, by their own schemes.
    Bucket,
    /// A web server, or a bucket by the URL of its web server.
    Web,
    /// A data set of the Hugging Face hub.
    Hub(Repository),
}

impl Address {
    /// # Errors
    /// Why the text names no place.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = scheme(text) else {
            return Self::on_disk(text);
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_container = scheme.starts_with("abfs") && !authority.contains(':');
        if scheme != "memory" && authority.contains('@') && !is_container {
            return Err(CREDENTIALS.into());
        }
        match scheme.as_str() {
            "file" => Self::of_file(text),
            "memory" => {
                let key = rest.strip_prefix('/').unwrap_or(rest);
                Self::literal(Kind::Memory, "memory://".into(), key)
            }
            "http" | "https" => Self::on_web(text),
            "hf" => {
                let (repository, key) = Repository::parse(rest)?;
                let root = format!("hf://{repository}");
                Self::literal(Kind::Hub(repository), root, key)
            }
            bucket if BUCKETS.contains(&bucket) => {
                let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
                Self::in_bucket(bucket, name, key)
            }
            other => Err(format!(
                "{other}:// is not known; use a path, s3://, gs://, az://, https://, hf://, file:// or memory://"
            )),
        }
    }

    fn literal(kind: Kind, root: String, key: &str) -> Result<Self, String> {
        let key = parse_key(key)?;
        Ok(Self { kind, root, key })
    }

    fn on_disk(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if let Some((scheme, rest)) = text.split_once(":/") {
            if scheme == "file" {
                return Self::of_file(text);
            }
            if BUCKETS.contains(&scheme) || ["http", "https", "hf", "memory"].contains(&scheme) {
                return Err(format!("write {scheme}://{rest}"));
            }
        }
        let absolute = std::path::absolute(text).map_err(|error| error.to_string())?;
        Self::of_path(absolute)
    }

    fn of_file(text: &str) -> Result<Self, String> {
        let path = plain_url(text)?.to_file_path();
        Self::of_path(path.map_err(|()| "not a local path")?)
    }

    /// Resolves `.` and `..` by the text alone: the place need not exist.
    fn of_path(absolute: PathBuf) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in absolute.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name.to_str().ok_or("it is not UTF-8")?),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Self::literal(Kind::Disk, String::new(), &parts.join("/"))
    }

    fn in_bucket(scheme: &str, name: &str, key: &str) -> Result<Self, String> {
        let root = format!("{scheme}://{name}");
        match Url::parse(&root) {
            Ok(url) if url.has_host() && url[Position::BeforePath..].is_empty() => {
                Self::literal(Kind::Bucket, root, key)
            }
            _ => Err(format!("\"{name}\" is not the name of a bucket")),
        }
    }

    fn on_web(text: &str) -> Result<Self, String> {
        let url = plain_url(text)?;
        let path = url.path().strip_prefix('/').unwrap_or_default();
        let decoded = percent_decode_str(path).decode_utf8();
        let whole = parse_key(&decoded.map_err(|_| "its path is not UTF-8")?)?;
        // The first part of the path may be the bucket.
        let (_, key) = ObjectStoreScheme::parse(&url).map_err(|error| error.to_string())?;
        let above = whole.as_ref().strip_suffix(key.as_ref()).unwrap_or("");
        let root = format!("{}/{above}", &url[..Position::BeforePath]);
        Ok(Self {
            kind: Kind::Web,
            root: root.trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// A place below; what no key can hold is percent-encoded, so that a name out of a file never leads
    /// out of the folder.
    pub(super) fn join(&mut self, below: &str) {
        for part in below.split('/').filter(|part| !part.is_empty()) {
            let part = PathPart::parse(part).unwrap_or_else(|_| PathPart::from(part));
            self.key = std::mem::take(&mut self.key).join(part);
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, key) = (&self.root, &self.key);
        if let (Kind::Web, Ok(mut url)) = (&self.kind, Url::parse(root)) {
            if let Ok(mut parts) = url.path_segments_mut() {
                parts.pop_if_empty().extend(key.parts());
            }
            return write!(f, "{url}");
        }
        write!(f, "{root}/{key}")
    }
}

/// A place is written to manifests, logs and tables.
const CREDENTIALS: &str = "a user or a password in it would be kept wherever the place is; give credentials in the \
     environment or as storage options";

/// The scheme of a URL, in lower case, and what follows `://`.
fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    (is_scheme && scheme.chars().all(of_scheme)).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// A URL by the rules of the web, which says nothing that would be lost.
fn plain_url(text: &str) -> Result<Url, String> {
    if text.contains(|c: char| c.is_ascii_control()) || text.trim() != text {
        return Err("it has control characters, or spaces around it".into());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.fragment().is_some() {
        return Err(
            "what follows # is never sent to a server; write %23 if it is of the name".into(),
        );
    }
    if url.query().is_some() {
        return Err("a query (?...) is not sent; write %3F if the ? is of the name".into());
    }
    if url.path().to_ascii_lowercase().contains("%2f") {
        return Err("a name with an encoded slash (%2F) cannot be told from a folder".into());
    }
    Ok(url)
}

/// A key as it was typed; one slash after it names the same folder.
///
/// # Errors
/// Parses a key; the error says why no object can have this name.
pub(super) fn parse_key(text: &str) -> Result<Path, String> {
    let key = text.strip_suffix('/').unwrap_or(text);
    if key.is_empty() && text.is_empty() {
        return Ok(Path::ROOT);
    }
    for part in key.split('/') {
        if part.is_empty() {
            return Err("it has an empty part (//), which no key can have here".into());
        }
        if part == "." || part == ".." {
            return Err(format!(
                "\"{part}\" is a part of it, which a bucket takes for a name"
            ));
        }
        if let Some(control) = part.chars().find(char::is_ascii_control) {
            return Err(format!("it has a control character, {control:?}"));
        }
    }
    Path::parse(key).map_err(|error| error.to_string())
}
