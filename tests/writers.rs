//! Several processes that write one data set at the same time: each succeeds, or says that another was first.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use wellspring_ingest::Waves;

use crate::paper::{FLOW, PERIODIC, waves};
use crate::program::{Said, Workplace};

/// Attempts of each kind of meeting.
const TRIES: u64 = 7;

/// A file of waves in a folder of its own.
fn source(place: &Workplace, folder: &str, seed: u64) {
    let waves = Waves {
        frames: 6,
        ..waves("flow", &[("x", 16, PERIODIC), ("y", 16, PERIODIC)], &FLOW)
    };
    let path = place.path(&format!("{folder}/data/train/{folder}.hdf5"));
    waves.write(&path, seed).unwrap();
}

fn begin(place: &Workplace, words: &str) -> Child {
    let mut command = place.command(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Runs commands that begin so many milliseconds after one another.
fn together(place: &Workplace, commands: &[&str], after: u64) -> Vec<Said> {
    let mut running = Vec::new();
    for words in commands {
        running.push(begin(place, words));
        sleep(Duration::from_millis(after));
    }
    let ended = running.into_iter().map(|child| child.wait_with_output());
    ended.map(|output| output.unwrap().into()).collect()
}

/// The files that trajectories of a data set came from.
fn held(place: &Workplace) -> BTreeSet<String> {
    let manifest = place.manifest("ds");
    let splits = manifest["splits"].as_object().unwrap();
    let trajectories = splits
        .values()
        .flat_map(|split| split["trajectories"].as_array().unwrap());
    let sources = trajectories.map(|held| held["source"].as_str().unwrap().to_owned());
    sources
        .map(|source| source.split(".hdf5").next().unwrap().to_owned())
        .collect()
}

/// Every byte is what the manifest says, and once the past is purged nothing else is there.
fn is_clean(place: &Workplace) {
    place.do_it("verify ds");
    place.do_it("drop ds --purge");
    place.do_it("verify ds");
    let manifest = place.manifest("ds");
    let mut expected = BTreeSet::from(["manifest.json".to_owned(), "stats.yaml".to_owned()]);
    paths(&manifest, &mut expected);
    let root = place.path("ds");
    let below = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let files = place.files("ds");
    let there: BTreeSet<String> = files.iter().map(|(path, _)| below(path)).collect();
    assert_eq!(there, expected);
}

fn paths(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            into.extend(
                map.get("path")
                    .and_then(|path| path.as_str())
                    .map(String::from),
            );
            map.values().for_each(|value| paths(value, into));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| paths(value, into)),
        _ => {}
    }
}

/// Whether it succeeded, or says that another writer was first.
fn is_told(said: &Said) -> bool {
    if said.code == 0 {
        return true;
    }
    assert_eq!(said.code, 1, "{said:?}");
    let told = [
        "another writer has changed",
        "other work on",
        "holds a data set already",
    ];
    assert!(
        told.iter().any(|words| said.err.contains(words)),
        "{said:?}"
    );
    false
}

#[test]
fn overlapping_appends_of_different_sources() {
    for after in (0..TRIES).map(|step| step * 3) {
        let place = Workplace::new();
        let names = ["first", "one", "two", "three"];
        for (seed, name) in names.iter().enumerate() {
            source(&place, name, seed as u64);
        }
        place.do_it("ingest first ds");
        let appends = ["one", "two", "three"].map(|name| format!("ingest {name} ds --append"));
        let words = appends.each_ref().map(String::as_str);
        let said = together(&place, &words, after);
        let mut expected = BTreeSet::from(["first".to_owned()]);
        for (said, name) in said.iter().zip(&names[1..]) {
            if is_told(said) {
                expected.insert((*name).to_owned());
            }
        }
        assert_eq!(held(&place), expected, "{after} ms: {said:?}");
        // A loser comes again, and a winner too.
        words.iter().for_each(|words| drop(place.do_it(words)));
        assert_eq!(held(&place), BTreeSet::from(names.map(String::from)));
        is_clean(&place);
    }
}

#[test]
fn equal_writers_end_as_one_would() {
    for after in (0..TRIES).map(|step| step * 3) {
        let place = Workplace::new();
        source(&place, "first", 0);
        source(&place, "more", 1);
        place.do_it("ingest first alone");
        let said = together(&place, &["ingest first ds"; 3], after);
        assert!(
            said.iter().all(|said| said.code == 0),
            "{after} ms: {said:?}"
        );
        assert_eq!(place.manifest("ds"), place.manifest("alone"));
        is_clean(&place);
        let said = together(&place, &["ingest more ds --append"; 3], after);
        assert!(
            said.iter().all(|said| said.code == 0),
            "{after} ms: {said:?}"
        );
        assert_eq!(place.manifest("ds")["generation"], 1);
        is_clean(&place);
    }
}

#[test]
fn an_overwriting_beside_an_ingest() {
    for after in (0..TRIES).map(|step| step * 3) {
        let place = Workplace::new();
        source(&place, "first", 0);
        source(&place, "other", 1);
        let said = together(
            &place,
            &["ingest first ds", "ingest first ds --overwrite"],
            after,
        );
        assert!(
            said.iter().all(|said| said.code == 0),
            "{after} ms: {said:?}"
        );
        is_clean(&place);
        let commands = ["ingest first ds --overwrite", "ingest other ds --overwrite"];
        let said = together(&place, &commands, after);
        let ended: Vec<bool> = said.iter().map(is_told).collect();
        match ended[..] {
            [true, false] => assert_eq!(held(&place), BTreeSet::from(["first".to_owned()])),
            [false, true] => assert_eq!(held(&place), BTreeSet::from(["other".to_owned()])),
            _ => assert_eq!(ended, [true, true], "{after} ms: {said:?}"),
        }
        is_clean(&place);
    }
}

/// A writer that is killed at any moment is run again, and leaves nothing; the old data set stays until then.
#[test]
fn a_killed_overwriting_is_run_again() {
    let place = Workplace::new();
    source(&place, "first", 0);
    source(&place, "other", 1);
    for after in (0..3 * TRIES).map(|step| step * 4) {
        place.do_it("ingest first ds --overwrite");
        let words = "ingest other ds --overwrite";
        let mut killed = begin(&place, words);
        sleep(Duration::from_millis(after));
        killed.kill().unwrap();
        killed.wait().unwrap();
        place.do_it("verify ds");
        place.do_it(words);
        assert_eq!(held(&place), BTreeSet::from(["other".to_owned()]));
        is_clean(&place);
    }
}

#[test]
fn an_overwriting_writes_what_was_emptied_anew() {
    let place = Workplace::new();
    source(&place, "first", 0);
    place.do_it("ingest first ds");
    let (emptied, _) = place.files("ds/sources").remove(0);
    std::fs::write(emptied, "").unwrap();
    assert_eq!(place.run("verify ds").code, 1);
    place.do_it("ingest first ds --overwrite");
    is_clean(&place);
}

/// What a killed simulation left is neither a simulation nor in the way of one.
#[test]
fn a_killed_simulation_is_run_again() {
    let place = Workplace::new();
    let words = "simulate shear-flow sims --shape 32x32 --frames 5 --train 2 --valid 1 --test 1";
    place.do_it(&words.replace("sims", "whole"));
    let mut killed = begin(
        &place,
        "simulate shear-flow sims --shape 256x256 --frames 999",
    );
    while place.files("sims/data.partial").is_empty() {
        sleep(Duration::from_millis(1));
    }
    let other = place.run(words);
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.err.contains("another simulation"), "{other:?}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!place.path("sims/data").exists());
    assert_eq!(place.run("ingest sims ds").code, 1);
    place.do_it(words);
    let names = |folder| {
        let root = place.path(folder);
        let files = place.files(folder).into_iter();
        files
            .map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("sims"), names("whole"));
    place.do_it(&format!("{words} --overwrite"));
    assert_eq!(names("sims"), names("whole"));
}

/// A disk that becomes full at any point is reported, and nothing incomplete counts.
#[test]
fn a_simulation_notices_that_the_disk_is_full() {
    let place = Workplace::new();
    let words = "simulate shear-flow sims --shape 16x16 --frames 5 --train 1 --valid 0 --test 0";
    let mut failed = 0;
    for kib in (0..64).step_by(3) {
        let limit = format!("trap '' XFSZ; ulimit -f {}", kib * 2);
        let said = place.run_within(&limit, words);
        if said.code == 0 {
            break;
        }
        failed += 1;
        assert_eq!(said.code, 1, "{kib} KiB: {said:?}");
        assert!(!place.path("sims/data").exists(), "{kib} KiB");
    }
    assert!(failed > 3, "{failed}");
    place.do_it("ingest sims ds");
    // The trajectory, and the record of the request.
    let files = place.files("sims").into_iter().map(|(path, _)| path);
    let names: Vec<_> = files
        .filter_map(|path| path.extension()?.to_owned().into())
        .collect();
    assert_eq!(names, ["json", "hdf5"]);
}
