//! Validation while a run goes on.

use crate::program::{SMALL, Workplace};

fn progress(place: &Workplace, step: u64) -> serde_json::Value {
    let path = place.path(&format!("run/checkpoints/{step:08}/state.json"));
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    state["progress"].clone()
}

/// The best validation is the mean that `eval` finds for the same windows and the same checkpoint.
#[test]
fn what_training_measures_is_what_eval_measures() {
    let place = Workplace::new().with_data_set();
    let said = place.do_it(&format!(
        "train --out run {SMALL} --set train.steps=6 --set train.keep=1 --set validation.every=2 \
         --set validation.windows=1000"
    ));
    let best = progress(&place, 6)["best"].clone();
    let step = best["step"].as_u64().unwrap();
    assert!(said.err.contains("best VRMSE"), "{said:?}");
    let said = place.do_it("eval run ds -r results --split valid --every 1 --step best");
    let means = place.ask(
        "results",
        "SELECT run, train_steps, avg(value) AS mean FROM metrics JOIN runs USING (run) \
         WHERE metric = 'vrmse' GROUP BY run, train_steps",
    );
    assert_eq!(means.len(), 3, "{said:?}");
    assert!(
        means.iter().all(|row| row["train_steps"] == step),
        "{means:?}"
    );
    let sum: f64 = means.iter().map(|row| row["mean"].as_f64().unwrap()).sum();
    let expected = best["vrmse"].as_f64().unwrap();
    assert!(
        (sum / 3.0 - expected).abs() < 1e-9 * expected,
        "{means:?} {best}"
    );
}

#[test]
fn a_data_set_without_a_split_to_validate_by_is_told_and_trained_on() {
    let place = Workplace::new();
    place.lay(&[("odd/sound.hdf5", "src/data/train/a.hdf5")]);
    place.do_it("ingest src ds");
    let said = place.do_it(&format!("train --out run {SMALL} --set train.steps=2"));
    assert!(said.err.contains("is not validated"), "{said:?}");
    let said = place.run("eval run ds --step best");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("no best checkpoint"), "{said:?}");
    let said = place.run("eval run ds --step second");
    assert_eq!(said.code, 2, "{said:?}");
}
