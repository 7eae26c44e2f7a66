//! Transforms of fields from outside: what is stored is transformed, and everything that is told is not.

use serde_json::Value;

use crate::paper::{OPEN, PERIODIC, SUPERNOVA, waves};
use crate::program::Workplace;

const TRANSFORMS: &str = "--transform density=log10 --transform velocity=asinh:0.5";

/// A plain data set, and one whose density and velocity are transformed.
fn twins() -> Workplace {
    let place = Workplace::new();
    for (index, split) in ["train", "valid", "test"].into_iter().enumerate() {
        let path = place.path(&format!("sims/data/{split}/waves_{index}.hdf5"));
        let axes = [("x", 32, PERIODIC), ("y", 16, OPEN)];
        waves("supernova", &axes, &SUPERNOVA)
            .write(&path, index as u64)
            .unwrap();
    }
    place.do_it("ingest sims plain");
    place.do_it(&format!("ingest sims logs {TRANSFORMS}"));
    place
}

/// Numbers of two tables agree.
#[track_caller]
fn agree(found: &[Value], expected: &[Value], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    assert!(!found.is_empty());
    for (found, expected) in found.iter().zip(expected) {
        for (key, value) in expected.as_object().unwrap() {
            match (value.as_f64(), found[key].as_f64()) {
                (Some(x), Some(y)) => {
                    assert!((x - y).abs() <= tolerance * x.abs(), "{found} {expected}");
                }
                _ => assert_eq!(&found[key], value, "{found} {expected}"),
            }
        }
    }
}

#[test]
fn what_is_told_is_in_the_fields_own_units() {
    let place = twins();
    let inspected = place.do_it("inspect logs").out;
    for words in [
        "version 3",
        "density          scalar, transformed by log10",
        "asinh:5e-1",
    ] {
        assert!(inspected.contains(words), "{inspected}");
    }
    let frames = "SELECT split, trajectory, step, field_mean(density) AS d, field_rms(velocity_x) AS v, \
        field_mean(pressure) AS p FROM frames ORDER BY 1, 2, 3";
    let ask = |root| place.ask_frames(root, frames);
    agree(&ask("logs"), &ask("plain"), 1e-6);
    let plot = |root| {
        place
            .do_it(&format!("inspect {root} --plot --field density"))
            .out
    };
    assert_eq!(plot("logs"), plot("plain"));
    for root in ["logs", "plain"] {
        place.do_it(&format!(
            "eval persistence {root} -r {root}-results --rollout 3 --context 2 --temporal"
        ));
    }
    for query in [
        "SELECT field, metric, lead, band, avg(value) AS value FROM metrics WHERE metric <> 'divergence_lead' \
            GROUP BY ALL ORDER BY 1, 2, 3, 4",
        "SELECT task FROM runs",
    ] {
        let ask = |root| place.ask(&format!("{root}-results"), query);
        agree(&ask("logs"), &ask("plain"), 1e-5);
    }
}

#[test]
fn models_learn_transformed_values_and_know_which() {
    let place = twins();
    let row = place.train_and_evaluate("logs", "");
    assert!(row["vrmse"].as_f64().unwrap().is_finite(), "{row}");
    place
        .run("eval logs-run plain -r other")
        .refuses(&["log10 of density", "density without a transform"]);
}

#[test]
fn a_transform_that_makes_no_sense_is_a_misuse() {
    let place = twins();
    for (words, named) in [
        ("--transform density", "FIELD=KIND"),
        ("--transform =log10", "FIELD=KIND"),
        ("--transform density=log", "asinh:SCALE"),
        ("--transform density=asinh:-1", "asinh:SCALE"),
        (
            "--transform density=log10 --transform density=asinh:1",
            "both",
        ),
        (
            "--transform rho=log10",
            "density or pressure or temperature or velocity",
        ),
        ("--transform velocity=log10", "velocity is not a scalar"),
        (
            "--transform density=log10 --stats plain/stats.yaml",
            "--stats",
        ),
        ("--transform density=log10 --append", "--append"),
    ] {
        let said = place.run(&format!("ingest sims other {words}"));
        assert_eq!(said.code, 2, "{words}: {said:?}");
        assert!(said.err.contains(named), "{words}: {said:?}");
    }
    place
        .run("ingest sims plain --transform density=log10")
        .refuses(&["plain", "already"]);
    place.do_it("ingest sims plain --transform density=log10 --overwrite");
    let fields = &place.manifest("plain")["schema"]["fields"];
    assert_eq!(fields[0]["transform"], "log10");
}
