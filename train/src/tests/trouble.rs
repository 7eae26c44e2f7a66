//! Concurrent processes, failing stores, and the leftovers of killed processes.
#![allow(
    clippy::disallowed_methods,
    reason = "what lies on a disk beside a run"
)]

use std::path::Path;

use wellspring_store::Notes;

use super::run::{Run, nine_steps};
use super::*;

/// A log that can be neither read nor written.
#[test]
fn a_run_goes_on_without_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::in_folder(&folder);
    run.stop_after(&nine_steps(), 3);
    let log = folder.path().join("run/log");
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::write(&log, "in the way").unwrap();
    assert_eq!(run.go(&nine_steps()).unwrap().step, 9);
    let told = run.told();
    assert!(told.contains("the log could not be written"), "{told}");
}

#[test]
fn an_import_that_was_stopped_is_no_run_and_can_be_done_again() {
    let (tuned, weights) = Run::beside_weights();
    tuned.import(&nine_steps(), &weights).unwrap();
    let whole = tuned.files();
    let [model, optimizer, state] = ["model.safetensors", "optimizer.safetensors", "state.json"]
        .map(|name| format!("checkpoints/00000000/{name}"));
    let written = [model.as_str(), &optimizer, &state, "config.toml"];
    for done in 1..written.len() {
        for path in &written[done..] {
            tuned.delete(path);
        }
        for start in [Start::Resume, Start::New] {
            let error = tuned.begin(start).unwrap_err().to_string();
            assert!(error.contains("import again"), "{done} {start:?}: {error}");
        }
        tuned.import(&nine_steps(), &weights).unwrap();
        let again = tuned.learned();
        assert!(again.iter().all(|(path, bytes)| whole[path] == *bytes));
    }
    // A second equal import changes nothing; another one is refused.
    tuned.import(&nine_steps(), &weights).unwrap();
    let mut other = nine_steps();
    other.train.checkpoint_every = 4;
    let error = tuned.import(&other, &weights).unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
}

#[test]
fn a_run_that_another_process_writes_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::in_folder(&folder);
    run.stop_after(&nine_steps(), 3);
    let lock = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("run/lock"));
    let lock = lock.unwrap();
    lock.lock().unwrap();
    let before = run.files();
    let error = run.go(&nine_steps()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert!(run.files() == before);
    drop(lock);
    assert_eq!(run.go(&nine_steps()).unwrap().step, 9);
}

#[test]
fn a_run_that_was_taken_away_ends_and_writes_nothing_more() {
    let run = Run::new();
    let take = || run.put("lock", "another");
    let taken = After(AtomicU64::new(4), &take, Notes::default());
    let error = run.stopped(&nine_steps(), &Stop::default(), &taken);
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Overtaken { .. }), "{error}");
    assert_eq!(run.steps(), [3]);
    assert_eq!(run.rates().len(), 3);
}

/// Makes a folder where a file of a checkpoint is to be, or takes it away, after some steps.
struct Block<'a> {
    after: AtomicU64,
    until: AtomicU64,
    path: &'a Path,
    notes: Notes,
}

impl Reporter for Block<'_> {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, by: u64) {
        if by > 0 && self.after.fetch_sub(by, Ordering::SeqCst) == by {
            std::fs::create_dir_all(self.path.join("in the way")).unwrap();
        }
        if by > 0 && self.until.fetch_sub(by, Ordering::SeqCst) == by {
            // A checkpoint is written beside the steps, which are short.
            std::thread::sleep(std::time::Duration::from_secs(2));
            std::fs::remove_dir_all(self.path).unwrap();
        }
    }
    fn end(&self) {}
    fn note(&self, note: &str) {
        self.notes.note(note);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_nothing_unless_it_is_the_last() {
    let weights = {
        let whole = Run::new();
        whole.go(&nine_steps()).unwrap();
        weights(&whole.runtime, &whole.place)
    };
    for (blocked, until) in [
        ("00000006/state.json", 8),
        ("00000009/model.safetensors", 99),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::in_folder(&folder);
        let path = folder.path().join("run/checkpoints").join(blocked);
        let block = Block {
            after: AtomicU64::new(5),
            until: AtomicU64::new(until),
            path: &path,
            notes: Notes::default(),
        };
        let ended = run.stopped(&nine_steps(), &Stop::default(), &block);
        let told = block.notes.take().join("\n");
        if until == 8 {
            assert_eq!(ended.unwrap().step, 9);
            assert!(
                told.contains("step 6 could not be written") && told.contains("after step 9"),
                "{told}"
            );
            assert_eq!(run.steps(), [3, 9]);
        } else {
            let error = ended.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Unsaved {
                        step: 9,
                        kept: Some(6),
                        ..
                    }
                ),
                "{error}"
            );
            std::fs::remove_dir_all(&path).unwrap();
            run.go(&nine_steps()).unwrap();
        }
        assert!(super::weights(&run.runtime, &run.place) == weights);
    }
}

/// Something happens after some steps.
struct After<'a>(AtomicU64, &'a (dyn Fn() + Sync), Notes);

impl Reporter for After<'_> {
    fn begin(&self, _: &str, _: Option<u64>, _: &str) {}
    fn advance(&self, by: u64) {
        if by > 0 && self.0.fetch_sub(by, Ordering::SeqCst) == by {
            (self.1)();
        }
    }
    fn end(&self) {}
    fn note(&self, note: &str) {
        self.2.note(note);
    }
}

/// Two data sets, of which the second is not read before the fourth step, and cannot be then.
#[test]
fn where_data_cannot_be_read_any_longer_the_last_step_is_kept() {
    let run = Run::new();
    let mut config = nine_steps();
    (config.train.checkpoint_every, config.data.weights) = (500, vec![1.0, 1.0]);
    config.data.root = crate::Roots::Several(vec!["a".into(), "b".into()]);
    let late = |seed: &u64| {
        let mut config = config.clone();
        config.train.seed = *seed;
        let drawn = crate::feed::Mix::new(&config, &[]);
        (0..9).position(|step| drawn.drawn(step) == 1) == Some(3)
    };
    config.train.seed = (0..).find(late).unwrap();
    let go = |second: &Arc<Dataset>, place: &Location, reporter: &dyn Reporter| {
        let options = TrainOptions {
            config: &config,
            datasets: vec![Arc::clone(&run.dataset), Arc::clone(second)],
            start: Start::Resume,
            validator: None,
            stop: &Stop::default(),
            collective: &SingleProcess,
        };
        train(place, options, run.runtime.handle(), reporter)
    };
    let whole = memory();
    go(&dataset(&run.runtime), &whole, &Silent).unwrap();

    let second = dataset(&run.runtime);
    let shard = &second.manifest().splits[&Split::Train].shards[0];
    let shard = second.location().join(&shard.path);
    let bytes = run.runtime.block_on(shard.get()).unwrap();
    let gone = || run.runtime.block_on(shard.delete()).unwrap();
    let outage = After(AtomicU64::new(2), &gone, Notes::default());
    let error = go(&second, &run.place, &outage).unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error}");
    let told = outage.2.take().join("\n");
    assert!(told.contains("--resume goes on from there"), "{told}");
    assert_eq!(run.steps(), [3]);
    assert_eq!(run.rates().len(), 3);
    run.runtime.block_on(shard.put(bytes)).unwrap();
    go(&second, &run.place, &Silent).unwrap();
    assert!(weights(&run.runtime, &run.place) == weights(&run.runtime, &whole));
}

#[test]
fn what_killed_writers_left_is_removed_and_what_is_anothers_stays() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::in_folder(&folder);
    run.stop_after(&nine_steps(), 3);
    let put = |path: &str| {
        let path = folder.path().join("run").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "left").unwrap();
    };
    let left = [
        "log/00007-00000003-00000005.parquet#1",
        "config.toml#2",
        "checkpoints/00000005/model.safetensors",
        "checkpoints/00000007/state.json#1",
        "checkpoints/00000003/optimizer.safetensors#12",
    ];
    let others = [
        "notes#1",
        "log/notes.parquet#1",
        "checkpoints/readme",
        "checkpoints/00000003/mine.json#x",
    ];
    left.iter().chain(&others).for_each(|path| put(path));
    let live = folder
        .path()
        .join("run/log/00009-00000003-00000003.parquet#3");
    let live = std::fs::File::create(&live).unwrap();
    live.lock().unwrap();
    run.go(&nine_steps()).unwrap();
    let there = |path: &&str| folder.path().join("run").join(path).exists();
    assert!(!left.iter().any(there) && others.iter().all(there));
    assert!(there(&"log/00009-00000003-00000003.parquet#3"));
    assert!(!there(&"checkpoints/00000005") && !there(&"checkpoints/00000007"));
    let told = run.told();
    assert!(told.contains("removed 5 "), "{told}");
}

#[test]
fn two_that_begin_one_run_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let (on_disk, elsewhere) = (Run::in_folder(&folder), Run::new());
    for run in [on_disk, elsewhere] {
        let begin = || run.begin(Start::New);
        let ended = std::thread::scope(|scope| {
            let both = [scope.spawn(begin), scope.spawn(begin)];
            both.map(|one| one.join().unwrap())
        });
        let refused: Vec<String> = ended
            .iter()
            .filter_map(|end| end.as_ref().err())
            .map(|error| {
                assert!(
                    matches!(error, Error::Busy { .. } | Error::RunExists { .. }),
                    "{error}"
                );
                error.to_string()
            })
            .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(run.steps(), [6, 9]);
    }
}
