//! [`TrainingFolders`]: the runs below some places, as they were when those were looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_log::{Segment, Training};
use wellspring_store::{Location, Reporter};

use super::columns::{OF_RUN, configs, known, read};
use crate::results::tables::columns;
use crate::{Error, Result};

/// Old logs that are read, and damaged segments that are looked for, at once.
const READS: usize = 64;

/// The runs, each with what is known of its rows.
#[derive(Debug)]
pub(crate) struct TrainingFolders {
    pub(crate) trainings: Vec<Training>,
    /// A row for each run: `run`, `path`, `config`, its last `step`, and `running`, which says whether a process
    /// trains it.
    pub(crate) records: RecordBatch,
    /// What there is to read, by runs.
    pub(super) parts: Vec<Part>,
}

/// A part of the log of a run.
#[derive(Debug)]
pub(super) struct Part {
    /// Place of the run.
    pub(super) run: usize,
    /// Number of the segment.
    pub(super) number: u64,
    /// Steps that the run has taken after those of this part.
    pub(super) steps_after: u64,
    pub(super) rows: PartRows,
}

/// The rows of a part: in a file, or those of `log.jsonl`, without what is known of them.
#[derive(Debug)]
pub(super) enum PartRows {
    Segment(Segment),
    Old(RecordBatch),
}

impl TrainingFolders {
    /// Looks below some places. `reporter` hears of what is left out: segments that are cut off, and lines of old
    /// logs.
    ///
    /// # Errors
    /// [`Error::NoTrainings`] where there is none, and what listing may give.
    pub(crate) async fn find(places: &[Location], reporter: &dyn Reporter) -> Result<Self> {
        let mut trainings: BTreeMap<String, Training> = BTreeMap::new();
        for place in places {
            let found = wellspring_log::trainings(place, reporter).await?;
            if found.is_empty() {
                return Err(Error::NoTrainings {
                    root: place.to_string(),
                });
            }
            // The same run may lie below several places.
            let found = found.into_iter();
            trainings.extend(found.map(|training| (training.location.to_string(), training)));
        }
        let mut trainings: Vec<Training> = trainings.into_values().collect();
        name_apart(&mut trainings);
        trainings.sort_by(|a, b| a.name.cmp(&b.name));
        for training in &mut trainings {
            leave_out_flawed(training, reporter).await?;
        }
        let mut old = old_rows(&trainings, reporter).await?;
        let (mut parts, mut steps) = (Vec::new(), Vec::new());
        for (run, training) in trainings.iter().enumerate() {
            let of_run = parts_of(run, training, old.remove(&run));
            steps.push(of_run.iter().map(|(last, _)| *last).max());
            let last = steps.last().copied().flatten().unwrap_or(0);
            parts.extend(of_run.into_iter().map(|(step, part)| Part {
                steps_after: last - step,
                ..part
            }));
        }
        Ok(Self {
            records: records(&trainings, steps)?,
            trainings,
            parts,
        })
    }

    /// What is known of the rows of a part.
    pub(super) fn values(&self, part: &Part) -> Result<Vec<ScalarValue>, DataFusionError> {
        let of_run = self.records.columns()[..OF_RUN.len()].iter();
        let of_run = of_run.map(|column| ScalarValue::try_from_array(column, part.run));
        let of_part = [part.number, part.steps_after].map(|it| Ok(ScalarValue::UInt64(Some(it))));
        of_run.chain(of_part).collect()
    }

    /// Rows of `log.jsonl` as the table has them.
    pub(super) fn shown(
        &self,
        part: &Part,
        rows: &RecordBatch,
    ) -> Result<RecordBatch, DataFusionError> {
        let known_of = self.values(part)?.into_iter();
        let known_of = known_of.map(|value| value.to_array_of_size(rows.num_rows()));
        let mut arrays: Vec<ArrayRef> = known_of.collect::<Result<_, _>>()?;
        arrays.extend(rows.columns().iter().cloned());
        let fields: Vec<Field> = known().into_iter().chain(read()).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    /// The first segment that cannot be read, if there is one: a query that fails asks for it.
    pub(crate) async fn damage(&self) -> Option<Error> {
        let segments = self.trainings.iter().flat_map(|training| {
            let segments = training.segments.iter();
            segments.map(move |segment| (training, segment))
        });
        let checks = segments.map(async |(training, segment): (&Training, &Segment)| {
            let checked = segment.check(&training.location).await;
            checked.err().map(|error| log_error(training, error))
        });
        let checks = futures::stream::iter(checks).buffered(READS);
        let mut found = std::pin::pin!(checks.filter_map(async |found| found));
        found.next().await
    }
}

/// The parts of the log of a run, each with its last step that counts.
fn parts_of(run: usize, training: &Training, old: Option<OldRows>) -> Vec<(u64, Part)> {
    let part = |number, rows| Part {
        run,
        number,
        steps_after: 0,
        rows,
    };
    let old = old.map(|old| (old.last, part(0, PartRows::Old(old.rows))));
    let segments = training.segments.iter().filter(|it| !it.is_void());
    let segments = segments.map(|segment| {
        let last = segment.last.min(segment.until);
        (
            last,
            part(segment.number, PartRows::Segment(segment.clone())),
        )
    });
    old.into_iter().chain(segments).collect()
}

/// Rows of `log.jsonl`, and the last step of them.
struct OldRows {
    last: u64,
    rows: RecordBatch,
}

/// The old logs of the runs that have one, by the places of those.
async fn old_rows(
    trainings: &[Training],
    reporter: &dyn Reporter,
) -> Result<BTreeMap<usize, OldRows>> {
    let held = trainings.iter().enumerate();
    let held = held.filter(|(_, training)| training.has_old_log);
    let reads = held.map(async |(at, training)| (at, training.old_rows().await));
    let mut reads = std::pin::pin!(futures::stream::iter(reads).buffered(READS));
    let mut old = BTreeMap::new();
    while let Some((at, rows)) = reads.next().await {
        let (rows, damaged) = rows?;
        if damaged > 0 {
            let place = trainings[at].location.join("log.jsonl");
            reporter.note(&format!(
                "warning: {damaged} lines of {place} cannot be read and are left out"
            ));
        }
        let last = rows.iter().map(|row| row.step).max().unwrap_or(0);
        let rows = as_read(&columns(&wellspring_log::schema(), &rows)?)?;
        old.insert(at, OldRows { last, rows });
    }
    Ok(old)
}

/// Rows with the types that the table has.
fn as_read(rows: &RecordBatch) -> Result<RecordBatch> {
    let fields = read();
    let columns = rows.columns().iter().zip(&fields);
    let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
    let columns = columns.collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

fn log_error(training: &Training, error: wellspring_log::Error) -> Error {
    match error {
        wellspring_log::Error::Store(error) => Error::Store(error),
        error => Error::Log {
            run: training.location.to_string(),
            source: Box::new(error),
        },
    }
}

/// Names of runs below different places may be equal: those are named by their places.
fn name_apart(trainings: &mut [Training]) {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for training in trainings.iter() {
        if !once.insert(training.name.clone()) {
            twice.insert(training.name.clone());
        }
    }
    for training in trainings {
        if twice.contains(&training.name) {
            training.name = training.location.to_string();
        }
    }
}

async fn leave_out_flawed(training: &mut Training, reporter: &dyn Reporter) -> Result<()> {
    let location = &training.location;
    let checks = training
        .segments
        .iter()
        .map(|segment| segment.flaw(location));
    let flaws: Vec<Option<String>> = futures::stream::iter(checks)
        .buffered(READS)
        .try_collect()
        .await?;
    let segments = std::mem::take(&mut training.segments).into_iter();
    for (segment, flaw) in segments.zip(flaws) {
        match flaw {
            None => training.segments.push(segment),
            Some(flaw) => {
                let place = location.sibling(&segment.object);
                reporter.note(&format!(
                    "warning: a segment of a log is left out: {place} {flaw}"
                ));
            }
        }
    }
    Ok(())
}

fn records(trainings: &[Training], steps: Vec<Option<u64>>) -> Result<RecordBatch> {
    let texts = |text: fn(&Training) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trainings.iter().map(text)))
    };
    let mut fields = known();
    fields.truncate(OF_RUN.len());
    fields.push(Field::new("step", DataType::UInt64, true));
    fields.push(Field::new("running", DataType::Boolean, false));
    let running = trainings.iter().map(|training| Some(training.is_running));
    let columns: Vec<ArrayRef> = vec![
        texts(|training| training.name.clone()),
        texts(|training| training.location.to_string()),
        Arc::new(configs(trainings.iter().map(|training| &training.config))?),
        Arc::new(UInt64Array::from(steps)),
        Arc::new(running.collect::<BooleanArray>()),
    ];
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
