//! Changing a data set: a manifest in the place of the one that it was made from, while that is there.
//!
//! Of two changes of the same manifest one takes its place and the other is told; nothing else decides.
//! The manifest that goes is kept below `generations/` first, so that [`purge`] knows what it named. What
//! a change writes has names that no other writer uses, so none can spoil or delete another's.

mod head;

use std::collections::BTreeSet;

use crate::{Error, Location, Manifest, Result, Split};

use head::Head;

/// Where a manifest is kept that another took the place of.
fn kept(root: &Location, manifest: &Manifest) -> Location {
    let (generation, id) = (manifest.generation, manifest.id());
    root.join(&format!("generations/{generation:05}-{id}.json"))
}

/// Commits the next generation of the manifest `before`.
///
/// # Errors
/// [`Error::Overtaken`] when another manifest has taken its place.
pub(crate) async fn publish(root: &Location, before: &Manifest, next: &Manifest) -> Result<()> {
    let head = Head::load(root).await?;
    if *head.manifest() == *before {
        kept(root, before).put(head.bytes()).await?;
        if head.replace(next).await? {
            return Ok(());
        }
    }
    // A twin may have done the same work, or an answer that was lost on the way was a yes.
    match is_committed(root, next).await? {
        true => Ok(()),
        false => Err(Error::Overtaken {
            root: root.to_string(),
            generation: next.generation,
        }),
    }
}

/// Whether a manifest is the data set's, or was.
async fn is_committed(root: &Location, manifest: &Manifest) -> Result<bool> {
    Ok(Manifest::load(root).await? == *manifest || kept(root, manifest).exists().await?)
}

/// Takes a split out of a data set: the next generation does not have it. Its files stay until
/// [`purge`].
///
/// # Errors
/// [`Error::NoSplit`]; [`Error::Overtaken`] when another writer was first.
pub async fn drop_split(root: &Location, split: Split) -> Result<Manifest> {
    let before = Manifest::load(root).await?;
    before.split(split)?;
    let mut next = before.clone();
    next.splits.remove(&split);
    if let Some(made) = &mut next.provenance {
        made.sources.retain(|source| source.split != split);
    }
    next.generation += 1;
    publish(root, &before, &next).await?;
    Ok(next)
}

/// Deletes what only earlier generations name, and those generations; gives the number of objects.
/// Who reads an earlier generation at that moment will miss them.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for an earlier manifest that cannot be read: what it names is not
/// known then.
pub async fn purge(root: &Location) -> Result<usize> {
    let manifest = Manifest::load(root).await?;
    let named: BTreeSet<&str> = manifest.paths().collect();
    let mut deleted = 0;
    for place in root.join("generations").list().await? {
        // Another purge may have been faster.
        let Some(bytes) = place.get_opt().await? else {
            continue;
        };
        let old = Manifest::from_json(&bytes, &place.to_string())?;
        // A later one came after the look at the present: what it names may be in use.
        if old.generation >= manifest.generation {
            continue;
        }
        for path in old.paths().filter(|path| !named.contains(path)) {
            root.join(path).delete().await?;
            deleted += 1;
        }
        // Last, so that a purge that is stopped can be done again.
        place.delete().await?;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests;
