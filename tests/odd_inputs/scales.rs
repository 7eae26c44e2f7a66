//! Units from 1e-30 to 1e30, small changes on large offsets, and a model's view of constants.

use super::with_test;
use crate::program::{SMALL, Workplace};

/// A data set of some units that was ingested, trained and evaluated.
struct ScoredDataset {
    place: Workplace,
    /// One-step VRMSE, over persistence's, and at the last lead.
    scores: [f64; 3],
}

fn scored(file: &str, ingest: &str) -> ScoredDataset {
    let place = with_test(file);
    place.do_it(&format!("ingest src ds {ingest}"));
    place.do_it("verify ds");
    let row = place.train_and_evaluate("ds", "");
    let scores = ["vrmse", "of_persistence", "vrmse_last"].map(|key| row[key].as_f64().unwrap());
    ScoredDataset { place, scores }
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs()
}

/// Train and evaluate as units of 1 do, and are printed as what they are.
fn are_units(unit: &str, ingest: &str, tolerance: f64) {
    let one = scored("units-1e0", ingest);
    let other = scored(&format!("units-{unit}"), ingest);
    for (score, of_one) in other.scores.iter().zip(one.scores) {
        assert!(
            close(*score, of_one, tolerance),
            "{:?} {:?}",
            other.scores,
            one.scores
        );
    }

    let unit: f64 = unit.parse().unwrap();
    let measured = |scored: &ScoredDataset| {
        let query = "SELECT avg(field_mean(density)) AS mean, avg(field_rms(density)) AS rms, \
            avg(field_var(density)) AS var FROM frames";
        let row = scored.place.ask_frames("ds", query).remove(0);
        ["mean", "rms", "var"].map(|key| row[key].as_f64().unwrap())
    };
    let (of_one, of_other) = (measured(&one), measured(&other));
    for ((value, of_one), unit) in of_other.iter().zip(of_one).zip([unit, unit, unit * unit]) {
        assert!(
            close(*value, of_one * unit, 1e-3),
            "{of_other:?} {of_one:?}"
        );
    }

    let said = other.place.do_it("inspect ds");
    let line = said
        .out
        .lines()
        .rfind(|line| line.trim().starts_with("density"));
    let shown = line.unwrap().split_whitespace().skip(1);
    let shown: Vec<f64> = shown.map(|word| word.parse().unwrap()).collect();
    let stored = &other.place.manifest("ds")["statistics"]["density"];
    for (value, key) in shown.iter().zip(["mean", "std"]) {
        assert!(
            close(*value, stored[key].as_f64().unwrap(), 1e-2),
            "{line:?}"
        );
    }
    assert!(close(shown[0], 3.0 * unit, 0.1), "{line:?}");
}

#[test]
fn units_of_1e_24_are_units() {
    are_units("1e-24", "", 1e-4);
}

#[test]
fn units_of_1e_30_are_units() {
    are_units("1e-30", "", 1e-4);
}

#[test]
fn units_of_1e30_are_units() {
    are_units("1e30", "", 1e-4);
}

#[test]
fn units_of_1e_24_are_no_zeros_in_half_precision() {
    are_units("1e-24", "--dtype f16", 1e-3);
}

#[test]
fn units_of_1e_24_are_units_by_root_mean_square() {
    are_units("1e-24", "--normalization rms", 1e-4);
}

#[test]
fn small_changes_on_a_large_offset_are_changes() {
    let (offset, control) = (scored("offset", ""), scored("units-1e0", ""));
    // Far from 0, where an error that nobody sees is; The Well's ε of 1e-7 may be a part of so small a variance.
    for (score, control) in offset.scores.iter().zip(control.scores) {
        assert!(
            score / control > 0.5 && score / control < 2.0,
            "{:?}",
            offset.scores
        );
    }
    let std = |scored: &ScoredDataset| {
        let manifest = scored.place.manifest("ds");
        manifest["statistics"]["density"]["std"].as_f64().unwrap()
    };
    assert!(
        close(std(&offset), 1e-3 * std(&control), 1e-2),
        "{}",
        std(&offset)
    );
}

#[test]
fn a_normalization_needs_its_statistics() {
    let place = with_test("sound");
    place.do_it("ingest src ds");
    let text = std::fs::read_to_string(place.path("ds/stats.yaml")).unwrap();
    let ends = text.find("rms:").unwrap()..text.find("rms_delta:").unwrap();
    let without = text.replacen(&text[ends], "", 1);
    std::fs::write(place.path("some.yaml"), without).unwrap();
    place
        .run("ingest src other --stats some.yaml --normalization rms")
        .refuses(&["some.yaml", "rms"]);
    assert!(!place.path("other/manifest.json").exists());
    place.do_it("ingest src other --stats some.yaml");
}

#[test]
fn a_training_says_what_constants_a_model_does_not_see() {
    let place = with_test("constant-fields");
    place.do_it("ingest src ds");
    let said = place.do_it(&format!("train --out run {SMALL} --set train.steps=1"));
    for name in ["speed_of_sound", "density", "viscosity"] {
        said.names(&[name]);
    }
    place.train_and_evaluate("ds", "");
}

#[test]
fn a_grid_that_no_patch_divides_trains() {
    let place = with_test("axis-of-66");
    place.do_it("ingest src ds");
    for strategy in ["ckm", "csm"] {
        std::fs::remove_dir_all(place.path("ds-run")).ok();
        place.train_and_evaluate("ds", &format!("--set model.strategy={strategy}"));
    }
    let rows = place.ask(
        "ds-results",
        "SELECT count(*) AS n FROM metrics WHERE metric = 'nonfinite' AND value > 0",
    );
    assert_eq!(rows[0]["n"], 0);
}
