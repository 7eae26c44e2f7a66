//! What a training measures of its model, and says beforehand of its memory.

use std::path::PathBuf;

#[cfg(not(feature = "mpi"))]
use crate::program::Said;
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

/// A rate of ten is a bad idea, which the losses show; one of 10³⁰ gives no numbers.
#[test]
fn a_learning_rate_that_is_too_high_ends_a_run_with_the_windows_and_what_to_do() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!(
        "train --out high {SMALL} --set train.steps=20 --set optim.lr=10"
    ));
    let losses = place.losses("high");
    assert_eq!(losses.len(), 20);
    assert!(losses.iter().any(|loss| *loss > 100.0), "{losses:?}");

    let run = "--set train.steps=40 --set train.checkpoint_every=1 --set optim.lr=1e30 --set train.max_skipped=4";
    let said = place.run(&format!("train --out higher {SMALL} {run}"));
    said.refuses(&[
        "the last of 5 such steps in a row",
        "on trajectory",
        "optim.clip = 1.0",
    ]);
    // The last checkpoint with numbers stays.
    let left = place.files("higher/checkpoints");
    let is_state = |(path, _): &(PathBuf, Vec<u8>)| path.ends_with("state.json");
    assert!(left.iter().any(is_state));
}

#[test]
fn the_memory_of_a_run_is_told_beforehand() {
    let place = Workplace::new().with_data_set();
    let estimate = |more: &str| place.run(&format!("train --out run {SMALL} --estimate {more}"));
    let said = estimate("--memory 1");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("parameters") && said.out.contains("1.0 GiB"),
        "{said:?}"
    );
    let rows: Vec<Vec<&str>> = said
        .out
        .lines()
        .filter(|line| line.starts_with("shear_flow"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let tokens: Vec<&str> = rows.iter().map(|row| row[2]).collect();
    assert_eq!(tokens, ["64", "16", "4"]);
    let batches: Vec<usize> = rows.iter().map(|row| row[5].parse().unwrap()).collect();
    assert!(batches[0] > 1 && batches.is_sorted(), "{batches:?}");
    // What the largest batch takes is what there is, and one more is too much.
    let peak = |batch: usize| -> f64 {
        let said = estimate(&format!("--memory 1 --set train.batch={batch}"));
        let row = said.out.lines().find(|line| line.starts_with("shear_flow"));
        let row: Vec<&str> = row.unwrap().split_whitespace().collect();
        row[4].parse().unwrap()
    };
    assert!(peak(batches[0]) <= 1024.0 && peak(2 * batches[0]) > 1024.0);
    let said = estimate("--memory 0.001");
    assert!(said.out.contains("none fits"), "{said:?}");
    assert_eq!(estimate("--memory 0").code, 2);
    assert!(!place.path("run").exists());
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_launcher_of_several_ranks_needs_a_program_with_mpi() {
    let place = Workplace::new();
    let mut command = place.command("train --out run --set data.root=ds");
    command.envs([("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")]);
    let said = Said::from(command.output().unwrap());
    said.refuses(&["mpirun", "rank 1 of 4", "--features mpi"]);
}
