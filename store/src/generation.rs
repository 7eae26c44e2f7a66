//! Changing a data set: a new manifest beside the old one, whose name only one writer can take.

use std::collections::BTreeSet;

use crate::{Error, Location, Manifest, Result, Split};

fn place(root: &Location, generation: u64) -> Location {
    root.join(&format!("generations/{generation:05}.json"))
}

/// The latest generation of a data set, which is the one in `manifest.json` unless a writer was
/// interrupted between the two steps of its commit; that is then made good.
///
/// # Errors
/// [`Error::NotADataset`]; see [`Manifest::from_json`].
pub async fn latest(root: &Location) -> Result<Manifest> {
    let mut manifest = Manifest::load(root).await?;
    let found = manifest.generation;
    while let Some(next) = load(root, manifest.generation + 1).await? {
        manifest = next;
    }
    if manifest.generation != found {
        show(root, &manifest).await?;
    }
    Ok(manifest)
}

async fn load(root: &Location, generation: u64) -> Result<Option<Manifest>> {
    let place = place(root, generation);
    match place.get_opt().await? {
        Some(bytes) => Manifest::from_json(&bytes, &place.to_string()).map(Some),
        None => Ok(None),
    }
}

/// Commits a generation.
pub(crate) async fn publish(root: &Location, manifest: &Manifest) -> Result<()> {
    if let Some(before) = manifest.generation.checked_sub(1) {
        let old = root.join("manifest.json").get().await?;
        if Manifest::from_json(&old, "manifest.json")?.generation == before {
            place(root, before).put_new(old).await?;
        }
    }
    let json = manifest.to_json()?;
    if !place(root, manifest.generation).put_new(json).await? {
        return Err(Error::Overtaken {
            root: root.to_string(),
            generation: manifest.generation,
        });
    }
    show(root, manifest).await
}

/// Makes a generation the one that readers see, or a later one that came meanwhile.
async fn show(root: &Location, manifest: &Manifest) -> Result<()> {
    let mut shown = manifest.clone();
    loop {
        root.join("manifest.json").put(shown.to_json()?).await?;
        match load(root, shown.generation + 1).await? {
            Some(next) => shown = next,
            None => return Ok(()),
        }
    }
}

/// Takes a split out of a data set: the next generation does not have it. Its files stay until
/// [`purge`].
///
/// # Errors
/// [`Error::NoSplit`]; [`Error::Overtaken`] when another writer was first.
pub async fn drop_split(root: &Location, split: Split) -> Result<Manifest> {
    let mut manifest = latest(root).await?;
    manifest.split(split)?;
    manifest.splits.remove(&split);
    if let Some(made) = &mut manifest.provenance {
        made.sources.retain(|source| source.split != split);
    }
    manifest.generation += 1;
    publish(root, &manifest).await?;
    Ok(manifest)
}

/// Deletes what only earlier generations name, and those generations; gives the number of objects.
/// Who reads an earlier generation at that moment will miss them.
///
/// # Errors
/// [`Error::Io`].
pub async fn purge(root: &Location) -> Result<usize> {
    let manifest = latest(root).await?;
    let kept: BTreeSet<&str> = manifest.paths().collect();
    let mut deleted = 0;
    for generation in 0..manifest.generation {
        let Some(old) = load(root, generation).await? else {
            continue;
        };
        for path in old.paths().filter(|path| !kept.contains(path)) {
            root.join(path).delete().await?;
            deleted += 1;
        }
        place(root, generation).delete().await?;
    }
    Ok(deleted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::sample;

    #[tokio::test]
    async fn a_split_is_dropped_and_its_files_go_when_asked() {
        let root = Location::parse("memory:///ds").unwrap();
        let first = sample::write(&root, &[5, 4], sample::options(&[5, 4]))
            .await
            .unwrap();
        assert!(drop_split(&root, Split::Test).await.is_err());
        let next = drop_split(&root, Split::Train).await.unwrap();
        assert_eq!((next.generation, next.splits.len()), (1, 0));
        assert_eq!(Manifest::load(&root).await.unwrap(), next);
        assert_eq!(load(&root, 0).await.unwrap().unwrap(), first);
        let shard = root.join("train/00000.arrow");
        assert!(shard.exists().await.unwrap());
        assert_eq!(purge(&root).await.unwrap(), 3);
        assert!(!shard.exists().await.unwrap());
    }

    #[tokio::test]
    async fn of_two_writers_one_is_told() {
        let root = Location::parse("memory:///ds").unwrap();
        let first = sample::write(&root, &[5], sample::options(&[5]))
            .await
            .unwrap();
        let mut next = first.clone();
        next.generation = 1;
        let (a, b) = futures::join!(publish(&root, &next), publish(&root, &next));
        let lost = [a, b].into_iter().filter_map(Result::err);
        let lost: Vec<Error> = lost.collect();
        assert!(matches!(lost[..], [Error::Overtaken { generation: 1, .. }]));
    }

    #[tokio::test]
    async fn a_half_commit_is_made_good() {
        let root = Location::parse("memory:///ds").unwrap();
        let mut next = sample::write(&root, &[5], sample::options(&[5]))
            .await
            .unwrap();
        next.generation = 1;
        place(&root, 1)
            .put_new(next.to_json().unwrap())
            .await
            .unwrap();
        assert_eq!(Manifest::load(&root).await.unwrap().generation, 0);
        assert_eq!(latest(&root).await.unwrap(), next);
        assert_eq!(Manifest::load(&root).await.unwrap().generation, 1);
    }
}
