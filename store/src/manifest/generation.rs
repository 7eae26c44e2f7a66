//! Changes a data set: a new manifest replaces the one that it was made from, if that is still there.
//!
//! When two writers change the same manifest, one succeeds and the other gets an error; nothing else decides.
//! Generation numbers only grow, and the files of each have names that no other work uses ([`stamp`]). So a file
//! of an existing generation that no manifest names can never be named again, and can be deleted without
//! knowing which writers live ([`litter`]). A replaced manifest is kept below `generations/`.
//!
//! [`Change`] has the steps that all writers share, from the claim to tidying up.

mod change;
mod claim;
mod head;
mod litter;
mod stamp;

use crate::{Error, Location, Manifest, Result, Split};

pub use change::{Change, ChangeOutcome, ChangeStart};
pub use head::Head;
pub use litter::{Litter, litter, purge};
pub(crate) use stamp::Stamp;

/// Location at which a replaced manifest is kept.
fn kept(root: &Location, manifest: &Manifest) -> Location {
    let (generation, id) = (manifest.generation, manifest.id());
    root.join(&format!("generations/{generation:05}-{id}.json"))
}

/// The newest earlier manifest that is kept and of which something holds.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for one that cannot be read.
pub(crate) async fn earlier(
    root: &Location,
    holds: impl Fn(&Manifest) -> bool,
) -> Result<Option<Manifest>> {
    for place in root.join("generations").list().await?.iter().rev() {
        // A purge may have been faster.
        let Some(bytes) = place.get_opt().await? else {
            continue;
        };
        let manifest = Manifest::from_json(&bytes, &place.to_string())?;
        if holds(&manifest) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Commits a manifest in the place of what there was before.
///
/// # Errors
/// [`Error::Overtaken`] when another manifest has taken its place, [`Error::Exists`] when one is there and
/// none was.
async fn publish(root: &Location, before: Option<&Head>, next: &Manifest) -> Result<()> {
    let is_done = match before {
        Some(before) => replace(root, before, next).await?,
        None => root.join("manifest.json").put_new(next.to_json()).await?,
    };
    // A twin may have done the same work, or an answer that was lost on the way was a yes.
    if is_done || is_committed(root, next).await? {
        return Ok(());
    }
    Err(overtaken(root, before, next.generation))
}

/// The error of a work when another writer was first.
fn overtaken(root: &Location, before: Option<&Head>, generation: u64) -> Error {
    let root = root.to_string();
    match before {
        Some(_) => Error::Overtaken { root, generation },
        None => Error::Exists { root },
    }
}

/// Puts a manifest in the place of another; `false` where that is there no longer.
async fn replace(root: &Location, before: &Head, next: &Manifest) -> Result<bool> {
    let Some(head) = Head::find(root).await? else {
        return Ok(false);
    };
    if head.bytes() != before.bytes() {
        return Ok(false);
    }
    // One that cannot be read names nothing that anybody could miss.
    match head.manifest() {
        Ok(manifest) => kept(root, &manifest).put(head.bytes()).await?,
        Err(error) if error.is_about_content() => {}
        Err(error) => return Err(error),
    }
    head.replace(next).await
}

/// Whether a manifest is the data set's, or was.
async fn is_committed(root: &Location, manifest: &Manifest) -> Result<bool> {
    let is_there = match Manifest::load(root).await {
        Ok(there) => there == *manifest,
        Err(Error::NotADataset { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(is_there || kept(root, manifest).exists().await?)
}

/// Takes a split out of a data set: the next generation does not have it. Its files stay until
/// [`purge`]. One that an earlier generation had, and this one has no longer, is dropped already.
///
/// # Errors
/// [`Error::NoSplit`]; [`Error::Overtaken`] when another writer was first.
pub async fn drop_split(root: &Location, split: Split) -> Result<Manifest> {
    let head = Head::load(root).await?;
    let before = head.manifest()?;
    if let Err(error) = before.split(split) {
        let earlier = earlier(root, |old| old.splits.contains_key(&split)).await?;
        return match earlier {
            Some(_) => Ok(before),
            None => Err(error),
        };
    }
    let mut next = before;
    next.splits.remove(&split);
    if let Some(made) = &mut next.provenance {
        made.sources.retain(|source| source.split != split);
    }
    next.generation += 1;
    publish(root, Some(&head), &next).await?;
    Ok(next)
}

#[cfg(test)]
mod tests;
