//! Finds and removes files that nothing needs any longer.
//!
//! This needs no knowledge of which writers live, which a bucket could not give. A work makes one generation,
//! and only while the one before is there. So once a generation exists, every file with its stamp or an earlier
//! one that no manifest names is litter; its writer, if it lives, gets an error that another was first. Files
//! stamped for the next generation may belong to a living writer and stay until that generation exists.

use std::collections::BTreeSet;

use super::claim::WorkClaim;
use super::{Head, Stamp};
use crate::location::leftovers;
use crate::{Error, Location, Manifest, Result};

/// An object that no manifest and no writer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Litter {
    /// Path of the file below the data set's root.
    pub path: String,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// What [`purge`] would delete.
///
/// # Errors
/// As [`purge`].
pub async fn litter(root: &Location) -> Result<Vec<Litter>> {
    let (_, mut found) = look(root, None).await?;
    found.extend(begun(root, None));
    Ok(found)
}

/// Deletes what only earlier generations name, those generations, and what killed or overtaken writers left;
/// gives what it deleted. Who reads an earlier generation at that moment will miss it.
///
/// # Errors
/// [`Error::NotADataset`]; [`Error::Io`]; [`Error::Malformed`] for an earlier manifest that cannot be read: what it
/// names is not known then.
pub async fn purge(root: &Location) -> Result<Vec<Litter>> {
    let (generation, mut found) = look(root, None).await?;
    delete(root, &found).await?;
    found.extend(begun(root, Some(generation)));
    Ok(found)
}

/// [`purge`] that keeps generations from `keep_from` on. Nothing is deleted where it is not known what a
/// manifest names.
pub(super) async fn tidy(root: &Location, keep_from: u64) -> Result<()> {
    match look(root, Some(keep_from)).await {
        Ok((generation, found)) => {
            delete(root, &found).await?;
            begun(root, Some(generation));
            Ok(())
        }
        Err(error) if error.is_about_content() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes files in order, the generations and the claim last, so that a stopped purge can be repeated.
async fn delete(root: &Location, found: &[Litter]) -> Result<()> {
    for litter in found {
        root.join(&litter.path).delete().await?;
    }
    Ok(())
}

/// Files that a killed writer had begun on a local disk. They are removed where the present generation is given,
/// and so are the empty folders of records of works of the past.
fn begun(root: &Location, remove: Option<u64>) -> Vec<Litter> {
    let Some(folder) = root.local_path() else {
        return Vec::new();
    };
    if let Some(present) = remove {
        leftovers::remove_empty_folders(&folder.join("ingest"), |name| {
            let stamp = Stamp::of(&format!("ingest/{name}/"));
            stamp.is_some_and(|stamp| stamp.generation <= present)
        });
    }
    let found = leftovers::of_killed_writers(&folder, remove.is_some()).into_iter();
    found.map(|(path, bytes)| Litter { path, bytes }).collect()
}

/// What is there, and named by no manifest of the present or of a generation from `keep_from` on, and which
/// generation the present is.
async fn look(root: &Location, keep_from: Option<u64>) -> Result<(u64, Vec<Litter>)> {
    // Before the manifest, lest a claim on the next one is taken for one of the past.
    let claim = WorkClaim::read(root).await;
    let head = Head::load(root).await?;
    let is_past = match claim {
        Ok(claim) => claim.is_none_or(|claim| !claim.is_over(Some(&head))),
        Err(Error::Claim { .. }) => false,
        Err(error) => return Err(error),
    };
    let manifest = head.manifest()?;
    // After the manifest, which is kept before another takes its place.
    let objects = root.listing().await?.objects.into_iter();
    let objects = objects.filter_map(|(place, bytes)| Some((place.below(root)?, bytes)));
    let objects: Vec<_> = objects
        .map(|(path, bytes)| Litter { path, bytes })
        .collect();
    let kept =
        EarlierManifests::of(root, &objects, keep_from.unwrap_or(manifest.generation)).await?;
    let named: BTreeSet<&str> = kept.needed(&manifest).collect();
    let outdated: BTreeSet<&str> = kept.outdated.iter().flat_map(Manifest::paths).collect();
    let is_litter = |litter: &&Litter| {
        let path = litter.path.as_str();
        let is_of_the_past =
            Stamp::of(path).is_some_and(|stamp| stamp.generation <= manifest.generation);
        let is_claim = is_past && (path == WorkClaim::PLACE || path == WorkClaim::OLD_PROMISE);
        let is_outdated = path.contains('/') && outdated.contains(path);
        !named.contains(path) && (is_of_the_past || is_claim || is_outdated)
    };
    let mut found: Vec<Litter> = objects.iter().filter(is_litter).cloned().collect();
    let is_generation = |litter: &&Litter| kept.places.contains(&litter.path);
    found.extend(objects.iter().filter(is_generation).cloned());
    // The claim tells its work, begun again, that only this is left to do.
    found.sort_by_key(|litter| litter.path == WorkClaim::PLACE);
    Ok((manifest.generation, found))
}

/// The manifests of earlier generations.
struct EarlierManifests {
    needed: Vec<Manifest>,
    outdated: Vec<Manifest>,
    /// Paths of the outdated manifests, in their order.
    places: Vec<String>,
}

impl EarlierManifests {
    /// Reads them; those of generations before `keep_from` are outdated.
    async fn of(root: &Location, objects: &[Litter], keep_from: u64) -> Result<Self> {
        let mut kept = Self {
            needed: Vec::new(),
            outdated: Vec::new(),
            places: Vec::new(),
        };
        for Litter { path, .. } in objects {
            if !path.starts_with("generations/") {
                continue;
            }
            // Another purge may have been faster.
            let Some(bytes) = root.join(path).get_opt().await? else {
                continue;
            };
            let old = Manifest::from_json(&bytes, &root.join(path).to_string())?;
            if old.generation < keep_from {
                kept.outdated.push(old);
                kept.places.push(path.clone());
            } else {
                kept.needed.push(old);
            }
        }
        Ok(kept)
    }

    /// What they name, and what the present manifest does.
    fn needed<'a>(&'a self, manifest: &'a Manifest) -> impl Iterator<Item = &'a str> {
        let all = self.needed.iter().chain([manifest]);
        all.flat_map(Manifest::paths)
    }
}
