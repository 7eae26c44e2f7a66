//! Files that are written beside their place, and take it whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::Operation;

/// Whether files and folders are synced.
static SYNC: LazyLock<bool> =
    LazyLock::new(|| std::env::var("WELLSPRING_SYNC").map_or(true, |value| value != "off"));

/// Writes a file whole: over one that is there, or, as `new`, only where there is none.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] for a new one that is there; whatever the disk gives. Nothing is left then.
pub(super) fn write(
    path: &Path,
    new: bool,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut staged = TemporaryFile::beside(path)?;
    fill(&mut staged.file)?;
    Operation::Write(&staged.path).note();
    sync(&staged.file, &staged.path)?;
    if new {
        // A second name of the same file: unlike a renaming it fails where there is one.
        fs::hard_link(&staged.path, path)?;
        Operation::Link(&staged.path, path).note();
    } else {
        fs::rename(&staged.path, path)?;
        Operation::Rename(&staged.path, path).note();
        staged.moved = true;
    }
    drop(staged);
    sync_folder(path)
}

fn sync(file: &File, path: &Path) -> io::Result<()> {
    if *SYNC {
        file.sync_all()?;
        Operation::Sync(path).note();
    }
    Ok(())
}

/// Gives a finished file its name, over any file that has it, so that both outlive a power cut.
///
/// # Errors
/// Whatever the disk gives.
pub fn move_into_place(finished: &Path, place: &Path) -> io::Result<()> {
    Operation::Write(finished).note();
    sync(&File::open(finished)?, finished)?;
    fs::rename(finished, place)?;
    Operation::Rename(finished, place).note();
    sync_folder(place)
}

/// Makes the name of a file or folder, new or renamed, last through a power cut.
///
/// # Errors
/// Whatever the disk gives.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|_| *SYNC) else {
        return Ok(());
    };
    let synced = File::open(folder)?.sync_all();
    Operation::SyncFolder(folder).note();
    match synced {
        // Some file systems cannot sync a folder, and some systems cannot open one for it.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        answer => answer,
    }
}

/// A file beside the place that it is for; removed unless it was moved there.
struct TemporaryFile {
    file: File,
    path: PathBuf,
    moved: bool,
}

impl TemporaryFile {
    fn beside(place: &Path) -> io::Result<Self> {
        // `folder/` has no name beside which anything could be written.
        if place.as_os_str().as_encoded_bytes().ends_with(b"/") {
            let reason = "this is the name of a folder, not of a file";
            return Err(io::Error::new(ErrorKind::IsADirectory, reason));
        }
        let (mut number, mut folders_made) = (1_u64, 0);
        loop {
            let mut path = place.as_os_str().to_owned();
            path.push(format!("#{number}"));
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                // Until it is locked, another writer may take it for one that a killed process left.
                Ok(file) => {
                    Operation::Create(&path).note();
                    if file.try_lock().is_ok() && is_at(&file, &path)? {
                        let moved = false;
                        return Ok(Self { file, path, moved });
                    }
                    number += 1;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !remove_left(&path)? {
                        number += 1;
                    }
                }
                // Another process may remove an empty folder at once, but not for ever: a link to nowhere stays.
                Err(error) if error.kind() == ErrorKind::NotFound && folders_made < 10 => {
                    make_folders(place)?;
                    folders_made += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.moved {
            // What stays is removed by the next writer of the name.
            let _ = delete(&self.path);
        }
    }
}

/// Removes `NAME#1`, which a killed writer of NAME left; `false` where its writer lives.
///
/// # Errors
/// Whatever the disk gives.
pub fn remove_left(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its writer may have moved it, and another begun one of the name, since it was opened.
    if is_at(&file, path)? {
        remove(path)?;
    }
    Ok(true)
}

/// Removes a file; one that is gone is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match delete(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn delete(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    Operation::Remove(path).note();
    Ok(())
}

/// Whether an open file or folder is what lies under a path: not a link's target, and not replaced meanwhile.
///
/// # Errors
/// Whatever the disk gives, but for a path under which nothing lies.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    match fs::symlink_metadata(path) {
        Ok(there) => {
            let held = file.metadata()?;
            Ok((there.dev(), there.ino()) == (held.dev(), held.ino()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where files cannot be told apart, an open one cannot be renamed or removed either.
///
/// # Errors
/// Whatever the disk gives.
#[cfg(not(unix))]
pub fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    fs::exists(path)
}

/// Makes the folders above a file, and their names last.
fn make_folders(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {
                Operation::MakeFolder(folder).note();
                sync_folder(folder)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/", "a/b/"] {
            let written = write(&folder.path().join(name), false, |_| Ok(()));
            assert_eq!(written.unwrap_err().kind(), ErrorKind::IsADirectory);
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("gone/away", &link).unwrap();
        let written = write(&link.join("file"), false, |_| Ok(()));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::NotFound);
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn put(path: &Path, new: bool, bytes: &[u8]) -> io::Result<()> {
        write(path, new, |file| file.write_all(bytes))
    }

    #[test]
    fn a_new_file_is_new_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/object");
        put(&path, true, b"one").unwrap();
        let again = put(&path, true, b"two").unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        put(&path, false, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(names(path.parent().unwrap()), ["object"]);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        put(&path, false, b"one").unwrap();
        let full = |file: &mut File| {
            file.write_all(b"half")?;
            Err(io::Error::from(ErrorKind::StorageFull))
        };
        let error = write(&path, false, full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["object"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_a_live_one_holds_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        fs::write(folder.path().join("object#1"), b"left").unwrap();
        put(&path, false, b"one").unwrap();
        assert_eq!(names(folder.path()), ["object"]);

        let live = TemporaryFile::beside(&path).unwrap();
        put(&path, false, b"two").unwrap();
        assert_eq!(names(folder.path()), ["object", "object#1"]);
        assert!(!remove_left(&live.path).unwrap());
        drop(live);
        assert_eq!(names(folder.path()), ["object"]);
    }

    /// A writer of a new object that was killed after its file had its name, but still the other one too.
    #[test]
    fn a_second_name_of_an_object_is_removed_and_the_object_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        fs::write(&path, b"one").unwrap();
        fs::hard_link(&path, folder.path().join("object#1")).unwrap();
        let again = put(&path, true, b"two").unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["object"]);
    }

    #[test]
    fn writers_of_one_name_leave_one_whole_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let made = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8_u8)
                .map(|i| {
                    let path = &path;
                    scope.spawn(move || {
                        let created = put(path, true, &[i; 1000]).is_ok();
                        for _ in 0..50 {
                            put(path, false, &[i; 1000]).unwrap();
                        }
                        created
                    })
                })
                .collect();
            let made = writers.into_iter().map(|writer| writer.join().unwrap());
            made.filter(|created| *created).count()
        });
        assert!(made <= 1);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 1000 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(folder.path()), ["object"]);
    }
}
