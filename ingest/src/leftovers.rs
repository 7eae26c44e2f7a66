//! Files that a killed writer leaves on a local disk: the store writes to `NAME#N` and renames.

use std::fs;
use std::path::Path;

use wellspring_store::remove_left;

/// Removes them below a data set's root, but for those of writers that live, and the folder of records, which
/// is empty but for them. What cannot be removed does no harm.
pub(crate) fn sweep(root: &Path) {
    let _ = fs::remove_dir_all(root.join("ingest"));
    let folders = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    for folder in folders.chain([root.to_owned()]) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(is_leftover) {
                let _ = remove_left(&entry.path());
            }
        }
    }
}

/// `00000.arrow#3`, `manifest.json#1`.
fn is_leftover(name: &str) -> bool {
    let parts = name.rsplit_once('#');
    parts.is_some_and(|(file, number)| {
        (file.ends_with(".arrow") || file.ends_with(".json") || file.ends_with(".yaml"))
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}
