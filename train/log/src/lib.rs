//! The log of a training: what was trained, validated and read, and how it ended, as Parquet that is appended
//! to. Training writes it; SQL, figures and `wellspring runs` read it, also while the run goes on.
//!
//! ```text
//! RUN/log/NUMBER-AFTER-LAST.parquet   rows of steps after AFTER up to LAST; segments count from 1
//! RUN/log.jsonl                       a line for each event, as old versions wrote it
//! ```
//!
//! **Segments.** A [`LogWriter`] keeps events until it writes them as one [`Segment`]: with each checkpoint, when
//! the process begins and ends, and every minute (every sixtieth of its time once that is longer, and at
//! least every ten minutes). A segment is written whole under a name that nothing has, and never changed.
//!
//! **Which rows count.** A run that was killed takes the steps after its last checkpoint again, so the same step
//! may lie in two segments. AFTER says where a segment goes on, and that decides: *a row counts if its step
//! is at most the AFTER of every later segment.* So a process that goes back to an earlier step, after a
//! crash or on purpose, says with the name of its first segment that what was written of later steps is void. Nothing
//! is deleted for it. [`Segment::until`] is that step, known from the names alone. `log.jsonl` comes before all segments.
//!
//! **Rows.** All events are rows of one table, [`LogRow`]: `event` names what happened, columns that it does not
//! have are null. Columns that later versions add are null in what earlier ones wrote.
//!
//! **Trainings.** [`trainings()`] finds all runs below a folder or the prefix of a bucket with one listing.
//!
//! # Example
//!
//! ```
//! use wellspring_log::{Event, LogWriter, Training};
//! use wellspring_store::{Location, Silent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let run = Location::parse("memory:///runs/ckm")?;
//! let mut log = LogWriter::new(&run, 0);
//! log.push(Event::Skipped {
//!     step: 7,
//!     data: "waves".into(),
//!     patch: "8".into(),
//!     what: "the loss is NaN".into(),
//!     windows: "trajectory 3, step 40".into(),
//! });
//! log.write().await?;
//! let rows = Training::open(&run).await?.rows().await?;
//! assert_eq!((rows[0].event.as_str(), rows[0].step), ("skipped", 7));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

// A dependency that nothing uses is to be removed. Tests have more of them.
#![cfg_attr(not(test), warn(unused_crate_dependencies))]

mod error;
mod event;
mod old;
mod row;
mod segment;
mod training;
mod writer;

pub use error::{Error, Result};
pub use event::Event;
pub use row::{LogRow, schema};
pub use segment::{Segment, is_segment};
pub use training::{Training, trainings};
pub use writer::LogWriter;
