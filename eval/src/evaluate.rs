//! [`evaluate()`]: rolls out many starts at once, measures every frame, and commits the tables at the end.
//!
//! Memory does not grow with the rollout: truth is read lead by lead, and predictions are kept only while
//! they are in the context of the next step, and measured while that step is computed. Only metrics of
//! whole rollouts hold their frames.

mod measure;
pub(crate) mod rollout;
mod schedule;
mod spectra;
mod subject;
mod task;
mod unfinished;
mod window_sample;

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use wellspring_store::{
    Context, Dataset, Location, Order, Patch, Plan, Reporter, Share, Split, Window, WindowSpec,
};

use crate::error::SubjectError;
use crate::evaluate::rollout::Rollout;
use crate::results::tables::{self, Committed, EvaluationClaim, RunRecord, TABLE_VERSION, Table};
use crate::{Error, OnExisting, Result};
use measure::{Measurer, Prediction, TruthSource};
pub use schedule::Schedule;
pub use subject::{Baseline, BaselineSubject, Description, Subject};
use task::Task;
use unfinished::{Costs, Progress, Unfinished};
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
    /// Whether rollouts are also measured as a whole, which holds their frames in memory.
    pub temporal: bool,
    /// What to do if the results hold an evaluation with the same name, data set, split and schedule.
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
/// [`Error::Patch`], [`Error::Exists`], [`Error::Clash`] and [`Error::Unwritable`] before anything runs, and the
/// second and third also at the end, if another process was faster; [`Error::Step`]; a rollout longer than every
/// trajectory is [`wellspring_store::Error::NoWindows`].
pub fn evaluate(
    results: &Location,
    evaluation: Evaluation<'_>,
    runtime: &Handle,
    reporter: &dyn Reporter,
) -> Result<Option<RunRecord>> {
    let plan = EvaluationPlan::new(evaluation)?;
    let committed = runtime.block_on(Committed::read(results, reporter))?;
    let (root, existing) = (results.to_string(), evaluation.options.existing);
    let Some(claim) = EvaluationClaim::new(&plan.record, existing, root, committed.held()?)? else {
        return Ok(None);
    };
    let life = tables::life(results, &plan.record.run);
    let begun = async {
        let life = life.hold().await?;
        try_writing(results, &plan.record.run).await?;
        Ok::<_, wellspring_store::Error>(life)
    };
    let _life = runtime
        .block_on(begun)
        .map_err(|source| Error::Unwritable {
            root: results.to_string(),
            source: Box::new(source),
        })?;
    if let Err(error) = runtime.block_on(tables::sweep(results, &committed.runs(), reporter)) {
        reporter.note(&format!(
            "warning: what killed evaluations left stays: {error}"
        ));
    }
    measure::tell_guards(evaluation.dataset.manifest(), reporter)?;
    let total = plan.windows.total() * evaluation.options.rollout;
    reporter.begin(
        &format!("evaluating {} {}", evaluation.name, plan.record.schedule),
        Some(total as u64),
        "frames",
    );
    let answer = plan.run(&claim, results, runtime, reporter);
    reporter.end();
    answer
}

/// Writes a file to the folder of each table and removes it, so that missing permissions show at the start.
async fn try_writing(results: &Location, run: &str) -> wellspring_store::Result<()> {
    let folders = Table::ALL.map(Table::name).into_iter().chain(["frames"]);
    for folder in folders {
        let place = results.join(folder).join(&format!("{run}.try"));
        place.put("").await?;
        // Where nothing may be removed, results can still be added.
        let _ = place.delete().await;
    }
    Ok(())
}

/// The windows of an evaluation, and the row that it will leave.
struct EvaluationPlan<'a> {
    evaluation: Evaluation<'a>,
    windows: Plan,
    record: RunRecord,
}

impl<'a> EvaluationPlan<'a> {
    fn new(evaluation: Evaluation<'a>) -> Result<Self> {
        let Evaluation {
            subject,
            name,
            schedule,
            dataset,
            options,
        } = evaluation;
        let manifest = dataset.manifest();
        let stride = subject.stride();
        let spec = WindowSpec {
            stride,
            every: options
                .every
                .unwrap_or(options.rollout.saturating_mul(stride))
                .max(1),
            ..WindowSpec::of_length(subject.context().saturating_add(options.rollout))
        };
        let windows = Plan::new(
            manifest,
            options.split,
            spec,
            Order::Sequential,
            Share::WHOLE,
        )?;
        let space = manifest.schema.grid.shape();
        Rollout::new(subject, schedule, &space)?;
        measure::field_metrics(&space, options)?;
        let trajectories = &manifest.split(options.split)?.trajectories;
        let task = Task::new(manifest, options.split, stride)?;
        let about = subject.description();
        let shown = if about.strategy == "baseline" {
            "-".to_owned()
        } else {
            schedule.to_string()
        };
        let record = RunRecord {
            run: tables::file_name(name, &shown, &format!("{:016x}", rand::random::<u64>())),
            table_version: TABLE_VERSION,
            name: name.to_owned(),
            strategy: about.strategy,
            parameters: about.parameters,
            dim: about.dim,
            blocks: about.blocks,
            train_steps: about.train_steps,
            train_dataset: about.train_dataset,
            weights: about.weights,
            bands: options.bands.as_ref().map(|edges| {
                let edges: Vec<String> = edges.iter().map(f32::to_string).collect();
                edges.join(",")
            }),
            dataset: task.name,
            dataset_id: task.dataset_id,
            task: task.id,
            grid: task.grid,
            fields: task.fields,
            split: options.split.to_string(),
            schedule: shown,
            context: subject.context() as u64,
            rollout: options.rollout as u64,
            trajectories: trajectories
                .iter()
                .filter(|held| spec.count(held.frames) > 0)
                .count() as u64,
            starts: windows.total() as u64,
            every: spec.every as u64,
            tokens: 0.0,
            seconds_per_frame: 0.0,
            version: env!("CARGO_PKG_VERSION").into(),
            created: 0,
        };
        Ok(Self {
            evaluation,
            windows,
            record,
        })
    }

    /// Rolls every window out, while what was predicted before is measured on another thread, and
    /// commits the tables. Windows that an interrupted evaluation has done are not done again.
    fn run(
        mut self,
        claim: &EvaluationClaim,
        results: &Location,
        runtime: &Handle,
        reporter: &dyn Reporter,
    ) -> Result<Option<RunRecord>> {
        let windows: Vec<Window> = self.windows.iter().collect();
        let Evaluation {
            subject,
            dataset,
            options,
            ..
        } = self.evaluation;
        let source = TruthSource {
            dataset,
            split: options.split,
            stride: subject.stride(),
            runtime,
        };
        let mut unfinished = Unfinished::of(results, &self.record, options);
        let saved = runtime.block_on(unfinished.load())?;
        let progress = saved.as_ref().map(|saved| saved.progress.clone());
        let mut measurer = Measurer::new(source, options, &self.record, unfinished, saved)?;
        let (sender, receiver) = sync_channel::<Prediction<'_>>(1);
        let (costs, (draft, unfinished)) = std::thread::scope(|scope| {
            let measuring = std::thread::Builder::new().spawn_scoped(scope, move || {
                for predicted in receiver {
                    measurer.lead(predicted)?;
                }
                measurer.finish()
            });
            let measuring = measuring.map_err(|source| Error::Threads { source })?;
            let begun = progress.unwrap_or_default();
            let costs = self.roll_out(begun, &windows, source, &sender, reporter);
            drop(sender);
            // Where measuring failed, the rollout only found its receiver gone.
            let measured = match measuring.join() {
                Ok(measured) => measured?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok::<_, Error>((costs?, measured))
        })?;
        let frames = (windows.len() * options.rollout).max(1) as f64;
        self.record.tokens = costs.tokens as f64 / frames;
        self.record.seconds_per_frame = costs.seconds / frames;
        let record = runtime.block_on(draft.commit(self.record, claim, results))?;
        runtime.block_on(unfinished.clear())?;
        Ok(record)
    }

    /// Predicts every lead of every window and sends it on.
    fn roll_out<'w>(
        &self,
        begun: Progress,
        windows: &'w [Window],
        source: TruthSource<'_>,
        sender: &SyncSender<Prediction<'w>>,
        reporter: &dyn Reporter,
    ) -> Result<Costs> {
        let Evaluation {
            subject,
            schedule,
            dataset,
            options,
            ..
        } = self.evaluation;
        let space = dataset.schema().grid.shape();
        let mut rollout = Rollout::new(subject, schedule, &space)?;
        let batch = if rollout.is_single() {
            1
        } else {
            options.batch.max(1)
        };
        let mut costs = begun.costs;
        rollout.restore(begun.budget);
        reporter.advance((begun.windows * options.rollout) as u64);
        let batches = windows.chunks(batch).enumerate();
        for (index, windows) in batches.skip(begun.windows.div_ceil(batch)) {
            let mut seen = source.read(windows, 0..subject.context())?;
            for lead in 1..=options.rollout {
                let places = lead - 1..lead + subject.context();
                let conditions = source.conditions(windows, places, subject.conditioning())?;
                let context = Context {
                    frames: &seen,
                    conditions: &conditions,
                };
                let began = Instant::now();
                let step = rollout.step(context, lead - 1);
                let step = step.map_err(|source| self.failed(lead, windows, source))?;
                costs.seconds += began.elapsed().as_secs_f64();
                costs.tokens += step.tokens * windows.len();
                tracing::debug!(lead, windows = windows.len(), patch = %step.patch, seconds = began.elapsed().as_secs_f64(), "predicted");
                seen.push_frame(&step.prediction)?;
                let predicted = Prediction {
                    windows,
                    first: index * batch,
                    lead,
                    patch: self.shown(&step.patch),
                    tokens: step.tokens,
                    prediction: step.prediction,
                    progress: (lead == options.rollout).then(|| Progress {
                        windows: index * batch + windows.len(),
                        costs,
                        budget: rollout.state(),
                    }),
                };
                if sender.send(predicted).is_err() {
                    return Ok(costs);
                }
                reporter.advance(windows.len() as u64);
            }
        }
        Ok(costs)
    }

    fn failed(&self, lead: usize, windows: &[Window], source: SubjectError) -> Error {
        Error::Step {
            name: self.record.name.clone(),
            lead,
            split: self.record.split.clone(),
            trajectory: windows[0].trajectory,
            source,
        }
    }

    /// A baseline has no patch size.
    fn shown(&self, patch: &Patch) -> String {
        if self.record.strategy == "baseline" {
            "-".into()
        } else {
            patch.to_string()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
