//! The steps that change a disk. A test replays their log and cuts the power after each step.

use std::path::Path;

/// A completed step that changed a disk.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only a test reads the log"))]
pub(crate) enum Operation<'a> {
    /// A new, empty file.
    Create(&'a Path),
    /// A file has what it has now.
    Write(&'a Path),
    /// What a file has outlives a power cut.
    Sync(&'a Path),
    /// A file has a second name.
    Link(&'a Path, &'a Path),
    /// A file has another name.
    Rename(&'a Path, &'a Path),
    /// The names in a folder outlive a power cut.
    SyncFolder(&'a Path),
    /// A name is gone.
    Remove(&'a Path),
    /// A new folder.
    MakeFolder(&'a Path),
}

impl Operation<'_> {
    /// Writes it to the log, if a test keeps one.
    pub(super) fn note(self) {
        #[cfg(test)]
        crate::tests::power::note(self);
    }
}
