//! Lists the files below a source: those that are taken, by split, and those that are not.

use std::collections::BTreeSet;

use wellspring_store::{Location, Split};

use super::{SourceFile, SourceFiles};
use crate::Result;
use crate::catalogue::pattern;
use crate::findings::{Finding, FindingKind};
use crate::source::remote;

/// What lies below a source and is not taken.
#[derive(Debug, Default)]
pub(crate) struct SkippedFiles {
    /// HDF5 files that are of no split, by their paths below the source.
    pub(crate) left_out: Vec<String>,
    /// Files with a name that begins with a dot, or in a folder that has one.
    hidden: usize,
    /// Files that are not HDF5.
    others: usize,
    /// Objects with names that no place can have, such as those with empty parts (`a//b`).
    pub(super) unnameable: Vec<String>,
    /// Patterns that were given and leave nothing out.
    idle: Vec<String>,
}

/// What lies below a folder, with sizes, and the names of what cannot be had; no folders, which some
/// stores keep as empty objects.
pub(super) async fn objects(place: &Location) -> Result<(Vec<(Location, u64)>, Vec<String>)> {
    let folder = place.clone();
    let listing = remote::on_network(async move { folder.listing().await }).await??;
    let listed = listing.objects;
    let paths = listed.iter().map(|(object, _)| object.path().to_string());
    let folders: BTreeSet<String> = paths
        .flat_map(|path| {
            let ends = path
                .match_indices('/')
                .map(|(end, _)| path[..end].to_owned());
            ends.collect::<Vec<_>>()
        })
        .collect();
    let is_file = |(object, bytes): &(Location, u64)| {
        object.path() != place.path() && (*bytes > 0 || !folders.contains(object.path().as_ref()))
    };
    let files = listed.into_iter().filter(is_file).collect();
    Ok((files, listing.left_out))
}

/// A folder that is being listed.
pub(super) struct Listing<'a> {
    place: &'a Location,
    exclude: &'a [String],
    /// The patterns that have left a file out.
    used: BTreeSet<&'a str>,
    files: Vec<SourceFile>,
    pub(super) rest: SkippedFiles,
}

impl<'a> Listing<'a> {
    pub(super) fn new(place: &'a Location, exclude: &'a [String]) -> Self {
        Self {
            place,
            exclude,
            used: BTreeSet::new(),
            files: Vec::new(),
            rest: SkippedFiles::default(),
        }
    }

    pub(super) fn add(&mut self, object: Location, bytes: u64) {
        let below = object.below(self.place).unwrap_or_default();
        if below == "stats.yaml" {
            return;
        }
        let patterns = self.exclude.iter();
        let matching = patterns.filter(|pattern| pattern::matches(pattern, &below));
        let matching: Vec<&str> = matching.map(String::as_str).collect();
        self.used.extend(&matching);
        let name = object.name().unwrap_or_default();
        match split_of(&below) {
            _ if !matching.is_empty() => {}
            _ if below.split('/').any(|part| part.starts_with('.')) => self.rest.hidden += 1,
            Some(split) if is_hdf5(name) => {
                let file = SourceFile::new(split, object, below);
                self.files.push(SourceFile {
                    is_empty: bytes == 0,
                    ..file
                });
            }
            _ if is_like_hdf5(name) => self.rest.left_out.push(below),
            _ => self.rest.others += 1,
        }
    }

    pub(super) fn source(self) -> SourceFiles {
        let (mut files, mut rest) = (self.files, self.rest);
        files.sort_by_key(|file| file.split);
        let patterns = self.exclude.iter();
        let idle = patterns.filter(|pattern| !self.used.contains(pattern.as_str()));
        rest.idle = idle.cloned().collect();
        SourceFiles { files, rest }
    }
}

impl SkippedFiles {
    /// A line for what is worth no finding.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let hidden = "hidden files (names that begin with a dot)";
        for (what, count) in [
            (hidden, self.hidden),
            ("files of other formats", self.others),
        ] {
            if count > 0 {
                notes.push(format!("{what} that are left out: {count}"));
            }
        }
        let unnameable = self.unnameable.iter();
        notes.extend(unnameable.map(|name| {
            format!(
                "{name:?} is left out: an empty part (//) or control characters are in its name"
            )
        }));
        let idle = self.idle.iter();
        notes.extend(idle.map(|pattern| format!("no file is excluded by {pattern}")));
        notes
    }

    /// A finding for each HDF5 file that is left out.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let message = "is left out: its folder is not a split (train, valid or test)";
        let files = self.left_out.iter();
        files
            .map(|file| Finding::new(FindingKind::LeftOut, file, message))
            .collect()
    }
}

pub(super) fn is_hdf5(name: &str) -> bool {
    ends_with(name, &[".hdf5", ".h5"])
}

/// Whether a file may well be HDF5, though it is not taken under such a name.
fn is_like_hdf5(name: &str) -> bool {
    is_hdf5(name) || ends_with(name, &[".hdf", ".he5", ".nc", ".nc4"])
}

fn ends_with(name: &str, endings: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The split that a path below the source belongs to.
fn split_of(below: &str) -> Option<Split> {
    let parts: Vec<&str> = below.split('/').collect();
    match parts.as_slice() {
        [_] => Some(Split::Train),
        [split, _] => split_named(split),
        [data, split, _] if data.eq_ignore_ascii_case("data") => split_named(split),
        _ => None,
    }
}

/// The split that people mean by the name of a folder.
fn split_named(folder: &str) -> Option<Split> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "valid" | "val" | "validation" | "validate" | "dev" => Some(Split::Valid),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn splits_go_by_many_names() {
        for (path, split) in [
            ("data/train/a.hdf5", Some(Split::Train)),
            ("Data/Training/a.hdf5", Some(Split::Train)),
            ("a.hdf5", Some(Split::Train)),
            ("val/a.hdf5", Some(Split::Valid)),
            ("data/VALIDATION/a.hdf5", Some(Split::Valid)),
            ("testing/a.hdf5", Some(Split::Test)),
            ("data/holdout/a.hdf5", None),
            ("more/train/a.hdf5", None),
            ("data/train/deep/a.hdf5", None),
        ] {
            assert_eq!(split_of(path), split, "{path}");
        }
    }

    async fn listed(names: &[(&str, &str)], exclude: &[&str]) -> SourceFiles {
        let place = Location::parse("memory:///sims").unwrap();
        for (name, bytes) in names {
            place.join(name).put(bytes.to_string()).await.unwrap();
        }
        let exclude: Vec<String> = exclude.iter().map(|&text| text.into()).collect();
        SourceFiles::list(&place, &exclude).await.unwrap()
    }

    fn names(source: &SourceFiles) -> Vec<&str> {
        source
            .files
            .iter()
            .map(|file| file.below.as_str())
            .collect()
    }

    #[tokio::test]
    async fn what_is_not_taken_is_named_or_counted() {
        let names_there = [
            ("data/train", ""),
            ("data/train/a.hdf5", "x"),
            ("data/train/._a.hdf5", "x"),
            ("data/train/.ipynb_checkpoints/a.hdf5", "x"),
            ("data/Val/b.H5", "x"),
            ("data/holdout/c.hdf5", "x"),
            ("data/train/d.nc", "x"),
            ("README.md", "x"),
            ("stats.yaml", "x"),
        ];
        let source = listed(&names_there, &[]).await;
        assert_eq!(names(&source), ["data/train/a.hdf5", "data/Val/b.H5"]);
        assert_eq!(source.files[1].split, Split::Valid);
        assert_eq!(
            source.rest.left_out,
            ["data/holdout/c.hdf5", "data/train/d.nc"]
        );
        assert_eq!((source.rest.hidden, source.rest.others), (2, 1));
    }

    #[tokio::test]
    async fn a_pattern_leaves_files_out_and_is_told_where_it_does_not() {
        let there = [
            ("train/a.hdf5", "x"),
            ("train/b.hdf5", ""),
            ("old/c.hdf5", "x"),
        ];
        let source = listed(&there, &["b.*", "old", "nothing"]).await;
        assert_eq!(names(&source), ["train/a.hdf5"]);
        assert!(source.rest.left_out.is_empty());
        assert!(source.holds_files(&source.files[0].place).is_ok());
        assert_eq!(source.rest.notes(), ["no file is excluded by nothing"]);
    }

    #[tokio::test]
    async fn an_empty_file_is_refused_by_name() {
        let source = listed(&[("train/b.hdf5", "")], &[]).await;
        let error = source.files[0].look().await.unwrap_err();
        assert!(matches!(error, Error::Empty { .. }), "{error}");
        assert!(error.to_string().contains("train/b.hdf5"), "{error}");
    }
}
