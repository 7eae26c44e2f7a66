//! Evaluations with one name, in sequence and at the same time, and other files in their folder.

use std::sync::Once;

use arrow::array::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::results::tables::Table;

/// Persistence under some weights. While it takes its first step, another thing happens.
struct Model<'a> {
    weights: &'a str,
    meanwhile: &'a (dyn Fn() + Sync),
    once: Once,
    counted: CountingSubject,
}

impl<'a> Model<'a> {
    fn new(weights: &'a str, meanwhile: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            weights,
            meanwhile,
            once: Once::new(),
            counted: CountingSubject::failing_at(usize::MAX),
        }
    }

    fn steps(&self) -> usize {
        self.counted.steps.load(Ordering::SeqCst)
    }
}

impl Subject for Model<'_> {
    fn description(&self) -> Description {
        Description {
            weights: Some(self.weights.into()),
            ..self.counted.description()
        }
    }

    fn context(&self) -> usize {
        1
    }

    fn stride(&self) -> usize {
        1
    }

    fn patches(&self) -> Vec<Patch> {
        self.counted.patches()
    }

    fn tokens(&self, patch: &Patch, space: &[usize]) -> Result<usize, SubjectError> {
        self.counted.tokens(patch, space)
    }

    fn step(&self, context: Context<'_>, patch: &Patch) -> Result<Frames, SubjectError> {
        self.once.call_once(self.meanwhile);
        self.counted.step(context, patch)
    }
}

/// A data set and a folder of results.
struct Scene {
    runtime: tokio::runtime::Runtime,
    dataset: Dataset,
    results: Location,
    folder: tempfile::TempDir,
}

impl Scene {
    /// On a disk, or in a store with conditions.
    fn new(on_disk: bool) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dataset = runtime.block_on(plane("memory:///plane"));
        let folder = tempfile::tempdir().unwrap();
        let results = match on_disk {
            true => folder.path().join("results").display().to_string(),
            false => "memory:///results".into(),
        };
        Self {
            results: Location::parse(&results).unwrap(),
            runtime,
            dataset,
            folder,
        }
    }

    fn evaluate(&self, model: &Model<'_>, options: &EvalOptions) -> Result<Option<RunRecord>> {
        let evaluation = Evaluation {
            subject: model,
            name: "m",
            schedule: &Schedule::parse("4", 2).unwrap(),
            dataset: &self.dataset,
            options,
        };
        evaluate(&self.results, evaluation, self.runtime.handle(), &Silent)
    }

    fn quick(&self, weights: &str, existing: OnExisting) -> Result<Option<RunRecord>> {
        let options = EvalOptions {
            existing,
            ..options()
        };
        self.evaluate(&Model::new(weights, &|| {}), &options)
    }

    /// Weights and rollouts of the rows, and that each folder has files of them alone.
    fn rows(&self) -> String {
        let text = self.ask("SELECT weights, rollout FROM runs ORDER BY 1, 2");
        for folder in ["runs", "metrics", "spectra", "frames"] {
            let files = self.runtime.block_on(self.results.join(folder).list());
            assert_eq!(files.unwrap().len(), text.lines().count() - 1, "{folder}");
        }
        text.lines().skip(1).collect::<Vec<_>>().join(" ")
    }

    fn ask(&self, query: &str) -> String {
        let answer = self.runtime.block_on(async {
            let database = Database::new()?;
            database.add_results(&self.results, &Silent).await?;
            database.sql(query).await
        });
        String::from_utf8(Format::Csv.write(&answer.unwrap()).unwrap()).unwrap()
    }
}

#[test]
fn what_is_another_evaluation_is_not_replaced_unless_asked() {
    for on_disk in [true, false] {
        let scene = Scene::new(on_disk);
        scene.quick("one", OnExisting::Renew).unwrap();
        assert_eq!(scene.rows(), "one,1");
        // An equal evaluation takes its place.
        scene.quick("one", OnExisting::Renew).unwrap();
        assert_eq!(scene.rows(), "one,1");
        for existing in [OnExisting::Renew, OnExisting::Skip, OnExisting::Refuse] {
            let error = scene.quick("two", existing).unwrap_err().to_string();
            for part in ["weights (ckm after 0 steps, one there", "--name", "replace"] {
                assert!(error.contains(part), "{error}");
            }
        }
        let farther = EvalOptions {
            rollout: 2,
            ..options()
        };
        let model = Model::new("one", &|| {});
        let error = scene.evaluate(&model, &farther).unwrap_err().to_string();
        assert!(error.contains("rollout (1 there, 2 here)"), "{error}");
        assert_eq!(model.steps(), 0);
        assert_eq!(scene.rows(), "one,1");
        let added = EvalOptions {
            existing: OnExisting::Add,
            ..farther
        };
        scene.evaluate(&model, &added).unwrap();
        assert_eq!(scene.rows(), "one,1 one,2");
        // The equal one alone is done again, and skipped.
        scene.quick("one", OnExisting::Renew).unwrap();
        assert!(scene.quick("one", OnExisting::Skip).unwrap().is_none());
        assert_eq!(scene.rows(), "one,1 one,2");
        scene.quick("two", OnExisting::Replace).unwrap();
        assert_eq!(scene.rows(), "two,1");
    }
}

/// Both begin where nothing is.
#[test]
fn of_two_at_the_same_time_the_second_to_end_is_told() {
    for on_disk in [true, false] {
        let ends = |second: &str, existing| {
            let scene = Scene::new(on_disk);
            let other = || drop(scene.quick("first", OnExisting::Renew).unwrap());
            let options = EvalOptions {
                existing,
                ..options()
            };
            let ended = scene.evaluate(&Model::new(second, &other), &options);
            (ended.map(|record| record.is_some()), scene.rows())
        };
        let (ended, rows) = ends("first", OnExisting::Refuse);
        assert!(matches!(ended, Err(Error::Exists { .. })), "{ended:?}");
        assert_eq!(rows, "first,1");
        let (ended, rows) = ends("first", OnExisting::Skip);
        assert_eq!((ended.unwrap(), rows.as_str()), (false, "first,1"));
        for existing in [OnExisting::Renew, OnExisting::Skip, OnExisting::Refuse] {
            let (ended, rows) = ends("second", existing);
            assert!(matches!(ended, Err(Error::Clash { .. })), "{ended:?}");
            assert_eq!(rows, "first,1");
        }
        let (ended, rows) = ends("first", OnExisting::Renew);
        assert_eq!((ended.unwrap(), rows.as_str()), (true, "first,1"));
        let (ended, rows) = ends("second", OnExisting::Replace);
        assert_eq!((ended.unwrap(), rows.as_str()), (true, "second,1"));
        let (ended, rows) = ends("second", OnExisting::Add);
        assert_eq!((ended.unwrap(), rows.as_str()), (true, "first,1 second,1"));
    }
}

/// Persistence has no weights that tell it from the mean.
#[test]
fn baselines_are_told_apart() {
    let scene = Scene::new(false);
    let run = |baseline: Baseline| {
        let evaluation = Evaluation {
            subject: &baseline.with_context(2, 2),
            name: "b",
            schedule: &Schedule::parse("1", 2).unwrap(),
            dataset: &scene.dataset,
            options: &options(),
        };
        evaluate(&scene.results, evaluation, scene.runtime.handle(), &Silent)
    };
    run(Baseline::Mean).unwrap();
    let error = run(Baseline::Linear).unwrap_err().to_string();
    assert!(
        error.contains("weights (mean there, linear here)"),
        "{error}"
    );
}

/// Readers see one whole evaluation at every moment, and what was opened before is asked again.
#[test]
fn readers_beside_a_re_evaluation_never_fail() {
    for on_disk in [true, false] {
        let scene = Scene::new(on_disk);
        scene.quick("one", OnExisting::Renew).unwrap();
        let rows = "SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM metrics) AS metrics, \
            (SELECT count(*) FROM spectra) AS spectra";
        let whole = scene.ask(rows);
        let opened = Database::new().unwrap();
        let added = scene
            .runtime
            .block_on(opened.add_results(&scene.results, &Silent));
        added.unwrap();
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..20 {
                    scene.quick("one", OnExisting::Renew).unwrap();
                }
                done.store(1, Ordering::SeqCst);
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) == 0 {
                        assert_eq!(scene.ask(rows), whole);
                        let answer = scene.runtime.block_on(opened.sql(rows)).unwrap();
                        let text = String::from_utf8(Format::Csv.write(&answer).unwrap());
                        assert_eq!(text.unwrap(), whole);
                    }
                });
            }
            writer.join().unwrap();
        });
    }
}

/// When two queries find an evaluation replaced, the second one asks again too, though the first has opened the results.
#[test]
fn whoever_held_replaced_results_is_told_whoever_opens_them() {
    let scene = Scene::new(false);
    scene.quick("one", OnExisting::Renew).unwrap();
    let opened = Database::new().unwrap();
    let wait = &scene.runtime;
    wait.block_on(opened.add_results(&scene.results, &Silent))
        .unwrap();
    let (first, second) = (opened.held(), opened.held());
    assert!(!wait.block_on(opened.renew(&first)).unwrap());
    scene.quick("one", OnExisting::Renew).unwrap();
    assert!(wait.block_on(opened.renew(&first)).unwrap());
    assert!(wait.block_on(opened.renew(&second)).unwrap());
    assert!(!wait.block_on(opened.renew(&opened.held())).unwrap());
}

#[test]
fn what_killed_evaluations_left_is_removed_and_what_others_have_is_not() {
    let scene = Scene::new(true);
    scene.quick("one", OnExisting::Renew).unwrap();
    let put = |name: &str| {
        let place = scene.results.join(name);
        scene.runtime.block_on(place.put("half")).unwrap();
    };
    let (killed, living) = ("m-4-0123456789abcdef", "m-4-fedcba9876543210");
    for run in [killed, living] {
        put(&format!("metrics/{run}.parquet"));
        put(&format!("frames/{run}.arrow"));
        put(&format!("runs/{run}.try"));
    }
    put("metrics/notes.parquet");
    let folder = scene.folder.path().join("results");
    for folder in ["metrics", "runs"].map(|name| folder.join(name)) {
        let staged = folder.join(format!("{killed}.parquet#1"));
        std::io::Write::write_all(
            &mut std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(staged)
                .unwrap(),
            b"half",
        )
        .unwrap();
    }
    let life = tables::life(&scene.results, living);
    let life = scene.runtime.block_on(life.hold()).unwrap();
    scene.quick("one", OnExisting::Renew).unwrap();
    let mut left = Vec::new();
    for name in ["metrics", "frames", "runs", "spectra"] {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            left.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    let has = |name: &str| left.iter().filter(|held| held.contains(name)).count();
    assert_eq!(
        (has(killed), has(living), has("notes")),
        (0, 3, 1),
        "{left:?}"
    );
    drop(life);
    scene.quick("one", OnExisting::Renew).unwrap();
    scene
        .runtime
        .block_on(scene.results.join("metrics/notes.parquet").delete())
        .unwrap();
    scene.rows();
}

#[test]
fn who_may_not_write_is_told_before_anything_is_computed() {
    let scene = Scene::new(true);
    // Where a folder should be is a file.
    let place = scene.results.join("frames");
    scene.runtime.block_on(place.put("")).unwrap();
    let model = Model::new("one", &|| {});
    let error = scene.evaluate(&model, &options()).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert_eq!(model.steps(), 0);
}

/// Readers of the files alone find every row by the run of `runs`.
#[test]
fn rows_of_an_interrupted_evaluation_are_of_the_one_that_ended() {
    let scene = Scene::new(false);
    let run = |fails_at| {
        let evaluation = Evaluation {
            subject: &CountingSubject::failing_at(fails_at),
            name: "m",
            schedule: &Schedule::parse("4", 2).unwrap(),
            dataset: &scene.dataset,
            options: &options(),
        };
        evaluate(&scene.results, evaluation, scene.runtime.handle(), &Silent)
    };
    run(5).unwrap_err();
    let record = run(usize::MAX).unwrap().unwrap();
    let file = Table::Metrics.file(&scene.results, &record.run);
    let bytes = scene.runtime.block_on(file.get()).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    for batch in reader.build().unwrap() {
        let runs = batch.unwrap();
        let runs = runs
            .column_by_name("run")
            .unwrap()
            .as_string::<i32>()
            .clone();
        assert!(runs.iter().all(|run| run == Some(record.run.as_str())));
    }
}
