//! Experiments: all that one file says, in one folder.

use crate::program::{Said, Workplace};

/// Two small models on simulated data, with two seeds.
const FILE: &str = r#"
title = "Small"
seeds = [0, 1]
[data.flow.simulate]
equation = "shear-flow"
shape = [32, 32]
frames = 10
train = 2
valid = 0
test = 2
[budget]
steps = 3
[settings]
data.context = 3
model = { dim = 32, heads = 2, blocks = 1, groups = 4 }
train = { batch = 2, checkpoint_every = 2 }
validation.every = 0
[models]
ckm.model.strategy = "ckm"
fixed8.model = { strategy = "fixed", patches = [8] }
[evaluation]
rollout = 2
schedules = ["4,8,16"]
baselines = ["persistence"]
"#;

fn place() -> Workplace {
    let place = Workplace::new();
    std::fs::write(place.path("small.toml"), FILE).unwrap();
    place
}

fn names(place: &Workplace) -> Vec<String> {
    let query = "SELECT name, schedule FROM runs ORDER BY 1, 2";
    let rows = place.ask("small/results", query).into_iter();
    rows.map(|row| format!("{} {}", row["name"], row["schedule"]).replace('"', ""))
        .collect()
}

#[test]
fn an_experiment_is_done_once_and_goes_on_with_what_is_added() {
    let place = place();
    place.do_it("experiment small.toml");
    let evaluations = |seeds: &[u64]| {
        let mut expected = vec!["persistence -".to_owned()];
        for seed in seeds {
            let schedules = ["16", "4", "4,8,16", "8"];
            expected.extend(schedules.map(|text| format!("ckm-seed{seed} {text}")));
            expected.push(format!("fixed8-seed{seed} 8"));
        }
        expected.sort();
        expected
    };
    assert_eq!(names(&place), evaluations(&[0, 1]));
    // The elastic model has three patch sizes, and so three times the steps.
    assert_eq!(place.losses("small/runs/flow/ckm-seed0").len(), 9);
    assert_eq!(place.losses("small/runs/flow/fixed8-seed1").len(), 3);
    let page = std::fs::read_to_string(place.path("small/report.html")).unwrap();
    assert!(page.contains("Small"));

    let weights = |seed: u64| place.weights(&format!("small/runs/flow/ckm-seed{seed}"), 9);
    let (first, second) = (weights(0), weights(1));
    assert!(first != second);
    let query = "SELECT run FROM runs ORDER BY run";
    let before = place.ask("small/results", query);
    place.do_it("experiment small.toml --set seeds=[0,1,2]");
    assert!(weights(0) == first && weights(1) == second);
    assert_eq!(names(&place), evaluations(&[0, 1, 2]));
    let after = place.ask("small/results", query);
    assert!(before.iter().all(|run| after.contains(run)));
}

#[test]
fn parts_that_begin_at_once_do_together_what_one_process_does() {
    let place = place();
    let parts = (0..4).map(|part| {
        let mut part = place.command(&format!("experiment small.toml --part {part}/4"));
        part.stdout(std::process::Stdio::null());
        part.stderr(std::process::Stdio::piped()).spawn().unwrap()
    });
    for part in parts.collect::<Vec<_>>() {
        let said = Said::from(part.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(names(&place).len(), 11);
}

#[test]
fn an_experiment_that_was_stopped_goes_on() {
    let place = place();
    let long = "experiment small.toml --set seeds=[0] --set budget.steps=20";
    let mut child = place.command(long).spawn().unwrap();
    let checkpoints = place.path("small/runs/flow/ckm-seed0/checkpoints");
    while !checkpoints.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    place.do_it(long);
    let whole = place.weights("small/runs/flow/ckm-seed0", 60);
    place.do_it(&format!("{long} --out again"));
    assert!(place.weights("again/runs/flow/ckm-seed0", 60) == whole);
}

#[test]
fn a_shipped_experiment_goes_on_beside_its_folder() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("reproduce-tiny")).unwrap();
    let said = place.do_it("experiment reproduce-tiny --print");
    assert!(said.out.contains("[data.shear_flow.simulate]"), "{said:?}");
}

#[test]
fn what_an_experiment_takes_is_told_beforehand() {
    let place = place();
    let said = place.do_it("experiment small.toml --plan");
    for part in ["flow/ckm", "flow/fixed8", "4 trainings", "of evaluations"] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert!(!place.path("small").exists());
    let steps = said.out.lines().find(|line| line.starts_with("flow/ckm"));
    assert_eq!(steps.unwrap().split_whitespace().nth(3), Some("9"));
}

#[test]
fn what_does_not_fit_is_refused() {
    let place = place();
    place.do_it("experiment small.toml --set seeds=[0]");
    for (words, expected) in [
        (
            "small.toml --set seeds=[0] --set settings.optim.lr=0.5",
            "optim.lr = 0.5 (was 0.001)",
        ),
        (
            "small.toml --set data.flow.simulate.frames=11",
            "already; choose another folder",
        ),
        ("small.toml --out odd", "holds something else"),
        ("small.toml --part 2/2", "is not a part"),
        ("small.toml --set budget.step=2", "budget"),
        ("nowhere.toml", "reproduce-tiny"),
    ] {
        std::fs::create_dir_all(place.path("odd")).unwrap();
        std::fs::write(place.path("odd/thing"), "x").unwrap();
        let said = place.run(&format!("experiment {words}"));
        assert_ne!(said.code, 0, "{said:?}");
        said.names(&[expected]);
    }
}

/// The paper's experiments are for other machines, but their files begin here, and take a step.
#[test]
fn the_papers_experiments_begin() {
    let place = Workplace::new().with_data_set();
    let sets = [
        "active_matter",
        "rayleigh_benard",
        "shear_flow",
        "turbulent_radiative_layer_2D",
        "supernova_explosion_64",
        "turbulence_gravity_cooling",
    ];
    let roots: Vec<String> = sets
        .iter()
        .map(|name| format!("--set data.{name}={{root=\"ds\"}}"))
        .collect();
    let shrunk = "--set settings.train.batch=1 --set settings.train.device=cpu --set settings.train.precision=f32 \
        --set settings.model.blocks=1 --set settings.validation.every=0 --set budget={steps=1} --set evaluation.rollout=1";
    for name in ["reproduce-25M", "reproduce-100M"] {
        let words = format!("experiment {name} {} {shrunk}", roots.join(" "));
        // The first of thirty runs is enough.
        place.do_it(&format!("{words} --part 0/30"));
        let run = format!("{name}/runs/active_matter/ckm");
        assert_eq!(place.losses(&run).len(), 3, "{name}");
    }
}
