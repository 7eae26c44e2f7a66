//! Ingest: statistics of the training split, then normalized shards, then the manifest.
//!
//! Both passes are cut into independent pieces, each of which leaves a record in the
//! [`Ledger`](crate::convert::ledger::Ledger) when it is done. A whole ingest, a part of one, and one that
//! continues after an interruption do the same: the pieces of their share that have no record. The result of
//! a piece depends only on source and options, and so do the bytes of a data set. Memory is bounded by the
//! shards that are filled at the same time, and their number by [`IngestOptions::memory_bytes`].

pub(crate) mod append;
mod bench;
pub(crate) mod layout;
pub(crate) mod ledger;
mod on_demand;
pub(crate) mod records;
pub(crate) mod repair;
pub(crate) mod shards;
pub(crate) mod statistics;
mod tasks;
pub(crate) mod watch;
pub(crate) mod work;
pub(crate) mod writing;

use wellspring_store::{Location, Manifest, Reporter};

use crate::Result;
use crate::catalogue::options::{IngestOptions, Part};
use crate::convert::work::{Work, WorkStart};
pub use append::append;
pub use bench::decode;
pub use on_demand::{open, promise};
pub use repair::repair;

/// Converts The Well's HDF5 at `source` into a data set at `root`.
///
/// After an interruption the same call continues where it stopped. If the data set exists already, made
/// from the same source with the same options, nothing is done.
///
/// # Errors
/// [`crate::Error::NoFiles`], [`crate::Error::Open`], [`crate::Error::Layout`], [`crate::Error::Mixed`], [`crate::Error::NotFinite`],
/// [`crate::Error::Empty`], [`crate::Error::Refused`] for a simulation that is broken,
/// [`crate::Error::Selection`]; and [`crate::Error::Store`] when `root` cannot be written, holds another data set,
/// or another ingest into it was begun.
pub async fn ingest(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    let work = match Work::begin(source, root, options, reporter).await? {
        WorkStart::Work(work) => work,
        WorkStart::Done(manifest) => return Ok(*manifest),
    };
    work.settled(work.whole(reporter).await).await
}

/// Progress of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The statistics of the part are gathered.
    Statistics,
    /// The shards of the part are written.
    Shards,
}

/// Does one part of an ingest, up to a stage. The parts may run on any machines that can reach source and
/// root, in any order, except that shards need the statistics of all parts. [`finish`] completes the data
/// set when all parts are done.
///
/// # Errors
/// As [`ingest`], and [`crate::Error::Waiting`] when the statistics of other parts are missing.
pub async fn ingest_part(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    part: Part,
    until: Stage,
    reporter: &dyn Reporter,
) -> Result<()> {
    let WorkStart::Work(work) = Work::begin(source, root, options, reporter).await? else {
        return Ok(());
    };
    let done = async {
        work.gather(part, reporter).await?;
        if until == Stage::Shards {
            work.fill(part, &work.output().await?, reporter).await?;
        }
        Ok(())
    };
    match done.await {
        // Another process has finished meanwhile, and tidied up.
        Err(_) if work.made_by_another().await.is_some() => Ok(()),
        done => done,
    }
}

/// Makes a data set of what the parts of an ingest have left.
///
/// # Errors
/// As [`ingest`]; [`crate::Error::Waiting`] and [`crate::Error::Unfinished`] when parts are missing.
pub async fn finish(
    source: &Location,
    root: &Location,
    options: &IngestOptions,
    reporter: &dyn Reporter,
) -> Result<Manifest> {
    match Work::begin(source, root, options, reporter).await? {
        WorkStart::Work(work) => {
            let output = work.output().await?;
            work.settled(work.commit(&output, reporter).await).await
        }
        WorkStart::Done(manifest) => Ok(*manifest),
    }
}
