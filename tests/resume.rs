//! Resumed runs: with their own configuration, from the newest sound checkpoint, and only if something is left to
//! do. Signals stop them, and only one process at a time writes them.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use wellspring_s3_testing::Server;

use crate::program::{SMALL, Said, Workplace, options};

/// A run of six steps with checkpoints after three and six, and the same where the last was lost.
fn trained() -> Workplace {
    let place = Workplace::new();
    place.lay(&[
        ("odd/sound.hdf5", "src/data/train/a.hdf5"),
        ("odd/sound-test.hdf5", "src/data/test/b.hdf5"),
    ]);
    place.do_it("ingest src ds");
    place.do_it(&format!(
        "train --out run {SMALL} --set train.steps=6 --set train.checkpoint_every=3"
    ));
    place
}

fn config(place: &Workplace) -> String {
    std::fs::read_to_string(place.path("run/config.toml")).unwrap()
}

#[test]
fn settings_are_laid_over_the_runs_own() {
    let place = trained();
    let before = config(&place);
    let said = place.do_it("train --out run --resume --set train.steps=8");
    assert!(said.err.contains("8 steps"), "{said:?}");
    assert!(before.contains("dim = 32"), "{before}");
    let after = config(&place);
    assert!(
        after.contains("dim = 32") && after.contains("steps = 8"),
        "{after}"
    );
    assert_eq!(place.losses("run").len(), 8);
}

#[test]
fn another_model_is_refused_by_its_keys() {
    let place = trained();
    let before = place.files("run");
    let more = "--set model.dim=64 --set train.seed=1 --set train.steps=8";
    let said = place.run(&format!("train --out run --resume {more}"));
    said.refuses(&["model.dim = 64 (was 32)", "train.seed = 1 (was 0)"]);
    // Steps may change.
    assert!(!said.err.contains("train.steps"), "{said:?}");
    assert!(place.files("run") == before, "nothing is rewritten");
}

#[test]
fn another_horizon_is_said_and_the_rate_does_not_jump() {
    let place = trained();
    let said = place.do_it("train --out run --resume --set train.steps=12");
    said.names(&["6", "12"]);
    let log = place.log("run").into_iter();
    let rates: Vec<f64> = log.filter_map(|row| row.lr).collect();
    assert_eq!(rates.len(), 12);
    // The rate falls after the warm-up and never rises again.
    assert!(
        rates[2..].windows(2).all(|two| two[1] <= two[0]),
        "{rates:?}"
    );
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let place = trained();
    let before = place.files("run");
    let said = place.do_it("train --out run --resume");
    assert!(!said.err.contains("NaN"), "{said:?}");
    assert!(place.files("run") == before, "nothing is rewritten");
}

/// A run that an old version began, with blank lines in its log.
#[test]
fn an_old_log_is_gone_on_with() {
    let place = trained();
    std::fs::remove_dir_all(place.path("run/log")).unwrap();
    let line = |step: u64| {
        format!(
            "{{\"event\":\"step\",\"step\":{step},\"loss\":7.0,\"data\":\"waves\",\"patch\":\"8\",\"lr\":0.5,\
             \"seconds\":1.0,\"waited\":0.0}}\n\n"
        )
    };
    let text: String = (1..=6).map(line).collect();
    std::fs::write(place.path("run/log.jsonl"), &text).unwrap();
    place.do_it("train --out run --resume --set train.steps=7");
    let losses = place.losses("run");
    assert_eq!((losses.len(), losses[5]), (7, 7.0));
    let kept = std::fs::read_to_string(place.path("run/log.jsonl")).unwrap();
    assert_eq!(kept, text);
    let said = place.do_it("inspect run");
    assert!(
        said.out.contains("loss, mean over 100 steps"),
        "{}",
        said.out
    );
}

/// The newest checkpoint is passed over with a warning, and the run ends with the bits that it had.
fn is_passed_over(damage: impl Fn(&std::path::Path)) {
    let place = trained();
    let whole = place.weights("run", 6);
    damage(&place.path("run/checkpoints/00000006"));
    let said = place.do_it("train --out run --resume");
    said.tells(&["checkpoints/00000006"]);
    assert!(place.weights("run", 6) == whole);
    assert_eq!(place.losses("run").len(), 6);
}

#[test]
fn a_checkpoint_of_which_a_byte_was_changed_is_passed_over() {
    is_passed_over(|folder| {
        let file = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    });
}

#[test]
fn a_checkpoint_that_lost_a_file_is_passed_over() {
    is_passed_over(|folder| std::fs::remove_file(folder.join("optimizer.safetensors")).unwrap());
}

#[test]
fn a_checkpoint_of_half_a_state_is_passed_over() {
    is_passed_over(|folder| {
        let file = folder.join("state.json");
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    });
}

/// A training that no test waits for, and that ends all the same where a test fails.
const LONG: &str = "--set train.steps=30000 --set train.checkpoint_every=1";

fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Waits a moment for a process that must not end meanwhile.
fn pause_for(child: &mut Child) {
    if child.try_wait().unwrap().is_some() {
        let mut said = String::new();
        if let Some(mut told) = child.stderr.take() {
            told.read_to_string(&mut said).unwrap();
        }
        panic!("it ended before: {said}");
    }
    pause();
}

fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        pause_for(child);
    }
}

fn send(signal: &str, to: &Child) {
    let id = to.id().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &id])
        .status();
    assert!(sent.unwrap().success());
}

/// The end of a process that was told to end.
fn end(mut child: Child) -> ExitStatus {
    for _ in 0..3000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        pause();
    }
    child.kill().unwrap();
    panic!("it did not end");
}

#[test]
fn a_signal_leaves_a_checkpoint_and_its_exit_code() {
    let place = trained();
    for (signal, code) in [("TERM", 0), ("INT", 130), ("HUP", 129)] {
        let program = place.command(&format!("train --out {signal} {SMALL} {LONG}"));
        // This process may have been begun with signals ignored.
        let mut command = Command::new("env");
        command.current_dir(place.path(""));
        command.arg("--default-signal").arg(program.get_program());
        let mut child = command.args(program.get_args()).spawn().unwrap();
        wait_for(&place.path(&format!("{signal}/checkpoints")), &mut child);
        send(signal, &child);
        assert_eq!(end(child).code(), Some(code), "{signal}");
        let said = place.do_it(&format!("inspect {signal}"));
        assert!(said.out.contains("last checkpoint: step"), "{}", said.out);
    }
}

/// A run that `nohup` began outlives its terminal.
#[test]
fn a_run_whose_hangup_is_ignored_outlives_its_terminal() {
    let place = trained();
    let program = place.command(&format!("train --out long {SMALL} {LONG}"));
    let mut shell = Command::new("sh");
    shell
        .current_dir(place.path(""))
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    let mut child = shell
        .arg(program.get_program())
        .args(program.get_args())
        .spawn()
        .unwrap();
    wait_for(&place.path("long/checkpoints"), &mut child);
    send("HUP", &child);
    let before = place.losses("long").len();
    while place.losses("long").len() < before + 3 {
        pause_for(&mut child);
    }
    send("TERM", &child);
    assert_eq!(end(child).code(), Some(0));
}

/// Whether a process has said what happens at SIGTERM.
fn catches_term(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mut caught = status
        .lines()
        .filter_map(|line| line.strip_prefix("SigCgt:"));
    let mask = u64::from_str_radix(caught.next().unwrap().trim(), 16).unwrap();
    mask >> 14 & 1 == 1
}

/// A manifest that never comes.
#[test]
fn a_signal_while_data_is_opened_ends_it_at_once() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("ds")).unwrap();
    let manifest = place.path("ds/manifest.json");
    assert!(
        Command::new("mkfifo")
            .arg(&manifest)
            .status()
            .unwrap()
            .success()
    );
    let child = place
        .command(&format!("train --out run {SMALL}"))
        .spawn()
        .unwrap();
    while !catches_term(&child) {
        pause();
    }
    send("TERM", &child);
    assert_eq!(end(child).code(), Some(143));
    assert!(!place.path("run").exists());
}

#[test]
fn of_two_that_begin_one_run_one_is_refused() {
    let place = trained();
    let whole = place.weights("run", 6);
    for turn in 0..5 {
        let words = format!(
            "train --out both{turn} {SMALL} --set train.steps=6 --set train.checkpoint_every=3"
        );
        let begin = || {
            place
                .command(&words)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let both = [begin(), begin()].map(|child| Said::from(child.wait_with_output().unwrap()));
        let mut codes = both.iter().map(|said| said.code).collect::<Vec<_>>();
        codes.sort_unstable();
        assert_eq!(codes, [0, 1], "{both:?}");
        let loser = both.iter().find(|said| said.code == 1).unwrap();
        assert!(
            loser.err.contains("another process") || loser.err.contains("holds a run already"),
            "{loser:?}"
        );
        assert!(place.weights(&format!("both{turn}"), 6) == whole);
    }
}

#[test]
fn a_run_that_lives_is_not_gone_on_with() {
    let place = trained();
    let words = format!("train --out long {SMALL} {LONG}");
    let mut child = place.command(&words).spawn().unwrap();
    wait_for(&place.path("long/checkpoints"), &mut child);
    for words in ["--resume", "--resume --from 1"] {
        let said = place.run(&format!("train --out long {words}"));
        said.refuses(&["another process (", " on "]);
    }
    let said = place.run(&words);
    said.refuses(&["another process (", " on "]);
    child.kill().unwrap();
    child.wait().unwrap();
    let step = place.losses("long").len();
    place.do_it(&format!(
        "train --out long --resume --set train.steps={}",
        step + 1
    ));
}

/// A run in a bucket, where nothing can be locked, belongs to the process that took it last.
#[test]
fn a_run_in_a_bucket_is_whose_took_it_last() {
    let server = Server::start().unwrap();
    let (place, settings) = (trained(), options(server.settings()));
    let spawn = |words: &str| {
        let mut command = place.command(&format!("{words} {settings}"));
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let done = |child: Child| Said::from(child.wait_with_output().unwrap());
    let few = "--set train.steps=6 --set train.checkpoint_every=3";
    let begin = format!("train --out s3://bucket/both {SMALL} {few}");
    let both = [spawn(&begin), spawn(&begin)].map(done);
    let mut codes: Vec<i32> = both.iter().map(|said| said.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{both:?}");

    let checkpoint = || {
        let said = place
            .run(&format!("inspect s3://bucket/long {settings}"))
            .out;
        let told = said
            .lines()
            .find(|line| line.contains("last checkpoint: step"));
        told.map(str::to_owned)
    };
    let mut living = spawn(&format!("train --out s3://bucket/long {SMALL} {LONG}"));
    while checkpoint().is_none() {
        pause_for(&mut living);
    }
    let mut other = spawn("train --out s3://bucket/long --resume");
    while living.try_wait().unwrap().is_none() {
        pause_for(&mut other);
    }
    let said = done(living);
    said.refuses(&["another process (", "has taken over s3://bucket/long"]);
    // Before its first step a signal ends it at once; with a checkpoint of its own it is past that.
    let last = checkpoint();
    while checkpoint() == last {
        pause_for(&mut other);
    }
    send("TERM", &other);
    let said = done(other);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_run_goes_back_to_a_step() {
    let place = trained();
    let whole = place.weights("run", 6);
    assert_eq!(place.run("train --out run --from 3").code, 2);
    let said = place.run("train --out run --resume --from 4");
    said.refuses(&["of step 4, but of 3, 6"]);
    let said = place.do_it("train --out run --resume --from 3");
    said.names(&["goes back to step 3", "[6]"]);
    assert!(place.weights("run", 6) == whole);
    assert_eq!(place.losses("run").len(), 6);
}

#[test]
fn a_run_goes_on_after_a_split_was_dropped_and_purged() {
    let place = trained();
    let whole = place.weights("run", 6);
    place.do_it("drop ds test --purge");
    let said = place.do_it("train --out run --resume --from 3");
    said.names(&["ds has changed", "not what training reads"]);
    assert!(place.weights("run", 6) == whole);
}

#[test]
fn a_run_goes_on_with_what_it_read_before_an_append_and_says_when_that_is_gone() {
    let place = trained();
    let whole = place.weights("run", 6);
    place.lay(&[("odd/sound.hdf5", "more/data/train/c.hdf5")]);
    place.do_it("ingest more ds --append");
    let said = place.do_it("train --out run --resume --from 3");
    said.names(&["ds has changed", "generation 0"]);
    assert!(place.weights("run", 6) == whole);
    place.do_it("drop ds test --purge");
    let said = place.run("train --out run --resume --from 3");
    said.refuses(&["cannot go on", "a purge deletes it"]);
}

/// If the system starts no threads, the error says why. The stacks are made too large to be allocated.
#[test]
fn a_training_without_its_threads_says_so() {
    let place = trained();
    let mut refused = 0;
    for stack in [9_000_000_000_u64, 1_900_000_000, 900_000_000] {
        let limits = format!("ulimit -v 8000000; export RUST_MIN_STACK={stack}");
        let words = format!("train --out run{stack} {SMALL} --set train.steps=2");
        let said = place.run_within(&limits, &words);
        if said.code != 0 {
            said.refuses(&["cannot start", "ulimit"]);
            refused += 1;
        }
    }
    assert!(refused > 0);
}
