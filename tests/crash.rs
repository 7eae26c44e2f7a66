//! Stops every command at each of its changes to files: the next command continues from what is left.
//!
//! `crash/preload.c` ends the program before the Nth change, tears a write, or lets a change fail as on a disk
//! that is full or broken. Then the command is run again, and must leave the same files with the same bytes as
//! an undisturbed run, and no others. By default a few stops of each command are tried; `make test-crash` tries
//! all of them.

mod scenes;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::program::{Said, Workplace};
use scenes::Scene;

/// What happens at a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The program ends before it.
    Kill,
    /// The program ends when half of a write is done.
    Torn,
    /// The disk is full, once.
    NoSpace,
    /// The disk is broken, once.
    Broken,
    /// The disk is full from there on.
    Full,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Kill,
        Self::Torn,
        Self::NoSpace,
        Self::Broken,
        Self::Full,
    ];

    /// What `crash/preload.c` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Torn => "torn",
            Self::NoSpace => "enospc",
            Self::Broken => "eio",
            Self::Full => "full",
        }
    }
}

/// A fault and the number of the change that it happens at, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stop {
    at: usize,
    fault: Fault,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at change {}", self.fault.name(), self.at)
    }
}

/// Stops tried for each command where not all are.
const SAMPLE: usize = 30;

/// The library that counts and disturbs, built once for all tests.
fn preload() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let build = || {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("preload.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/crash/preload.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let built = Command::new(compiler)
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success(), "{} does not compile", source.display());
        (folder, library)
    };
    &BUILT.get_or_init(build).1
}

/// Runs a command of the program with its changes counted in `log`, and a stop if there is one.
fn run(place: &Workplace, words: &str, stop: Option<Stop>, log: &Path) -> Said {
    let mut command = place.command(words);
    command
        .env("LD_PRELOAD", preload())
        .env("CRASH_BELOW", place.path("").canonicalize().unwrap())
        .env("CRASH_LOG", log);
    if let Some(stop) = stop {
        command.env("CRASH_AT", stop.at.to_string());
        command.env("CRASH_HOW", stop.fault.name());
    }
    command.output().unwrap().into()
}

/// A command that was stopped, run again as the user would: as it was typed, or with `--resume` where the
/// program says so.
fn run_again(place: &Workplace, words: &str) -> Said {
    let said = place.run(words);
    if said.code != 0 && said.err.contains("--resume") {
        return place.run(&format!("{words} --resume"));
    }
    said
}

/// Number of times that each end was seen.
#[derive(Default)]
struct Tally {
    changes: usize,
    killed: usize,
    /// The command said that it failed.
    failed: usize,
    /// The command ended well all the same.
    unharmed: usize,
    wrong: Vec<String>,
}

/// Tries a command's stops, a sample or all.
#[allow(clippy::print_stdout, reason = "the table of `make test-crash`")]
fn try_stops(scene: &Scene) {
    // One folder for all, since what is left may name where it lies.
    let place = Workplace::new();
    (scene.before)(&place);
    let before = Workplace::new();
    before.become_copy_of(&place);
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("changes");
    let said = run(&place, &scene.words, None, &log);
    assert_eq!(said.code, 0, "{said:?}");
    let changes = lines(&log);
    let expected = (scene.left)(&place);

    let mut tally = Tally {
        changes: changes.len(),
        ..Tally::default()
    };
    for stop in stops(changes.len()) {
        place.become_copy_of(&before);
        let log = logs
            .path()
            .join(format!("{}-{}", stop.at, stop.fault.name()));
        if let Err(reason) = try_stop(scene, &place, stop, &log, &expected, &mut tally) {
            let change = lines(&log).get(stop.at - 1).cloned();
            let change = change.unwrap_or_default();
            tally.wrong.push(format!("{stop} ({change}): {reason}"));
        }
    }
    println!(
        "{:<22} {:>5} changes, {:>5} killed, {:>5} failed, {:>4} unharmed, {:>3} wrong",
        scene.name,
        tally.changes,
        tally.killed,
        tally.failed,
        tally.unharmed,
        tally.wrong.len()
    );
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
}

fn try_stop(
    scene: &Scene,
    place: &Workplace,
    stop: Stop,
    log: &Path,
    expected: &Left,
    tally: &mut Tally,
) -> Result<(), String> {
    let said = run(place, &scene.words, Some(stop), log);
    let mut expected = expected.clone();
    let is_of_log = |change: &String| change.contains(scenes::LOG);
    if said.code == 0 && lines(log).get(stop.at - 1).is_some_and(is_of_log) {
        // A training tells that it could not write its log, and goes on.
        expected.remove(scenes::LOG);
    }
    let expected = &expected;
    match said.code {
        -1 => tally.killed += 1,
        0 => {
            tally.unharmed += 1;
            let mut left = (scene.left)(place);
            // What could not be removed stays until the next command.
            left.retain(|name, _| expected.contains_key(name));
            differ("left at once", &left, expected)?;
        }
        1 if said.err.contains("panicked") => return Err(format!("panics: {}", said.err)),
        1 => tally.failed += 1,
        code => return Err(format!("ends with {code}: {}", said.err)),
    }
    let again = run_again(place, &scene.words);
    if again.code != 0 {
        return Err(format!("cannot be run again: {}", again.err));
    }
    let mut left = (scene.left)(place);
    if !expected.contains_key(scenes::LOG) {
        left.remove(scenes::LOG);
    }
    differ("left by the second run", &left, expected)
}

/// What a command leaves: paths, or questions, and what is found there.
type Left = BTreeMap<String, Vec<u8>>;

fn differ(when: &str, found: &Left, expected: &Left) -> Result<(), String> {
    let mut reasons = Vec::new();
    for (name, bytes) in expected {
        match found.get(name) {
            None => reasons.push(format!("{name} is missing")),
            Some(there) if there != bytes => reasons.push(format!("{name} differs")),
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|name| !expected.contains_key(*name));
    reasons.extend(more.map(|name| format!("{name} is too much")));
    match reasons.is_empty() {
        true => Ok(()),
        false => Err(format!("{when}: {}", reasons.join(", "))),
    }
}

/// The stops to try: all, or some that are spread over all.
fn stops(changes: usize) -> Vec<Stop> {
    let faults = Fault::ALL.into_iter();
    let all: Vec<Stop> = faults
        .flat_map(|fault| (1..=changes).map(move |at| Stop { at, fault }))
        .collect();
    if std::env::var_os("WELLSPRING_CRASH").is_some_and(|which| which == "all") {
        return all;
    }
    let count = SAMPLE.min(all.len());
    (0..count)
        .map(|index| all[(2 * index + 1) * all.len() / (2 * count)])
        .collect()
}

fn lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
