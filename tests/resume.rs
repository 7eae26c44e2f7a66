//! Runs that go on: with their own configuration, from the last sound checkpoint, and only where there is
//! something left to do.

use crate::program::{SMALL, Workplace};

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
fn another_horizon_is_said_and_the_rate_does_not_jump() {
    let place = trained();
    let rates = || -> Vec<f64> {
        let log = std::fs::read_to_string(place.path("run/log.jsonl")).unwrap();
        let events = log.lines().map(|line| serde_json::from_str(line).unwrap());
        events
            .filter(|event: &serde_json::Value| event["event"] == "step")
            .map(|event| event["lr"].as_f64().unwrap())
            .collect()
    };
    let said = place.do_it("train --out run --resume --set train.steps=12");
    said.names(&["6", "12"]);
    let rates = rates();
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

#[test]
fn a_blank_line_in_the_log_is_no_end() {
    let place = trained();
    let log = place.path("run/log.jsonl");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replacen('\n', "\n\n", 2) + "\n").unwrap();
    place.do_it("train --out run --resume --set train.steps=7");
    assert_eq!(place.losses("run").len(), 7);
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
