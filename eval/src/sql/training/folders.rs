//! [`TrainingFolders`]: the runs below some places, as they were when those were looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_log::{Segment, Training};
use wellspring_store::{Location, Reporter};

use super::columns::{configs, known, read};
use crate::results::tables::columns;
use crate::{Error, Result};

/// Old logs that are read, and damaged segments that are looked for, at once.
const READS: usize = 64;

/// The runs, each with what is known of its rows.
#[derive(Debug)]
pub(crate) struct TrainingFolders {
    pub(crate) trainings: Vec<Training>,
    /// A row for each run: `run`, `path`, `config`, and `running`, which says whether a process trains it.
    pub(crate) records: RecordBatch,
    /// Rows of `log.jsonl` by the place of their run, as the table has them.
    pub(super) old: BTreeMap<usize, RecordBatch>,
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
        let mut folders = Self {
            records: records(&trainings)?,
            trainings,
            old: BTreeMap::new(),
        };
        folders.old = folders.old_rows(reporter).await?;
        Ok(folders)
    }

    /// What is known of the rows of a segment.
    pub(super) fn values(
        &self,
        at: usize,
        segment: u64,
    ) -> Result<Vec<ScalarValue>, datafusion::error::DataFusionError> {
        let of_run = self.records.columns()[..3].iter();
        let of_run = of_run.map(|column| ScalarValue::try_from_array(column, at));
        let segment = Ok(ScalarValue::UInt64(Some(segment)));
        of_run.chain([segment]).collect()
    }

    async fn old_rows(&self, reporter: &dyn Reporter) -> Result<BTreeMap<usize, RecordBatch>> {
        let held = self.trainings.iter().enumerate();
        let held = held.filter(|(_, training)| training.has_old_log);
        let reads = held.map(async |(at, training)| (at, training.old_rows().await));
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let mut old = BTreeMap::new();
        while let Some((at, rows)) = reads.next().await {
            let training = &self.trainings[at];
            let (rows, damaged) = rows?;
            if damaged > 0 {
                reporter.note(&format!(
                    "warning: {damaged} lines of {}/log.jsonl cannot be read and are left out",
                    training.location
                ));
            }
            let rows = columns(&wellspring_log::schema(), &rows)?;
            old.insert(at, self.shown(at, &rows)?);
        }
        Ok(old)
    }

    /// Rows of `log.jsonl` as the table has them.
    fn shown(&self, at: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let known_of = self.values(at, 0)?.into_iter();
        let known_of = known_of.map(|value| value.to_array_of_size(rows.num_rows()));
        let mut arrays: Vec<ArrayRef> = known_of.collect::<Result<_, _>>()?;
        let fields = read();
        for (column, field) in rows.columns().iter().zip(&fields) {
            arrays.push(arrow::compute::cast(column, field.data_type())?);
        }
        let fields: Vec<Field> = known().into_iter().chain(fields).collect();
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

fn log_error(training: &Training, error: wellspring_log::Error) -> Error {
    match error {
        wellspring_log::Error::Store(error) => Error::Store(error),
        error => Error::Log {
            run: training.location.to_string(),
            source: error,
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

fn records(trainings: &[Training]) -> Result<RecordBatch> {
    let texts = |text: fn(&Training) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trainings.iter().map(text)))
    };
    let mut fields = known();
    fields.truncate(3);
    fields.push(Field::new("running", DataType::Boolean, false));
    let running = trainings.iter().map(|training| Some(training.is_running));
    let columns: Vec<ArrayRef> = vec![
        texts(|training| training.name.clone()),
        texts(|training| training.location.to_string()),
        Arc::new(configs(trainings.iter().map(|training| &training.config))?),
        Arc::new(running.collect::<BooleanArray>()),
    ];
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}
