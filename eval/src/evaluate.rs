//! [`evaluate()`]: rolls out many starts at once, measures every frame, and commits the tables at the end.
//!
//! Memory does not grow with the rollout: truth is read lead by lead, and predictions are kept only while
//! they are in the context of the next step, and measured while that step is computed. Only metrics of
//! whole rollouts hold their frames.

mod ensemble;
mod measure;
mod plan;
mod ranks;
pub(crate) mod rollout;
mod rollout_batch;
mod rollouts;
mod schedule;
mod spectra;
mod subject;
mod task;
mod truth;
mod unfinished;
mod window_sample;

use std::time::Duration;

use tokio::runtime::Handle;
use wellspring_store::{Dataset, Location, Reporter, Split};

use crate::results::tables::{self, CommittedRuns, EvaluationClaim, RunRecord, Table};
use crate::{Error, OnExisting, Result};
use plan::EvaluationPlan;
use ranks::told_by_the_first;
pub use ranks::{OneProcess, Ranks};
pub use rollouts::{RolloutOptions, Rollouts};
pub use schedule::Schedule;
pub use subject::{Baseline, BaselineSubject, Description, Subject};
pub use window_sample::{SampleOptions, WindowSample};

/// What is evaluated, on what, and how.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// What predicts.
    pub subject: &'a dyn Subject,
    /// The subject's name in the tables.
    pub name: &'a str,
    /// Which patch size it uses at which step.
    pub schedule: &'a Schedule,
    /// The data set whose trajectories it continues.
    pub dataset: &'a Dataset,
    /// How far, from how many starts, and what is measured and kept.
    pub options: &'a EvalOptions,
}

/// How an evaluation is done.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// Frames to predict from each start.
    pub rollout: usize,
    /// Split of the data set.
    pub split: Split,
    /// Steps between two starts in a trajectory; if none, the length of a rollout.
    pub every: Option<usize>,
    /// Starts that are rolled out together.
    pub batch: usize,
    /// Rollouts whose frames are kept for pictures.
    pub keep: usize,
    /// Edges of the wavenumber bands, in radians per cell, ascending; if none, The Well's three bands.
    pub bands: Option<Vec<f32>>,
    /// Seed of the shifts by which each step sees the grid rolled along its periodic axes; if none, it is not rolled.
    pub jitter: Option<u64>,
    /// Rollouts from each start, which differ by their seeds and are measured together; if none, there is one rollout.
    pub members: Option<usize>,
    /// Whether rollouts are also measured as a whole, which holds their frames in memory.
    pub temporal: bool,
    /// What to do if the results hold an evaluation with the same name, data set, split and schedule, jitter included.
    pub existing: OnExisting,
    /// Time between two saves of the progress, which is at most lost by an interruption.
    pub save_every: Duration,
}

impl Default for EvalOptions {
    fn default() -> Self {
        Self {
            rollout: 1,
            split: Split::Test,
            every: None,
            batch: 4,
            keep: 1,
            bands: None,
            jitter: None,
            members: None,
            temporal: false,
            existing: OnExisting::Renew,
            save_every: Duration::from_secs(30),
        }
    }
}

/// Rolls out a subject from every start of a split and commits the tables; none if an equal evaluation is
/// there and is to be skipped. Leftovers of killed evaluations in the folder are removed first. This blocks:
/// call it from a thread that is not the runtime's.
///
/// # Errors
/// [`Error::Patch`], [`Error::NotPeriodic`], [`Error::Ensemble`], [`Error::Exists`], [`Error::Clash`] and [`Error::Unwritable`] before anything runs, and the
/// second and third also at the end, if another process was faster; [`Error::Step`]; a rollout longer than every
/// trajectory is [`wellspring_store::Error::NoWindows`].
pub fn evaluate(
    results: &Location,
    evaluation: Evaluation<'_>,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Option<RunRecord>> {
    evaluate_by_ranks(results, evaluation, &OneProcess, runtime, reporter)
}

/// [`evaluate()`] by several processes, each of which rolls out a part of the windows. All call this with the same
/// evaluation and results, and get what the first has committed. A schedule by a budget is left to the first.
///
/// # Errors
/// As for one process; and [`Error::Ranks`] and [`Error::LostPart`], where they do not hear or see one another.
pub fn evaluate_by_ranks(
    results: &Location,
    evaluation: Evaluation<'_>,
    ranks: &dyn Ranks,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Option<RunRecord>> {
    let plan = EvaluationPlan::new(evaluation, ranks)?;
    let is_first = ranks.share().rank == 0;
    let claim = match is_first {
        true => claim(&plan.record, results, evaluation.options, runtime, reporter)?,
        false => None,
    };
    if !told_by_the_first(ranks, &claim.is_some())? {
        return Ok(None);
    }
    let life = tables::life(results, &plan.record.run);
    let begun = async {
        let life = life.hold().await?;
        try_writing(results, &plan.record).await?;
        Ok::<_, wellspring_store::Error>(life)
    };
    let _life = runtime
        .block_on(begun)
        .map_err(|source| Error::Unwritable {
            root: results.to_string(),
            source: Box::new(source),
        })?;
    measure::tell_guards(evaluation.dataset.manifest(), reporter)?;
    reporter.begin(
        &format!("evaluating {} {}", evaluation.name, plan.record.schedule),
        Some(plan.frames() as u64),
        "frames",
    );
    let answer = plan.run(claim.as_ref(), results, runtime, reporter);
    reporter.end();
    answer
}

/// Claims the place of an evaluation in the results, and removes what killed ones left there. None if it is there
/// already and is to be skipped.
fn claim(
    record: &RunRecord,
    results: &Location,
    options: &EvalOptions,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Option<EvaluationClaim>> {
    let committed = runtime.block_on(CommittedRuns::read(results, reporter))?;
    let held = committed.held()?;
    let claim = EvaluationClaim::new(record, options.existing, results.to_string(), held)?;
    if claim.is_some()
        && let Err(error) = runtime.block_on(tables::sweep(results, &committed.runs(), reporter))
    {
        reporter.note(&format!(
            "warning: what killed evaluations left stays: {error}"
        ));
    }
    Ok(claim)
}

/// Writes a file to the folder of each table that an evaluation has, and removes it, so that missing permissions show at the start.
async fn try_writing(results: &Location, record: &RunRecord) -> wellspring_store::Result<()> {
    let is_written = |table: &Table| *table != Table::Ensembles || record.members.is_some();
    let tables = Table::ALL.into_iter().filter(is_written);
    let folders = tables.map(Table::name).chain(["frames"]);
    for folder in folders {
        let place = results.join(folder).join(&format!("{}.try", record.run));
        place.put("").await?;
        // Where nothing may be removed, results can still be added.
        let _ = place.delete().await;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
