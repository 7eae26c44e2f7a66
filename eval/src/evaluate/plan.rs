//! [`EvaluationPlan`]: the windows of an evaluation, the row that it will leave, and how its ranks do it.

use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::runtime::Handle;
use wellspring_store::{Location, Order, Plan, Reporter, Share, Window, WindowSpec};

use super::Evaluation;
use super::ensemble;
use super::measure::{self, Measurer, Prediction};
use super::ranks::{self, Ranks, exchange, told_by_the_first};
use super::rollout::{Rollout, Step};
use super::rollout_batch::RolloutBatch;
use super::task::Task;
use super::truth::TruthSource;
use super::unfinished::{Costs, Progress, UnfinishedEvaluation};
use crate::results::tables::{self, EvaluationClaim, RunRecord, TABLE_VERSION};
use crate::{Error, Result};

/// The windows of an evaluation, the part of them that this rank does, and the row that it will leave.
pub(super) struct EvaluationPlan<'a> {
    evaluation: Evaluation<'a>,
    ranks: &'a dyn Ranks,
    windows: Vec<Window>,
    part: Range<usize>,
    /// Windows that are rolled out together.
    batch: usize,
    pub(super) record: RunRecord,
}

impl<'a> EvaluationPlan<'a> {
    pub(super) fn new(evaluation: Evaluation<'a>, ranks: &'a dyn Ranks) -> Result<Self> {
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
        let windows: Vec<Window> = windows.iter().collect();
        let space = manifest.schema.grid.shape();
        let rollouts = ensemble::rollouts(&evaluation)?;
        let is_single = rollouts.iter().any(Rollout::is_single);
        measure::field_metrics(&space, options)?;
        let trajectories = &manifest.split(options.split)?.trajectories;
        let task = Task::new(manifest, options.split, stride)?;
        let about = subject.description();
        let shown = match subject.has_patches() {
            true => schedule.to_string(),
            false => "-".to_owned(),
        };
        let shown = ensemble::shown(&evaluation, &shown);
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
            jitter: options.jitter,
            members: options.members.map(|members| members as u64),
            context: subject.context() as u64,
            rollout: options.rollout as u64,
            trajectories: trajectories
                .iter()
                .filter(|held| spec.count(held.frames) > 0)
                .count() as u64,
            starts: windows.len() as u64,
            every: spec.every as u64,
            tokens: 0.0,
            seconds_per_frame: 0.0,
            version: env!("CARGO_PKG_VERSION").into(),
            created: 0,
        };
        // A budget follows from one window to the next, so one rank does all of them.
        let (batch, part) = match (is_single, ranks.share().rank) {
            (true, 0) => (1, 0..windows.len()),
            (true, _) => (1, windows.len()..windows.len()),
            (false, _) => {
                let batch = options.batch.max(1);
                (batch, ranks::part(ranks.share(), windows.len(), batch))
            }
        };
        Ok(Self {
            evaluation,
            ranks,
            windows,
            part,
            batch,
            record,
        })
    }

    /// Frames that this rank predicts.
    pub(super) fn frames(&self) -> usize {
        let options = self.evaluation.options;
        self.part.len() * options.rollout * options.members.unwrap_or(1)
    }

    /// Does this rank's part. The others save theirs, and the first, which has the claim, adds them to its own and commits
    /// the tables. What an interrupted evaluation has done is not done again.
    pub(super) fn run(
        self,
        claim: Option<&EvaluationClaim>,
        results: &Location,
        runtime: &Handle,
        reporter: &dyn Reporter,
    ) -> Result<Option<RunRecord>> {
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
        let share = self.ranks.share();
        let part_of = |rank| {
            let share = Share { rank, ..share };
            UnfinishedEvaluation::of(results, &self.record, options, share)
        };
        let mut unfinished = part_of(share.rank);
        let saved = runtime.block_on(unfinished.load())?;
        let begun = saved.as_ref().map(|saved| saved.progress.clone());
        let measurer = Measurer::new(source, options, &self.record, unfinished, saved)?;
        let (mut measurer, progress) =
            self.measure(measurer, begun.unwrap_or_default(), source, reporter)?;
        let mut costs = progress.costs;
        if claim.is_none() {
            measurer.save(progress)?;
        }
        let runs = exchange(self.ranks, &self.record.run)?;
        if claim.is_some() {
            for (rank, run) in runs.iter().enumerate().skip(1) {
                let saved = runtime.block_on(part_of(rank).of_run(run))?;
                let lost = || Error::LostPart {
                    root: results.to_string(),
                    rank,
                };
                let saved = saved.ok_or_else(lost)?;
                costs += saved.progress.costs;
                measurer.add(saved)?;
            }
        }
        let (draft, unfinished) = measurer.finish()?;
        let committed = match claim {
            Some(claim) => {
                let record = self.record_with(costs);
                runtime.block_on(draft.commit(record, claim, results))?
            }
            None => None,
        };
        let committed = told_by_the_first(self.ranks, &committed)?;
        runtime.block_on(unfinished.clear())?;
        Ok(committed)
    }

    /// Rolls the part's windows out, while what was predicted before is measured on another thread.
    fn measure<'m>(
        &self,
        mut measurer: Measurer<'m>,
        begun: Progress,
        source: TruthSource<'_>,
        reporter: &dyn Reporter,
    ) -> Result<(Measurer<'m>, Progress)> {
        let (sender, receiver) = sync_channel::<Prediction<'_>>(1);
        std::thread::scope(|scope| {
            let measuring = std::thread::Builder::new().spawn_scoped(scope, move || {
                for predicted in receiver {
                    measurer.lead(predicted)?;
                }
                Ok::<_, Error>(measurer)
            });
            let measuring = measuring.map_err(|source| Error::Threads { source })?;
            let progress = self.roll_out(begun, source, &sender, reporter);
            drop(sender);
            // Where measuring failed, the rollout only found its receiver gone.
            let measurer = match measuring.join() {
                Ok(measured) => measured?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok((measurer, progress?))
        })
    }

    /// Predicts every lead of every window of the part and sends it on.
    fn roll_out<'w>(
        &'w self,
        begun: Progress,
        source: TruthSource<'_>,
        sender: &SyncSender<Prediction<'w>>,
        reporter: &dyn Reporter,
    ) -> Result<Progress> {
        let options = self.evaluation.options;
        let mut rollouts = ensemble::rollouts(&self.evaluation)?;
        for (rollout, state) in rollouts.iter_mut().zip(&begun.budgets) {
            rollout.restore(state);
        }
        reporter.advance((begun.windows * options.rollout * rollouts.len()) as u64);
        let mut progress = begun;
        let batches = self.windows[self.part.clone()].chunks(self.batch);
        for windows in batches.skip(progress.windows.div_ceil(self.batch)) {
            let first = self.part.start + progress.windows;
            let begun = RolloutBatch::begin(source, windows, self.evaluation.subject)?;
            let mut members = vec![begun; rollouts.len()];
            for lead in 1..=options.rollout {
                let mut steps = Vec::new();
                for (member, rollout) in members.iter_mut().zip(&mut rollouts) {
                    let (step, took) = member.step(rollout, &self.record.name)?;
                    progress.costs += Costs {
                        seconds: took.as_secs_f64(),
                        tokens: step.tokens * windows.len(),
                    };
                    steps.push(step);
                    reporter.advance(windows.len() as u64);
                }
                let is_last = lead == options.rollout;
                if is_last {
                    progress.windows += windows.len();
                    progress.budgets = rollouts.iter().filter_map(Rollout::state).collect();
                }
                let predicted = Prediction {
                    windows,
                    first,
                    lead,
                    patch: self.patch(&steps),
                    tokens: steps.iter().map(|step| step.tokens).sum(),
                    members: steps.into_iter().map(|step| step.prediction).collect(),
                    progress: is_last.then(|| progress.clone()),
                };
                if sender.send(predicted).is_err() {
                    return Ok(progress);
                }
            }
        }
        Ok(progress)
    }

    /// The row, with what all frames took.
    fn record_with(&self, costs: Costs) -> RunRecord {
        let frames = (self.windows.len() * self.evaluation.options.rollout).max(1) as f64;
        RunRecord {
            tokens: costs.tokens as f64 / frames,
            seconds_per_frame: costs.seconds / frames,
            ..self.record.clone()
        }
    }

    /// The patch size of all members, if there are patches.
    fn patch(&self, steps: &[Step]) -> String {
        let mut sizes: Vec<String> = steps.iter().map(|step| step.patch.to_string()).collect();
        sizes.dedup();
        match sizes.as_slice() {
            _ if !self.evaluation.subject.has_patches() => "-".into(),
            [size] => size.clone(),
            _ => "mixed".into(),
        }
    }
}
