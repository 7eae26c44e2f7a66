//! `wellspring predict`: reads a run (or takes a baseline) and a data set, and writes rollouts as The Well's HDF5 or as NumPy's archives. The
//! files get their final place when all are complete, so an interruption leaves none, and the same command starts over.

use anyhow::{Context as _, Result};
use wellspring_eval::{Baseline, RolloutOptions, Rollouts, Schedule, Subject};
use wellspring_ingest::{PredictionFolder, PredictionFormat, PredictionSource};
use wellspring_store::{Dataset, Patch, Reporter as _};

use super::Session;
use super::eval::{load, on};
use super::ingest::range;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;
use crate::subject::ModelSubject;

pub fn run(session: &Session, args: &args::Predict) -> Result<()> {
    if let Some(out) = args.to.to_str() {
        super::must_be_local(session, out)?;
    }
    let options = RolloutOptions {
        rollout: args.rollout,
        split: args.split,
        every: args.every,
        trajectories: match &args.trajectories {
            Some(text) => Some(range(text)?).map(|(first, end)| first..end),
            None => None,
        },
        batch: args.batch,
        jitter: args.jitter,
    };
    let dataset = session.wait(async { Dataset::open(&session.locate(&args.root)?).await })?;
    let ndim = dataset.schema().grid.ndim();
    let prediction = Prediction {
        args,
        dataset,
        options,
    };
    if let Some(baseline) = Baseline::named(&args.run) {
        if args.jitter.is_some() {
            misuse!(
                "--jitter: {} has no patches, and is the same wherever the grid begins",
                args.run
            );
        }
        let subject = baseline.with_context(args.context, ndim).every(args.stride);
        let schedule = Schedule::fixed(Patch::uniform(1, ndim));
        return prediction.write(session, (&subject, &args.run), &schedule);
    }
    let (run, predictor) = load(session, &args.run, args.model.choice(), args.device)?;
    let predictor = on(&predictor, &prediction.dataset)?;
    let schedule = match &args.schedule {
        Some(text) => match Schedule::parse(text, ndim) {
            Ok(schedule) => schedule,
            Err(error) => misuse!("--schedule: {error}"),
        },
        None => Schedule::Cycle(predictor.patches()?),
    };
    let subject = ModelSubject::new(&predictor)?;
    prediction.write(
        session,
        (&subject, run.name().unwrap_or("model")),
        &schedule,
    )
}

/// Which rollouts a command writes, and where.
struct Prediction<'a> {
    args: &'a args::Predict,
    dataset: Dataset,
    options: RolloutOptions,
}

impl Prediction<'_> {
    fn write(
        &self,
        session: &Session,
        subject: (&dyn Subject, &str),
        schedule: &Schedule,
    ) -> Result<()> {
        let (dataset, options) = (&self.dataset, self.options.clone());
        let mut rollouts = Rollouts::new(subject, schedule, dataset, options, session.handle())
            .with_context(|| format!("cannot roll out {}", subject.1))?;
        let windows = rollouts.windows().to_vec();
        if windows.is_empty() {
            let asked = self.args.trajectories.as_deref().unwrap_or_default();
            misuse!("--trajectories {asked}: no trajectory there is long enough, or there is none");
        }
        let (out, reporter) = (&self.args.to, &*session.reporter);
        let source = self.source(subject, schedule, &rollouts);
        let folder = PredictionFolder::begin(
            (out, self.args.format),
            dataset,
            source,
            self.args.overwrite,
            reporter,
        )
        .with_context(|| format!("cannot predict into {}", out.display()))?;
        if let Some(folder) = folder {
            let frames = windows.len() * self.args.rollout;
            let doing = format!("predicting by {}", subject.1);
            reporter.begin(&doing, Some(frames as u64), "frames");
            let written = roll_out(session, &mut rollouts, &folder);
            reporter.end();
            written
                .and_then(|()| Ok(folder.finish()?))
                .with_context(|| format!("cannot predict into {}", out.display()))?;
        }
        let next = match self.args.format {
            PredictionFormat::Hdf5 => format!("wellspring ingest {} predictions", out.display()),
            PredictionFormat::Npz => "numpy.load(FILE) in Python".to_owned(),
        };
        line(&format!(
            "{} rollouts of {} frames in {}; next: {next}",
            windows.len(),
            rollouts.frames(),
            out.display(),
        ));
        Ok(())
    }

    fn source(
        &self,
        (subject, name): (&dyn Subject, &str),
        schedule: &Schedule,
        rollouts: &Rollouts<'_>,
    ) -> PredictionSource {
        let about = subject.description();
        PredictionSource {
            name: name.to_owned(),
            schedule: match (about.strategy.as_str(), self.options.jitter) {
                ("baseline", _) => "-".to_owned(),
                (_, Some(seed)) => format!("{schedule} jitter:{seed}"),
                (_, None) => schedule.to_string(),
            },
            weights: about.weights.unwrap_or_default(),
            dataset: self.dataset.manifest().id(),
            split: self.options.split,
            context: subject.context(),
            stride: subject.stride(),
            rollout: self.options.rollout,
            windows: rollouts.windows().to_vec(),
        }
    }
}

/// Writes every frame as it comes, of a batch of rollouts after the other.
fn roll_out(
    session: &Session,
    rollouts: &mut Rollouts<'_>,
    folder: &PredictionFolder<'_>,
) -> Result<()> {
    let context = folder.context();
    for windows in rollouts.windows().to_vec().chunks(rollouts.batch()) {
        let mut files = session.wait(folder.batch(windows))?;
        rollouts.roll_out(windows, |place, frames| {
            files.put(place, frames)?;
            if place >= context {
                session.reporter.advance(windows.len() as u64);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        files.close()?;
    }
    Ok(())
}
