//! [`Segment`]: one file of a log, its name and its bytes.

use bytes::Bytes;
use object_store::ObjectMeta;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use wellspring_store::Location;

use crate::{Error, LogRow, Result, schema};

/// Bytes of the smallest Parquet file: its mark twice, and a length.
const SMALLEST: u64 = 12;

/// A file of a log, as a listing shows it.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Place in the order of the run's segments, from 1.
    pub number: u64,
    /// Its rows are of steps after this one, and of events at it.
    pub after: u64,
    /// The last step of its rows.
    pub last: u64,
    /// Rows of later steps do not count: a later segment goes on from this step.
    pub until: u64,
    /// What the store's listing says of the file.
    pub object: ObjectMeta,
}

/// Whether a file's name is that of a segment.
#[must_use]
pub fn is_segment(name: &str) -> bool {
    parsed(name).is_some()
}

/// Number, AFTER and LAST of a segment's name.
fn parsed(name: &str) -> Option<[u64; 3]> {
    let mut parts = name.strip_suffix(".parquet")?.split('-');
    let mut next = || {
        let part = parts.next()?;
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| part.parse().ok()).flatten()
    };
    let numbers = [next()?, next()?, next()?];
    parts.next().is_none().then_some(numbers)
}

/// The name of a segment.
pub(crate) fn name(number: u64, after: u64, last: u64) -> String {
    format!("{number:05}-{after:08}-{last:08}.parquet")
}

impl Segment {
    /// The segments among the objects of a log's folder, in their order.
    pub(crate) fn all(objects: impl IntoIterator<Item = ObjectMeta>) -> Vec<Self> {
        let segment = |object: ObjectMeta| {
            let [number, after, last] = parsed(object.location.filename()?)?;
            Some(Self {
                number,
                after,
                last,
                until: u64::MAX,
                object,
            })
        };
        let mut segments: Vec<Self> = objects.into_iter().filter_map(segment).collect();
        segments.sort_by_key(|segment| (segment.number, segment.after));
        let mut until = u64::MAX;
        for segment in segments.iter_mut().rev() {
            segment.until = until;
            until = until.min(segment.after);
        }
        segments
    }

    /// Whether none of its rows counts.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.until < self.after
    }

    /// Whether some of its rows may not count.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.until < self.last
    }

    /// What is wrong with it, as far as its size and its end tell. Buckets have whole objects alone, and asking
    /// for the end of thousands would take its time.
    ///
    /// # Errors
    /// What reading may give.
    pub async fn flaw(&self, run: &Location) -> wellspring_store::Result<Option<String>> {
        let (place, size) = (run.sibling(&self.object), self.object.size);
        if size < SMALLEST {
            return Ok(Some(format!("has {size} bytes")));
        }
        if place.local_path().is_none() {
            return Ok(None);
        }
        let end = place.get_range(size - 8..size).await?;
        let footer = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
        let is_whole = &end[4..] == b"PAR1" && u64::from(footer) + SMALLEST <= size;
        Ok((!is_whole).then(|| "does not end as Parquet does".to_owned()))
    }

    /// Its rows that count.
    pub(crate) async fn rows(&self, run: &Location) -> Result<Vec<LogRow>> {
        let place = run.sibling(&self.object);
        let damaged = |reason: String| Error::Damaged {
            object: place.to_string(),
            reason,
        };
        let mut rows = decoded(place.get().await?).map_err(damaged)?;
        rows.retain(|row| row.step <= self.until);
        Ok(rows)
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`Error::Damaged`], and what reading may give.
    pub async fn check(&self, run: &Location) -> Result<()> {
        self.rows(run).await.map(drop)
    }
}

/// Rows as Parquet; the error says why not.
pub(crate) fn encoded(rows: &[LogRow]) -> Result<Vec<u8>, String> {
    let schema = schema();
    let batch = serde_arrow::to_record_batch(schema.fields(), &rows);
    let batch = batch.map_err(|error| error.to_string())?;
    // Of a thousand small files, the ends are what is read most.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let written = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).and_then(|mut to| {
        to.write(&batch)?;
        to.into_inner()
    });
    written.map_err(|error| error.to_string())
}

fn decoded(bytes: Bytes) -> Result<Vec<LogRow>, String> {
    let said = |error: parquet::errors::ParquetError| error.to_string();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(said)?;
    let mut rows = Vec::new();
    for batch in reader.build().map_err(said)? {
        let batch = batch.map_err(|error| error.to_string())?;
        let read: Vec<LogRow> =
            serde_arrow::from_record_batch(&batch).map_err(|error| error.to_string())?;
        rows.extend(read);
    }
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::IoStatistics;

    use super::*;
    use crate::Event;

    /// An event of each kind.
    fn events() -> Vec<Event> {
        let (data, patch) = ("waves".to_owned(), "4,8".to_owned());
        vec![
            Event::Start {
                step: 0,
                steps: Some(9),
                version: "1".into(),
                device: "cpu".into(),
            },
            Event::Step {
                step: 1,
                loss: f32::NAN,
                data: data.clone(),
                patch: "8".into(),
                lr: 1e-3,
                norm: None,
                seconds: 0.5,
                waited: 0.1,
            },
            Event::Validation {
                step: 1,
                data: data.clone(),
                patch: patch.clone(),
                lead: 4,
                vrmse: f64::INFINITY,
                seconds: 2.0,
            },
            Event::Skipped {
                step: 2,
                data: data.clone(),
                patch,
                what: "the loss is NaN".into(),
                windows: "3 40".into(),
            },
            Event::Read {
                step: 2,
                data,
                traffic: IoStatistics {
                    requests: 7,
                    ..IoStatistics::default()
                },
            },
            Event::Failed {
                step: 2,
                what: "no more".into(),
            },
            Event::Stopped { step: 2 },
            Event::Done { step: 9 },
        ]
    }

    #[test]
    fn every_event_comes_back() {
        let rows: Vec<LogRow> = events().into_iter().map(LogRow::now).collect();
        let bytes = Bytes::from(encoded(&rows).unwrap());
        let found = decoded(bytes.clone()).unwrap();
        // A NaN is not itself.
        assert_eq!(format!("{found:?}"), format!("{rows:?}"));
        for damaged in [0, 4, bytes.len() - 1, bytes.len() / 2] {
            assert!(decoded(bytes.slice(..damaged)).is_err());
        }
    }

    #[test]
    fn a_segment_counts_until_a_later_one_goes_on() {
        let object = |name: &str| ObjectMeta {
            location: name.into(),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 100,
            e_tag: None,
            version: None,
        };
        let names = [
            "00003-00000200-00000220.parquet",
            "00001-00000000-00000200.parquet",
            "00010-00000120-00000130.parquet",
            "00004-00000050-00000120.parquet",
            "readme.parquet",
            "00005-00000050.parquet",
            "00005-00000050-0000006x.parquet",
            "00005-00000050-00000060.parquet#1",
        ];
        let found = Segment::all(names.map(object));
        let untils: Vec<_> = found.iter().map(|s| (s.number, s.until)).collect();
        assert_eq!(untils, [(1, 50), (3, 50), (4, 120), (10, u64::MAX)]);
        let cut: Vec<_> = found.iter().map(|s| (s.is_void(), s.is_cut())).collect();
        assert_eq!(
            cut,
            [(false, true), (true, true), (false, false), (false, false)]
        );
    }
}
