//! Bad input gives a clear error and the right exit code, and loses nothing.

use std::path::PathBuf;

use crate::program::{SMALL, Said, Workplace};

pub(crate) fn refused(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(!said.err.contains("panicked"), "{}", said.err);
    for part in parts {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
}

fn a_simulation(place: &Workplace) -> PathBuf {
    let files = place.files("sims/data/train");
    files
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.extension().is_some_and(|e| e == "hdf5"))
        .unwrap()
}

#[test]
fn a_truncated_hdf5_is_named() {
    let place = Workplace::new();
    place.do_it("simulate shear-flow sims --shape 16x16 --frames 4 --train 2 --valid 0 --test 0");
    let file = a_simulation(&place);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    refused(
        &place.run("ingest sims ds"),
        1,
        &["cannot ingest sims", &name],
    );
    assert!(!place.path("ds/manifest.json").exists());
    refused(
        &place.run("inspect ds"),
        2,
        &["ds is not an HDF5 file, data set"],
    );
}

#[test]
fn a_model_of_other_fields_is_refused() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!("train --out run {SMALL} --set train.steps=1"));
    place.do_it("simulate decaying-turbulence-3d cubes --shape 16x16x16 --frames 5 --train 1 --valid 0 --test 1");
    place.do_it("ingest cubes cubes_ds");
    refused(
        &place.run("eval run cubes_ds -r results"),
        1,
        &["channels of the data set", "velocity_z"],
    );
    assert!(!place.path("results").exists());
}

/// Numbers that somebody changed by hand, and numbers that no file can hold, are told by every command that
/// reads a data set.
#[test]
fn a_manifest_that_was_edited_or_claims_too_much_is_refused() {
    let place = Workplace::new().with_data_set();
    let path = place.path("ds/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let commands = [
        "inspect ds".to_owned(),
        "verify ds".to_owned(),
        format!("plan {SMALL}"),
        format!("train --out run {SMALL}"),
        "eval persistence ds -r results".to_owned(),
        "drop ds valid".to_owned(),
        "sql --data ds select".to_owned(),
    ];
    let mut claims = place.manifest("ds");
    claims.as_object_mut().unwrap().remove("checksum");
    let held = &mut claims["splits"]["train"];
    let others: u64 = held["shards"].as_array().unwrap()[1..]
        .iter()
        .map(|shard| shard["rows"].as_u64().unwrap())
        .sum();
    let frames = held["trajectories"].as_array().unwrap()[1..]
        .iter()
        .map(|trajectory| trajectory["frames"].as_u64().unwrap())
        .sum::<u64>();
    held["shards"][0]["rows"] = ((1_u64 << 31) - others).into();
    held["trajectories"][0]["frames"] = ((1_u64 << 31) - frames).into();
    for (edited, reason) in [
        (
            text.replacen("\"frames\": ", "\"frames\": 1", 1),
            "take its key \"checksum\" out",
        ),
        (claims.to_string(), "cannot have"),
    ] {
        std::fs::write(&path, edited).unwrap();
        for command in &commands {
            let said = place.run(command);
            assert_ne!(said.code, 0, "{command}: {said:?}");
            assert!(!said.err.contains("panicked"), "{command}: {}", said.err);
            assert!(
                said.err.contains(reason) && said.err.contains("manifest.json"),
                "{command}: {}",
                said.err
            );
        }
        assert!(!place.path("run").exists());
    }
}

#[test]
fn a_manifest_from_the_future_is_refused() {
    let place = Workplace::new().with_data_set();
    let path = place.path("ds/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("\"format_version\": 1", "\"format_version\": 99", 1),
    )
    .unwrap();
    refused(
        &place.run("inspect ds"),
        1,
        &["format version 99", "reads versions 1 to 3"],
    );
    refused(
        &place.run(&format!("train --out run {SMALL}")),
        1,
        &["format version 99"],
    );
    assert!(!place.path("run").exists());
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let place = Workplace::new().with_data_set();
    let named = &place.manifest("ds")["splits"]["train"]["shards"][0]["path"];
    let named = named.as_str().unwrap();
    let shard = place.path(&format!("ds/{named}"));
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shard, &bytes).unwrap();
    let said = place.run("verify ds");
    refused(
        &said,
        1,
        &["1 of the files of ds are damaged", "--repair SOURCE"],
    );
    let damaged = format!("{named} is damaged");
    for part in [&damaged, "checksum"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    refused(
        &place.run(&format!("train --out run {SMALL}")),
        1,
        &[&damaged],
    );
}

#[test]
fn a_configuration_says_which_key_is_wrong() {
    let place = Workplace::new().with_data_set();
    std::fs::write(
        place.path("bad.toml"),
        "[data]\nroot = \"ds\"\n[optim]\nspeed = 3\n",
    )
    .unwrap();
    refused(
        &place.run("train bad.toml --out run"),
        1,
        &["bad.toml", "unknown field `speed`", "weight_decay"],
    );
    refused(
        &place.run("train --out run --set optim.lr"),
        2,
        &["expected KEY=VALUE"],
    );
    refused(&place.run("train --out run"), 2, &["data.root"]);
    refused(
        &place.run(&format!("train --out run {SMALL} --set model.patches=[12]")),
        1,
        &["model.patches", "any of 4, 8, 16 and 32"],
    );
    assert!(!place.path("run").exists());
}

#[test]
fn a_run_is_not_begun_over() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!("train --out run {SMALL} --set train.steps=1"));
    let before = place.files("run");
    refused(
        &place.run(&format!("train --out run {SMALL}")),
        1,
        &["holds a run already", "--resume"],
    );
    let other = format!("train --out run --resume {SMALL} --set model.blocks=3");
    refused(&place.run(&other), 1, &["model.blocks = 3 (was "]);
    assert_eq!(place.files("run"), before);
    refused(
        &place.run("ingest sims ds --dtype f16"),
        1,
        &["holds a data set already"],
    );
}

#[test]
fn what_cannot_be_evaluated_is_said_before_anything_runs() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!("train --out run {SMALL} --set train.steps=1"));
    refused(
        &place.run("eval run ds --rollout 20"),
        1,
        &["window of 23 frames (the longest has 10)"],
    );
    refused(
        &place.run("eval run ds --rollout 0"),
        2,
        &["at least one frame"],
    );
    refused(
        &place.run("eval run ds --schedule 5"),
        1,
        &["no patch size 5"],
    );
    refused(
        &place.run("eval run ds --schedule often"),
        2,
        &["often is not a schedule"],
    );
    refused(
        &place.run("eval run ds --split late"),
        2,
        &["train, valid or test"],
    );
    refused(
        &place.run("eval nothing ds"),
        1,
        &["nothing has no checkpoint", "wellspring train"],
    );
    assert!(!place.path("results").exists());
    refused(
        &place.run("sql -r results SELECT"),
        1,
        &["holds no results", "wellspring eval"],
    );
}

#[test]
fn foreign_and_broken_tables_are_named() {
    let place = Workplace::new().with_data_set();
    place.do_it("eval persistence ds -r results --context 3");
    // Half an evaluation: its row in runs was never written.
    std::fs::write(place.path("results/metrics/half.parquet"), "PAR1").unwrap();
    std::fs::write(place.path("results/runs/notes.txt"), "mine").unwrap();
    assert_eq!(place.ask("results", "SELECT * FROM leaderboard").len(), 1);
    for statement in ["DROP TABLE runs", "SET datafusion.execution.batch_size = 7"] {
        let mut asking = place.command("sql -r results");
        let said = asking.arg(statement).output().unwrap().into();
        refused(&said, 1, &["the query failed"]);
    }
    // Damaged ones are left out and named; the others answer.
    std::fs::write(place.path("results/runs/foreign.parquet"), "not parquet").unwrap();
    std::fs::write(place.path("results/metrics/foreign.parquet"), "").unwrap();
    let said = place.run("report results page.html");
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        "an evaluation is left out",
        "foreign.parquet",
        "move it away",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    assert_eq!(place.ask("results", "SELECT * FROM leaderboard").len(), 1);
    std::fs::remove_file(place.path("results/runs/foreign.parquet")).unwrap();
    // A committed evaluation that lost a file, where there is no other.
    for (path, _) in place.files("results/metrics") {
        std::fs::remove_file(path).unwrap();
    }
    let said = place.run("report results page.html");
    refused(
        &said,
        1,
        &["results/metrics/persistence-", "is gone", "evaluate again"],
    );
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Workplace::new().with_data_set();
    let mut child = place
        .command("inspect ds")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
