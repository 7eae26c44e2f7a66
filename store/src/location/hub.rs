//! URLs of data sets of the Hugging Face hub: `hf://datasets/OWNER/NAME[@REVISION]/PATH`, read only.

mod client;
mod store;

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use self::client::Client;
pub(super) use self::store::HubStore;
use super::settings::{HUB, all_known};

/// The hub, where no other is named.
const ENDPOINT: &str = "https://huggingface.co";

/// The repository of a data set, at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    owner: String,
    name: String,
    /// Revision as typed: a branch, a tag or a commit; `main` if there is none.
    revision: Option<String>,
}

impl Repository {
    /// Reads what follows `hf://`: the repository and the path in it.
    ///
    /// # Errors
    /// Why it names none.
    pub(super) fn parse(rest: &str) -> Result<(Self, &str), String> {
        let wanted = || "expected hf://datasets/OWNER/NAME[@REVISION]/PATH".to_owned();
        let rest = rest.strip_prefix("datasets/").ok_or_else(wanted)?;
        let (owner, rest) = rest.split_once('/').ok_or_else(wanted)?;
        let name_ends = rest.find(['/', '@']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_ends);
        if !is_name(owner) || !is_name(name) {
            return Err(wanted());
        }
        let (revision, rest) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (revision, rest) = rest.split_at(revision_ends(rest));
                (Some(revision.to_owned()), rest)
            }
            None => (None, rest),
        };
        if revision.as_ref().is_some_and(String::is_empty) {
            return Err("the revision after @ is empty".into());
        }
        let repository = Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision,
        };
        Ok((repository, rest.strip_prefix('/').unwrap_or(rest)))
    }

    /// Branch, tag or commit.
    fn revision(&self) -> String {
        let typed = self.revision.as_deref().unwrap_or("main");
        percent_decode_str(typed).decode_utf8_lossy().into_owned()
    }

    /// The repository at another revision.
    pub(super) fn at(&self, revision: &str) -> Self {
        Self {
            revision: Some(revision.to_owned()),
            ..self.clone()
        }
    }

    /// A URL of the hub, by the parts of its path before and after the name.
    fn url(&self, endpoint: &Url, before: &[&str], after: &[&str]) -> Url {
        let mut url = endpoint.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(before);
            parts
                .extend(["datasets", &self.owner, &self.name])
                .extend(after);
        }
        url
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datasets/{}/{}", self.owner, self.name)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(of_name) && text != "." && text != ".."
}

/// Length of the revision: up to the first slash, except that the hub's own references contain slashes.
fn revision_ends(text: &str) -> usize {
    let slashes = match text.starts_with("refs/convert/") || text.starts_with("refs/pr/") {
        true => 2,
        false => 0,
    };
    let end = text.match_indices('/').nth(slashes);
    end.map_or(text.len(), |(end, _)| end)
}

/// The files of a repository.
///
/// # Errors
/// [`object_store::Error`] for an endpoint that is not a URL and for unknown settings.
pub(super) fn open(
    repository: &Repository,
    options: &[(String, String)],
) -> object_store::Result<Arc<HubStore>> {
    all_known(options)?;
    let typed = |name: &str| {
        let mut found = options.iter().rev();
        let found = found.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let endpoint = typed(HUB[0]).or_else(|| set("HF_ENDPOINT"));
    let token = typed(HUB[1])
        .or_else(|| set("HF_TOKEN"))
        .or_else(kept_token)
        // An empty one that was typed keeps the others away.
        .filter(|token| !token.is_empty());
    let client = Client::new(endpoint.as_deref().unwrap_or(ENDPOINT), token)?;
    Ok(Arc::new(HubStore::new(repository.clone(), client)))
}

/// The token that `hf auth login` has left.
fn kept_token() -> Option<String> {
    let path = |name: &str| std::env::var_os(name).map(std::path::PathBuf::from);
    let file = path("HF_TOKEN_PATH")
        .or_else(|| Some(path("HF_HOME")?.join("token")))
        .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface/token")))
        .or_else(|| Some(path("HOME")?.join(".cache/huggingface/token")))?;
    let token = std::fs::read_to_string(file).ok()?;
    Some(token.trim().to_owned())
}
