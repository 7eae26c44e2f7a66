//! Evaluations of small data sets, checked by the tables that they write.

mod conditions;
mod ensembles;
mod existing;
mod jitter;
mod one_name;
mod scales;
mod shared_out;
mod transforms;

use std::sync::atomic::{AtomicUsize, Ordering};

use wellspring_store::{Context, Frames, Patch, Share, Silent};

use super::*;
use crate::sample::{FRAMES, plane};
use crate::{Baseline, Database, Description, Format, SubjectError};

/// Persistence that counts its steps, and fails at one of them.
struct CountingSubject {
    steps: AtomicUsize,
    fails_at: usize,
}

impl CountingSubject {
    fn failing_at(fails_at: usize) -> Self {
        Self {
            steps: AtomicUsize::new(0),
            fails_at,
        }
    }
}

impl Subject for CountingSubject {
    fn description(&self) -> Description {
        Description {
            strategy: "ckm".into(),
            weights: Some("0123".into()),
            ..Description::default()
        }
    }

    fn context(&self) -> usize {
        1
    }

    fn stride(&self) -> usize {
        1
    }

    fn patches(&self) -> Vec<Patch> {
        [4, 8].map(|size| Patch::uniform(size, 2)).into()
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        let sizes = patch.sizes().iter().zip(space);
        Ok(sizes.map(|(size, n)| n / *size).product())
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        let context = context.frames;
        if self.steps.fetch_add(1, Ordering::SeqCst) == self.fails_at {
            return Err("interrupted".into());
        }
        let mut next = context.frame(context.time() - 1);
        // Another prediction for another size.
        let size = patch.sizes()[0] as f32;
        next.data_mut().iter_mut().for_each(|x| *x += 0.01 * size);
        Ok(next)
    }
}

fn options() -> EvalOptions {
    EvalOptions {
        rollout: 1,
        split: Split::Train,
        batch: 1,
        save_every: Duration::ZERO,
        ..EvalOptions::default()
    }
}

/// All rows but what times and names them.
async fn rows(results: &Location) -> String {
    let database = Database::new().unwrap();
    database.add_results(results, &Silent).await.unwrap();
    let mut text = String::new();
    for query in [
        "SELECT trajectory, start, lead, patch, tokens, field, metric, band, value FROM metrics \
         ORDER BY 1, 2, 3, 4, 6, 7, 8",
        "SELECT lead, patch, field, axis, bin, truth, prediction, residual FROM spectra ORDER BY 1, 2, 3, 4, 5",
        "SELECT tokens, starts FROM runs",
    ] {
        let answer = database.sql(query).await.unwrap();
        text += &String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap();
    }
    text
}

/// An evaluation that failed goes on where it was, and ends as an undisturbed one.
#[test]
fn what_is_done_is_not_done_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let windows = 2 * (FRAMES - 1);
    for schedule in ["4,8", "budget:18"] {
        let schedule = Schedule::parse(schedule, 2).unwrap();
        let run = |subject: &CountingSubject, results: &Location| {
            let evaluation = Evaluation {
                subject,
                name: "c",
                schedule: &schedule,
                dataset: &dataset,
                options: &options(),
            };
            evaluate(results, evaluation, runtime.handle(), &Silent)
        };
        let undisturbed = Location::parse("memory:///undisturbed").unwrap();
        let whole = CountingSubject::failing_at(usize::MAX);
        run(&whole, &undisturbed).unwrap();
        let results = Location::parse("memory:///results").unwrap();
        let first = CountingSubject::failing_at(5);
        let error = run(&first, &results).unwrap_err();
        assert!(error.to_string().contains("interrupted"), "{error}");
        let saved = runtime.block_on(results.join("unfinished").list()).unwrap();
        assert!(saved.len() >= 4);
        let second = CountingSubject::failing_at(usize::MAX);
        run(&second, &results).unwrap();
        let steps = |subject: &CountingSubject| subject.steps.load(Ordering::SeqCst);
        assert!(steps(&second) < steps(&whole) && steps(&whole) >= windows);
        let left = runtime.block_on(results.join("unfinished").list()).unwrap();
        assert_eq!(left.len(), 0);
        assert_eq!(
            runtime.block_on(rows(&results)),
            runtime.block_on(rows(&undisturbed))
        );
        // What is skipped takes no step.
        let third = CountingSubject::failing_at(0);
        let skip = EvalOptions {
            existing: OnExisting::Skip,
            ..options()
        };
        let evaluation = Evaluation {
            subject: &third,
            name: "c",
            schedule: &schedule,
            dataset: &dataset,
            options: &skip,
        };
        let again = evaluate(&results, evaluation, runtime.handle(), &Silent);
        assert!(again.unwrap().is_none());
    }
}

/// A half-written save costs time, not the evaluation; and so does one of other bands.
#[test]
fn a_save_that_does_not_fit_is_begun_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let schedule = Schedule::parse("4", 2).unwrap();
    for (damaged, bands) in [
        ("state.json", None),
        ("metrics-1.parquet", None),
        ("nothing", Some(vec![0.0, 1.0, 5.0])),
    ] {
        let results = Location::parse("memory:///results").unwrap();
        let run = |subject: &CountingSubject, options: EvalOptions| {
            let evaluation = Evaluation {
                subject,
                name: "c",
                schedule: &schedule,
                dataset: &dataset,
                options: &options,
            };
            evaluate(&results, evaluation, runtime.handle(), &Silent)
        };
        run(&CountingSubject::failing_at(5), options()).unwrap_err();
        for object in runtime.block_on(results.join("unfinished").list()).unwrap() {
            if object.name() == Some(damaged) {
                runtime.block_on(object.put("{")).unwrap();
            }
        }
        let again = CountingSubject::failing_at(usize::MAX);
        let options = EvalOptions { bands, ..options() };
        assert!(run(&again, options).unwrap().is_some());
        let steps = again.steps.load(Ordering::SeqCst);
        assert_eq!(steps, 2 * (FRAMES - 1), "{damaged}");
    }
}

/// A rollout that leaves the truth says when.
#[test]
fn divergence_is_a_lead() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let results = Location::parse("memory:///results").unwrap();
    let evaluation = Evaluation {
        subject: &Baseline::Persistence.with_context(1, 2),
        name: "p",
        schedule: &Schedule::parse("1", 2).unwrap(),
        dataset: &dataset,
        options: &EvalOptions {
            rollout: 3,
            ..options()
        },
    };
    evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
    let database = Database::new().unwrap();
    let answer = runtime.block_on(async {
        database.add_results(&results, &Silent).await.unwrap();
        database
            .sql("SELECT DISTINCT value FROM metrics WHERE metric = 'divergence_lead'")
            .await
    });
    let text = String::from_utf8(Format::Csv.write(&answer.unwrap()).unwrap()).unwrap();
    // The mean moves by 1 a frame, the wave's deviation is √2: beyond it from the second lead on.
    assert_eq!(text, "value\n2.0\n");
}

/// A subject that sees every second frame is measured against those, and compared only with subjects like it.
#[test]
fn strides_are_tasks_of_their_own() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let results = Location::parse("memory:///results").unwrap();
    for stride in [1, 2] {
        let evaluation = Evaluation {
            subject: &Baseline::Persistence.with_context(1, 2).every(stride),
            name: "persistence",
            schedule: &Schedule::parse("1", 2).unwrap(),
            dataset: &dataset,
            options: &options(),
        };
        evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
    }
    let database = Database::new().unwrap();
    let answer = runtime.block_on(async {
        database.add_results(&results, &Silent).await.unwrap();
        let query = "SELECT b.dataset, starts, round(b.vrmse, 4) AS vrmse, l.of_persistence \
            FROM by_lead b JOIN leaderboard l ON l.dataset = b.dataset WHERE field = 'u' ORDER BY dataset";
        database.sql(query).await
    });
    let text = String::from_utf8(Format::Csv.write(&answer.unwrap()).unwrap()).unwrap();
    // The mean moves by 1 a step, the wave's variance is 2 · 256 / 255. Two trajectories of five frames.
    let expected = "dataset,starts,vrmse,of_persistence\n\
        plane,8,0.7057,1.0\nplane every 2,4,1.4114,1.0\n";
    assert_eq!(text, expected);
}

/// The mean that training validates by is that of the rows of an evaluation, for the same windows.
#[test]
fn a_sample_of_windows_has_the_errors_of_the_tables() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dataset = runtime.block_on(plane("memory:///plane"));
    let schedule = Schedule::parse("4,8", 2).unwrap();
    let subject = CountingSubject::failing_at(usize::MAX);
    let options = EvalOptions {
        split: Split::Train,
        rollout: 2,
        every: Some(1),
        ..options()
    };
    let results = Location::parse("memory:///results").unwrap();
    let evaluation = Evaluation {
        subject: &subject,
        name: "c",
        schedule: &schedule,
        dataset: &dataset,
        options: &options,
    };
    evaluate(&results, evaluation, runtime.handle(), &Silent).unwrap();
    for windows in [1, 4, 99] {
        let sampled = SampleOptions {
            split: Split::Train,
            windows,
            rollout: 2,
            seed: 3,
            batch: 3,
        };
        let sample = WindowSample::draw(&dataset, [1, 1], sampled, runtime.handle()).unwrap();
        assert_eq!(sample.windows().len(), windows.min(2 * (FRAMES - 2)));
        let chosen = sample.windows().iter();
        let chosen: Vec<String> = chosen
            .map(|window| format!("({}, {})", window.trajectory, window.start))
            .collect();
        let query = format!(
            "SELECT avg(value) AS mean FROM metrics WHERE metric = 'vrmse' AND (trajectory, start) IN ({})",
            chosen.join(", ")
        );
        let answer = runtime.block_on(async {
            let database = Database::new().unwrap();
            database.add_results(&results, &Silent).await.unwrap();
            database.sql(&query).await.unwrap()
        });
        let text = String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap();
        let expected: f64 = text.lines().nth(1).unwrap().parse().unwrap();
        let found = sample.vrmse(&subject, &schedule).unwrap();
        assert!(
            (found - expected).abs() < 1e-12 * expected,
            "{found} {expected}"
        );
    }
}
