//! Files that killed writers leave on a local disk: the store writes to `NAME#N` and renames.
#![allow(clippy::disallowed_methods, reason = "no list shows these files")]

use std::fs;
use std::path::Path;

use super::disk::remove_left;

/// The files `NAME#N` below a data set's root, with their sizes, but for those that a living writer holds; each is
/// removed where that is asked for. What cannot be removed does no harm.
pub(crate) fn of_killed_writers(root: &Path, remove: bool) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let walk = walkdir::WalkDir::new(root);
    for entry in walk.into_iter().flatten() {
        let (path, below) = (entry.path(), entry.path().strip_prefix(root));
        let below = below.map(Path::to_owned).unwrap_or_default();
        // Before it is gone.
        let bytes = entry.metadata().map_or(0, |file| file.len());
        if entry.file_type().is_file() && is_begun(&below) && is_of_killed(path, remove) {
            found.push((below.display().to_string(), bytes));
        }
    }
    found
}

/// Removes the folders in a folder of which nobody makes use, as their names say, if they are empty; and then the
/// folder itself, if it is.
pub(crate) fn remove_empty_folders(folder: &Path, is_unused: impl Fn(&str) -> bool) {
    let unused = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(&is_unused);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(unused) {
        let walk = walkdir::WalkDir::new(entry.path()).contents_first(true);
        for entry in walk.into_iter().flatten() {
            // Files, and folders with something in them, stay.
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

fn is_of_killed(path: &Path, remove: bool) -> bool {
    match remove {
        true => remove_left(path).is_ok_and(|is_gone| is_gone),
        false => is_left(path),
    }
}

/// Whether its writer is dead: who lives holds a lock.
fn is_left(path: &Path) -> bool {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.is_ok_and(|file| file.try_lock().is_ok())
}

/// NAME, where a name is `NAME#NUMBER`, as which the store begins to write NAME on a local disk.
#[must_use]
pub fn begun_name(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then_some(name)
}

/// `00000.arrow#3`, `manifest.json#1`.
fn is_begun(path: &Path) -> bool {
    let name = path.to_str().and_then(begun_name);
    let extension = name.and_then(|name| Path::new(name).extension()?.to_str());
    extension.is_some_and(|extension| ["arrow", "json", "yaml"].contains(&extension))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_killed_writers_left_goes_and_what_others_keep_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("ingest/past/train")).unwrap();
        fs::create_dir_all(root.join("ingest/next/train")).unwrap();
        fs::create_dir_all(root.join("train")).unwrap();
        for name in ["train/00000.arrow#1", "manifest.json#2"] {
            fs::write(root.join(name), "left").unwrap();
        }
        let held = fs::File::create(root.join("train/00001.arrow#1")).unwrap();
        held.lock().unwrap();
        for name in ["notes#1", "train/00000.arrow", "train/00000.arrow#x"] {
            fs::write(root.join(name), "kept").unwrap();
        }
        let mut listed = of_killed_writers(root, false);
        listed.sort();
        let expected = ["manifest.json#2", "train/00000.arrow#1"];
        assert_eq!(listed, expected.map(|name| (name.to_owned(), 4)));
        let mut removed = of_killed_writers(root, true);
        removed.sort();
        assert_eq!(removed, listed);
        assert_eq!(of_killed_writers(root, true), []);
        remove_empty_folders(&root.join("ingest"), |name| name == "past");
        assert!(root.join("ingest/next/train").exists());
        assert!(!root.join("ingest/past").exists());
        remove_empty_folders(&root.join("ingest"), |_| true);
        assert!(!root.join("ingest").exists());
        for name in ["notes#1", "train/00001.arrow#1", "train/00000.arrow#x"] {
            assert!(root.join(name).exists(), "{name}");
        }
    }
}
