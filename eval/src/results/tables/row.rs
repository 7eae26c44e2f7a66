//! Writes the row of `runs`, the one step that commits an evaluation.
//!
//! If two processes evaluate under one name, the second one finds the row of the first and decides by
//! that, whatever either saw when it began.

use arrow::array::RecordBatch;
use serde::Deserialize;
use wellspring_store::{Location, Version};

use super::folder::record;
use super::identity::{EvaluationClaim, Work};
use super::{RunRecord, Table, TableWriter, typed};
use crate::{Error, Result};

/// The row that is in a place.
struct PlacedRow {
    /// The evaluation of the row; none if the row is damaged, which then does not count.
    evaluation: Option<Evaluation>,
    version: Version,
}

#[derive(Deserialize)]
struct Evaluation {
    run: String,
    #[serde(flatten)]
    work: Work,
}

/// Writes the row. Gives the evaluations that it replaced; none if the existing row is kept.
///
/// # Errors
/// [`Error::Exists`] and [`Error::Clash`] where another was first.
pub(super) async fn commit(
    record: &RunRecord,
    claim: &EvaluationClaim,
    results: &Location,
) -> Result<Option<Vec<String>>> {
    let mut row = TableWriter::new(Table::Runs)?;
    row.push(std::slice::from_ref(record))?;
    let row = bytes::Bytes::from(row.finish()?);
    let place = Table::Runs.file(results, &claim.file);
    // A disk compares nothing when it writes, so only one writes at a time.
    let _turn = results.join("unfinished/runs.lock").hold().await?;
    loop {
        let Some(seen) = look(&place).await? else {
            match place.put_new(row.clone()).await? {
                true => break Ok(Some(Vec::new())),
                false => continue,
            }
        };
        if let Some(there) = &seen.evaluation
            && !claim.may_replace(&there.work)?
        {
            break Ok(None);
        }
        if replace(&place, &seen.version, row.clone()).await? {
            break Ok(Some(seen.evaluation.into_iter().map(|it| it.run).collect()));
        }
    }
}

async fn look(place: &Location) -> Result<Option<PlacedRow>> {
    let Some((bytes, version)) = place.get_version().await? else {
        return Ok(None);
    };
    let evaluation = match record(bytes, &place.to_string()) {
        Ok(record) => evaluation(&record),
        Err(Error::Malformed { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(PlacedRow {
        evaluation,
        version,
    }))
}

fn evaluation(record: &RecordBatch) -> Option<Evaluation> {
    typed(std::slice::from_ref(record)).ok()?.pop()
}

/// Replaces the row that was seen; `false` if it is there no longer.
async fn replace(place: &Location, seen: &Version, row: bytes::Bytes) -> Result<bool> {
    if place.local_path().is_some() {
        place.put(row).await?;
        return Ok(true);
    }
    Ok(place.put_over(row, seen).await?)
}
