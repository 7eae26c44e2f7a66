//! The errors of this crate. Each names the object and the situation.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every variant says which object it is about and, where it can, what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path or URL that names no place.
    #[error("{text} is not a usable path or URL: {reason}")]
    Location {
        /// What was given.
        text: String,
        /// Why it cannot be used.
        reason: String,
    },

    /// The object store refused or failed.
    #[error("{action} {object} failed")]
    Io {
        /// "reading", "writing", ...
        action: &'static str,
        /// URL of the object.
        object: String,
        /// The store's own words.
        source: object_store::Error,
    },

    /// An answer that ended early.
    #[error("{object} gave {found} bytes for {start}..{end}; it was cut off, or has been replaced")]
    Short {
        /// URL of the object.
        object: String,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Bytes that came.
        found: usize,
    },

    /// A store that did not answer however often it was asked.
    #[error(
        "{action} {object} failed in {tries} tries within {}; is the store up? \
         --retry-for (the setting retry_for) gives it longer",
        crate::location::rounded(*.waited)
    )]
    GaveUp {
        /// "reading", "writing", ...
        action: &'static str,
        /// URL of the object.
        object: String,
        /// How often it was tried.
        tries: u32,
        /// Time from the first failure to the last.
        waited: std::time::Duration,
        /// The error of the last try.
        source: Box<object_store::Error>,
    },

    /// Shards that cannot be held at once.
    #[error(
        "{root}: {needed} bytes of shards are needed at once, {limit} are allowed; \
         allow more, mix fewer shards, or name a folder to keep them in"
    )]
    Budget {
        /// URL of the data set or the shard.
        root: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that may be held.
        limit: u64,
    },

    /// No memory for a shard.
    #[error("no memory for the {bytes} bytes of {object}")]
    Memory {
        /// URL of the shard.
        object: String,
        /// What the manifest says that it has.
        bytes: u64,
        /// The system's own words.
        source: std::io::Error,
    },

    /// The folder of fetched shards failed.
    #[error("{action} {folder} failed; is it a folder with room, and yours to write?")]
    Cache {
        /// "writing", "claiming a file in", ...
        action: &'static str,
        /// The folder.
        folder: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },

    /// A local shard could not be mapped into memory.
    #[error("cannot map {path} into memory")]
    Map {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },

    /// A local file could not be locked, which a change of what it is part of needs.
    #[error("cannot lock {object}; is it yours to write, and does its file system know locks?")]
    Lock {
        /// The file.
        object: String,
        /// The system's own words.
        source: std::io::Error,
    },

    /// There is no manifest.
    #[error(
        "{root} holds no data set (no manifest.json); an ingest that was interrupted, or only promised it, leaves none: run it (again)"
    )]
    NotADataset {
        /// URL of the data set.
        root: String,
    },

    /// There is a data set where one was to be written.
    #[error("{root} holds a data set already; choose another place or ask to overwrite it")]
    Exists {
        /// URL of the data set.
        root: String,
    },

    /// Another writer has changed the data set meanwhile.
    #[error(
        "another writer has changed {root}, so this cannot become its generation {generation}; \
         run the command again to change what is there now"
    )]
    Overtaken {
        /// URL of the data set.
        root: String,
        /// The generation that was to be written.
        generation: u64,
    },

    /// Another work into the same place was begun.
    #[error(
        "other work on {root} was begun and not finished, by this program here or elsewhere (its plan is \
         {found}, this one's {wanted}); run that command again to finish it, or overwrite it"
    )]
    Underway {
        /// URL of the data set.
        root: String,
        /// Key of the one that was begun.
        found: String,
        /// Key of this one.
        wanted: String,
    },

    /// What another work left says nothing that can be understood.
    #[error(
        "{object} is damaged, or another version of the program wrote it; finish that work with the \
         program that began it, or overwrite it"
    )]
    Claim {
        /// URL of the claim.
        object: String,
        /// The JSON error, with line and column.
        source: serde_json::Error,
    },

    /// A manifest of another version.
    #[error(
        "{object} has format version {found}, this program reads versions 1 to {supported}; \
         use the wellspring that wrote it or a newer one"
    )]
    UnsupportedFormat {
        /// URL of the manifest.
        object: String,
        /// Version of the object.
        found: u64,
        /// The latest that this program reads.
        supported: u32,
    },

    /// An object whose content is not what it must be.
    #[error("{object} is malformed: {reason}")]
    Malformed {
        /// URL or name of the object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A document whose own checksum is not that of what it says.
    #[error(
        "{object} is not as it was written: it says that its checksum is {said}, and what it holds has {found}; \
         it was damaged or edited. Restore it from a copy, or, if an edit is meant, take its key \"checksum\" out"
    )]
    Altered {
        /// URL of the document.
        object: String,
        /// The checksum of what it says.
        found: String,
        /// The checksum that it carries.
        said: String,
    },

    /// A shard whose bytes are not those that were written.
    #[error(
        "{object} is damaged: {what} is {found}, the manifest says {expected}; \
         restore this file from a copy or ingest again"
    )]
    Damaged {
        /// URL of the shard.
        object: String,
        /// "its size", "its checksum", ...
        what: &'static str,
        /// Value as read.
        found: String,
        /// Value in the manifest.
        expected: String,
    },

    /// Arrow could not encode or decode a shard.
    #[error("Arrow cannot {action} {object}")]
    Arrow {
        /// "encode" or "decode".
        action: &'static str,
        /// URL of the shard.
        object: String,
        /// Arrow's own words.
        source: arrow::error::ArrowError,
    },

    /// Values that are not normalized and too small for the stored type.
    #[error(
        "{channel} has a root mean square of {rms:e}, and {dtype} loses digits below {least:.1e}; \
         normalize it (zscore or rms), or store a wider type"
    )]
    Vanishing {
        /// The channel.
        channel: String,
        /// Root mean square of the channel.
        rms: f64,
        /// The stored type.
        dtype: crate::Dtype,
        /// The least number that it holds with all digits.
        least: f64,
    },

    /// Numbers that do not fit one another.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Name of the array or list.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },

    /// A frame too large for one Arrow list.
    #[error(
        "a channel of {cells} cells does not fit an Arrow list of at most {limit}; crop the grid"
    )]
    FrameTooLarge {
        /// Cells of the grid.
        cells: usize,
        /// The most that Arrow's 32-bit list length allows.
        limit: usize,
    },

    /// A split that the data set lacks.
    #[error("{root} has no {split} split; it has {available}")]
    NoSplit {
        /// URL or name of the data set.
        root: String,
        /// What was asked for.
        split: String,
        /// What there is.
        available: String,
    },

    /// A read past the end of a trajectory, or of a trajectory that is not there.
    #[error("{split} trajectory {trajectory} has no steps {start}..{end}: it has {frames} frames")]
    OutOfRange {
        /// The split.
        split: String,
        /// Index of the trajectory in the split.
        trajectory: usize,
        /// First step asked for.
        start: usize,
        /// One past the last step asked for.
        end: usize,
        /// Frames that it has; 0 when there is no such trajectory.
        frames: usize,
    },

    /// No trajectory is long enough for a window.
    #[error(
        "no {split} trajectory is as long as a window of {length} frames (the longest has {longest}); \
         use a shorter context or rollout"
    )]
    NoWindows {
        /// The split.
        split: String,
        /// Frames of a window.
        length: usize,
        /// Frames of the longest trajectory.
        longest: usize,
    },

    /// A text that names none of the choices.
    #[error("{text} is not a {what}; choose {choices}")]
    Choice {
        /// What was given.
        text: String,
        /// "split", "patch size", ...
        what: &'static str,
        /// What could have been given.
        choices: String,
    },

    /// A shard that is made when it is first read could not be made.
    #[error("cannot make {object} from what the data set is made of")]
    ShardProvider {
        /// The shard.
        object: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A shard that is read without being held: a fault of this program, found before it gives frames
    /// that nothing was read into.
    #[error(
        "shard {shard:?} of {split} is read but not held; this is a fault of wellspring, report it"
    )]
    NotHeld {
        /// The split.
        split: String,
        /// Index of the shard in the split; none for the constants.
        shard: Option<usize>,
    },

    /// The system did not start a thread.
    #[error(
        "cannot start a thread to gather batches; allow more memory or processes (ulimit -v, ulimit -u)"
    )]
    Threads {
        /// The system's own words.
        source: std::io::Error,
    },

    /// A background task ended without an answer.
    #[error("a background task of the loader ended early: {reason}")]
    Task {
        /// The runtime's own words.
        reason: String,
    },
}

impl Error {
    /// Whether an object was had and is not what it should be; other errors say nothing about it.
    #[must_use]
    pub fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::Malformed { .. }
                | Self::Altered { .. }
                | Self::UnsupportedFormat { .. }
                | Self::FrameTooLarge { .. }
                | Self::NotADataset { .. }
        )
    }

    pub(crate) fn malformed(object: impl ToString, reason: impl ToString) -> Self {
        Self::Malformed {
            object: object.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// The text of an error and of all that caused it, except for what was said already, and without secrets
/// ([`masked`](crate::masked)).
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !story.contains(&said) {
            story = format!("{story}: {said}");
        }
        cause = error.source();
    }
    crate::masked(&story).into_owned()
}
