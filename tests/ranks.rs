//! Several processes that train one model, as `mpirun` of Open MPI starts them.

mod faults;

use std::path::PathBuf;
use std::process::Command;

use crate::program::{SMALL, Said, Workplace};

/// Twenty steps of a small model whose batch four ranks can share; an epoch ends with fewer windows than ranks.
const RUN: &str = "--set train.batch=12 --set train.steps=20 --set train.checkpoint_every=5 --set validation.every=10 \
    --set train.jitter=true --set train.drop_path=0.2 --set augment.noise=0.01 --set model.blocks=2 \
    --set optim.clip=0.1 --set optim.ema=0.9";

/// A launcher of some ranks, in a folder. Machines of tests have fewer cores than ranks.
pub(crate) fn mpirun(place: &Workplace, ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command
        .current_dir(place.path(""))
        .args(["--oversubscribe", "-n", &ranks.to_string()])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // Containers may forbid one process to read another's memory.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .env("HDF5_USE_FILE_LOCKING", "FALSE");
    command
}

fn program(command: &mut Command, words: &str) {
    command.arg(env!("CARGO_BIN_EXE_wellspring"));
    command.args(words.split_whitespace());
}

/// Some ranks of the program with some words.
fn ranks(place: &Workplace, ranks: usize, words: &str) -> Said {
    let mut command = mpirun(place, ranks);
    program(&mut command, words);
    command.output().unwrap().into()
}

fn do_it(place: &Workplace, count: usize, words: &str) -> Said {
    let said = ranks(place, count, words);
    assert_eq!(
        said.code, 0,
        "{count} ranks of wellspring {words}\n{said:?}"
    );
    said
}

/// Losses are equal to a relative difference.
#[track_caller]
fn assert_alike(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found / expected - 1.0).abs();
        assert!(off < 1e-5, "step {}: {found}, not {expected}", step + 1);
    }
}

#[test]
fn any_number_of_ranks_learns_what_one_process_learns() {
    let place = Workplace::new().with_data_set();
    let run = format!("{SMALL} {RUN} --set train.steps=50");
    place.do_it(&format!("train --out one {run}"));
    let expected = place.losses("one");
    let vrmse = |run: &str| -> Vec<f64> {
        let log = place.log(run).into_iter();
        log.filter_map(|row| row.vrmse).collect()
    };
    for world in 2..=4 {
        let said = do_it(&place, world, &format!("train --out of-{world} {run}"));
        let of = format!("of-{world}");
        assert_eq!(
            said.err.matches("next: wellspring eval").count(),
            1,
            "{said:?}"
        );
        assert_alike(&place.losses(&of), &expected);
        let (found, expected) = (vrmse(&of), vrmse("one"));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
        }
        // Each rank has told of its time.
        let told = place.log(&of).into_iter().filter(|row| row.event == "rank");
        assert_eq!(told.count(), 10 * world);
    }
    do_it(&place, 3, &format!("train --out again {run}"));
    assert!(place.weights("again", 50) == place.weights("of-3", 50));
    // What ranks have learned is a run as any other.
    place.do_it("eval of-4 ds -r results --rollout 2");
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let place = Workplace::new().with_data_set();
    let run = format!("{SMALL} {RUN} --set optim.horizon=20");
    place.do_it(&format!("train --out whole {run}"));
    let expected = place.losses("whole");
    for (world, then) in [(4, 1), (4, 3), (1, 2), (2, 4)] {
        let out = format!("from-{world}-to-{then}");
        do_it(
            &place,
            world,
            &format!("train --out {out} {run} --set train.steps=10"),
        );
        do_it(
            &place,
            then,
            &format!("train --out {out} --resume --set train.steps=20"),
        );
        assert_alike(&place.losses(&out), &expected);
    }
}

#[test]
fn gradients_can_travel_in_bf16() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!("train --out one {SMALL} {RUN}"));
    do_it(
        &place,
        2,
        &format!("train --out two {SMALL} {RUN} --set train.wire=bf16"),
    );
    let (found, expected) = (place.losses("two"), place.losses("one"));
    assert!(found != expected);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} {expected}");
    }
}

#[test]
fn what_a_rank_needs_is_less_than_what_one_process_needs() {
    let place = Workplace::new().with_data_set();
    let peak = |ranks: &str| -> f64 {
        let said = place.do_it(&format!(
            "train --out run {SMALL} --set model.dim=384 --set model.heads=6 --set model.groups=12 --set train.batch=4 \
             --estimate --memory 4 {ranks}"
        ));
        let row = said.out.lines().find(|line| line.starts_with("shear_flow"));
        let words: Vec<&str> = row.unwrap().split_whitespace().collect();
        words[4].parse().unwrap()
    };
    assert!(peak("--ranks 4") < peak(""));
    let said = place.run(&format!(
        "train --out run {SMALL} --set train.batch=4 --estimate --ranks 3"
    ));
    said.refuses(&["train.batch", "3 ranks"]);
}

#[test]
fn ingest_and_eval_are_shared_out_and_leave_what_one_process_leaves() {
    let place = Workplace::new().with_data_set();
    do_it(&place, 3, "ingest sims by-ranks");
    let files = |root: &str| {
        let files = place.files(root).into_iter();
        let below = |path: PathBuf| path.strip_prefix(place.path(root)).unwrap().to_owned();
        files
            .map(|(path, bytes)| (below(path), bytes))
            .collect::<Vec<_>>()
    };
    assert!(files("by-ranks") == files("ds"));
    place.do_it(&format!("train --out run {SMALL} --set train.steps=3"));
    let evaluation = "eval run ds --rollout 3 --every 1 --batch 2 --schedule 4 --schedule 4,8 --schedule budget:24";
    place.do_it(&format!("{evaluation} -r one"));
    let said = do_it(&place, 3, &format!("{evaluation} -r two"));
    assert_eq!(said.err.matches(" starts of ").count(), 3, "{said:?}");
    assert_eq!(
        said.err.matches("next: wellspring sql").count(),
        1,
        "{said:?}"
    );
    let query = "SELECT schedule, trajectory, start, lead, field, metric, band, value \
        FROM metrics JOIN runs USING (run) ORDER BY 1, 2, 3, 4, 5, 6, 7";
    let found = place.ask("two", query);
    assert!(!found.is_empty() && found == place.ask("one", query));
    assert!(!place.path("two/unfinished").exists() || place.files("two/unfinished").is_empty());
    do_it(&place, 2, "eval persistence ds --rollout 3 -r two");
    let said = ranks(&place, 2, "eval run ds --schedule 5 -r two");
    said.refuses(&["schedule 5 cannot be used"]);
    assert_eq!(said.err.matches("error:").count(), 1, "{said:?}");
}
