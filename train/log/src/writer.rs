//! [`LogWriter`]: the log of the process that trains a run.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use wellspring_store::Location;

use crate::segment::{Segment, encoded, name};
use crate::{Error, Event, LogRow, Result};

/// The time between two segments is this share of the time that was trained, so that a run of days has hundreds of
/// them and not ten thousand ...
const SHARE: u32 = 60;
/// ... and within these bounds.
const LEAST: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(600);

/// Keeps events until they are written as a segment. Rows that could not be written stay, and are written
/// with the next ones.
#[derive(Debug)]
pub struct LogWriter {
    folder: Location,
    rows: Vec<LogRow>,
    /// Where the next segment goes on: steps up to this one are in segments.
    after: u64,
    /// Number of the next segment; none until the folder was listed.
    next: Option<u64>,
    /// A segment that is being written.
    begun: Option<JoinHandle<EndedSegment>>,
    since: Instant,
    last: Instant,
}

/// The end of the writing of a segment: its rows, its last step, and the number of the next segment.
#[derive(Debug)]
struct EndedSegment {
    rows: Vec<LogRow>,
    last: u64,
    next: Result<u64>,
}

impl LogWriter {
    /// The log of a process that goes on after a step of a run. What the log has of later steps does not count
    /// any longer when the first segment is written.
    #[must_use]
    pub fn new(run: &Location, after: u64) -> Self {
        Self {
            folder: run.join("log"),
            rows: Vec::new(),
            after,
            next: None,
            begun: None,
            since: Instant::now(),
            last: Instant::now(),
        }
    }

    /// Adds an event of this moment.
    pub fn push(&mut self, event: Event) {
        self.rows.push(LogRow::now(event));
    }

    /// Writes what was added, and waits for it.
    ///
    /// # Errors
    /// What writing may give; nothing is lost by it.
    pub async fn write(&mut self) -> Result<()> {
        let before = self.settle().await;
        if self.rows.is_empty() {
            return before;
        }
        let written = self.take().write().await;
        self.accept(written)
    }

    /// Writes what was added if it is time to, and does not wait for it.
    ///
    /// # Errors
    /// What went wrong with the segment before.
    pub fn write_when_due(&mut self, runtime: &Handle) -> Result<()> {
        let pause = (self.since.elapsed() / SHARE).clamp(LEAST, MOST);
        let is_busy = self
            .begun
            .as_ref()
            .is_some_and(|begun| !begun.is_finished());
        if self.last.elapsed() < pause || is_busy {
            return Ok(());
        }
        let before = runtime.block_on(self.settle());
        let segment = self.take();
        self.begun = Some(runtime.spawn(segment.write()));
        before
    }

    /// Waits for the segment that is being written.
    async fn settle(&mut self) -> Result<()> {
        match self.begun.take() {
            None => Ok(()),
            Some(begun) => match begun.await {
                Ok(written) => self.accept(written),
                Err(failed) => Err(Error::Unwritable {
                    object: self.folder.to_string(),
                    reason: failed.to_string(),
                }),
            },
        }
    }

    fn take(&mut self) -> NewSegment {
        self.last = Instant::now();
        NewSegment {
            folder: self.folder.clone(),
            number: self.next,
            after: self.after,
            rows: std::mem::take(&mut self.rows),
        }
    }

    fn accept(&mut self, written: EndedSegment) -> Result<()> {
        match written.next {
            Ok(next) => {
                self.after = written.last;
                self.next = Some(next);
                Ok(())
            }
            Err(error) => {
                let later = std::mem::replace(&mut self.rows, written.rows);
                self.rows.extend(later);
                self.next = None;
                Err(error)
            }
        }
    }
}

/// Rows on their way into a file.
struct NewSegment {
    folder: Location,
    number: Option<u64>,
    after: u64,
    rows: Vec<LogRow>,
}

impl NewSegment {
    async fn write(self) -> EndedSegment {
        let next = self.put().await;
        EndedSegment {
            last: self.last(),
            rows: self.rows,
            next,
        }
    }

    /// Gives the file the first name that is free; what is there is never written over.
    async fn put(&self) -> Result<u64> {
        let bytes = encoded(&self.rows).map_err(|reason| Error::Unwritable {
            object: self.folder.to_string(),
            reason,
        })?;
        let mut number = self.number;
        loop {
            let free = match number {
                Some(number) => number,
                None => self.highest().await? + 1,
            };
            let place = self.folder.join(&name(free, self.after, self.last()));
            if place.put_new(bytes.clone()).await? {
                return Ok(free + 1);
            }
            // Another process has it, or the answer to this one was lost.
            number = None;
        }
    }

    fn last(&self) -> u64 {
        let steps = self.rows.iter().map(|row| row.step);
        steps.fold(self.after, u64::max)
    }

    /// Number of the last segment that there is.
    async fn highest(&self) -> Result<u64> {
        let held = Segment::all(self.folder.list_objects().await?);
        Ok(held.last().map_or(0, |segment| segment.number))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::Training;

    fn step(step: u64, lr: f64) -> Event {
        Event::Step {
            step,
            loss: 1.0,
            data: "waves".into(),
            patch: "8".into(),
            lr,
            norm: Some(1.0),
            seconds: 0.1,
            waited: 0.0,
        }
    }

    async fn rates(run: &Location) -> Vec<(u64, f64)> {
        let rows = Training::open(run).await.unwrap().rows().await.unwrap();
        rows.iter().map(|row| (row.step, row.lr.unwrap())).collect()
    }

    /// Each process adds; the one that goes back replaces what came later.
    async fn adds_and_goes_back(run: Location) {
        let mut first = LogWriter::new(&run, 0);
        first.write().await.unwrap();
        for at in 1..=5 {
            first.push(step(at, 1.0));
            if at % 2 == 0 {
                first.write().await.unwrap();
            }
        }
        first.write().await.unwrap();
        let before = run.list().await.unwrap();
        assert_eq!(before.len(), 3);
        let names: Vec<&str> = before.iter().map(|place| place.name().unwrap()).collect();
        assert_eq!(names[2], "00003-00000004-00000005.parquet");

        let mut second = LogWriter::new(&run, 3);
        second.push(step(4, 2.0));
        second.write().await.unwrap();
        assert_eq!(rates(&run).await, [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0)]);
        second.push(step(5, 2.0));
        second.write().await.unwrap();
        let mut third = LogWriter::new(&run, 5);
        third.push(step(6, 3.0));
        third.write().await.unwrap();
        let found = rates(&run).await;
        let steps: Vec<u64> = found.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
        assert_eq!((found[2].1, found[4].1, found[5].1), (1.0, 2.0, 3.0));
    }

    #[tokio::test]
    async fn a_log_in_memory_or_on_a_disk_is_appended_to() {
        adds_and_goes_back(Location::parse("memory:///run").unwrap()).await;
        let folder = tempfile::tempdir().unwrap();
        adds_and_goes_back(Location::parse(folder.path().to_str().unwrap()).unwrap()).await;
    }

    #[test]
    fn rows_that_could_not_be_written_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let run = Location::parse(folder.path().to_str().unwrap()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // A file lies where the folder is to be.
        runtime.block_on(run.join("log").put("")).unwrap();
        let mut log = LogWriter::new(&run, 0);
        log.push(step(1, 1.0));
        log.write_when_due(runtime.handle()).unwrap();
        assert!(log.begun.is_none(), "it is not due");
        log.last = Instant::now().checked_sub(LEAST).unwrap();
        log.write_when_due(runtime.handle()).unwrap();
        log.push(step(2, 1.0));
        assert!(runtime.block_on(log.write()).is_err());
        log.push(step(3, 1.0));
        runtime.block_on(run.join("log").delete()).unwrap();
        runtime.block_on(log.write()).unwrap();
        let found = runtime.block_on(rates(&run));
        assert_eq!(found, [(1, 1.0), (2, 1.0), (3, 1.0)]);
        assert_eq!(runtime.block_on(run.list()).unwrap().len(), 1);
    }
}
