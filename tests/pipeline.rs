//! The whole pipeline, step by step: HDF5, shards, a run that is stopped and resumed, tables, SQL, a report.

use crate::program::{SMALL, Workplace};

#[test]
fn ingest_train_resume_eval_sql_report() {
    let place = Workplace::new().with_data_set();
    place.do_it("verify ds");
    let said = place.do_it("inspect ds");
    assert!(
        said.out.contains("velocity_y") && said.out.contains("3 trajectories"),
        "{}",
        said.out
    );

    // Two runs of six steps: one at once, one with a rest.
    place.do_it(&format!("train --out whole {SMALL} --set train.steps=6"));
    place.do_it(&format!(
        "train --out rest {SMALL} --set train.steps=6 --set train.checkpoint_every=3"
    ));
    for file in ["model.safetensors", "optimizer.safetensors", "state.json"] {
        std::fs::remove_file(place.path("rest/checkpoints/00000006").join(file)).unwrap();
    }
    let said = place.do_it("train --out rest --resume");
    assert!(said.err.contains("6 steps"), "{}", said.err);
    assert!(place.weights("whole", 6) == place.weights("rest", 6));
    assert_eq!(place.losses("rest").len(), 6);

    place.do_it("eval whole ds -r results --rollout 4");
    place.do_it("eval whole ds -r results --rollout 4 --schedule 4,8,16 --schedule 16x8 --schedule random:7");
    place.do_it("eval persistence ds -r results --rollout 4 --context 3");
    let runs = place.ask(
        "results",
        "SELECT name, schedule, starts, tokens FROM runs ORDER BY name, schedule",
    );
    let schedules: Vec<&str> = runs
        .iter()
        .map(|run| run["schedule"].as_str().unwrap())
        .collect();
    assert_eq!(
        schedules,
        ["-", "16", "16x8", "4", "4,8,16", "8", "random:7"]
    );
    assert_eq!(runs[3]["tokens"], 64.0);
    // 4 leads, 4 fields; 10 spatial metrics, cells that are not finite, 3 in each of 3 bands, artefacts
    // of 4 and 8, at every start; and at the last lead, when it diverged.
    let counted = place.ask(
        "results",
        "SELECT run, count(*) AS n FROM metrics GROUP BY run",
    );
    let starts = runs[0]["starts"].as_u64().unwrap();
    assert!(
        counted
            .iter()
            .all(|row| row["n"] == 4 * (4 * 22 + 1) * starts),
        "{counted:?}"
    );

    // A second evaluation takes the first one's place, or comes beside it, or is refused.
    place.do_it("eval whole ds -r results --rollout 4 --schedule 16");
    assert_eq!(place.ask("results", "SELECT * FROM runs").len(), 7);
    place.do_it("eval whole ds -r results --rollout 4 --schedule 16 --existing add");
    assert_eq!(place.ask("results", "SELECT * FROM runs").len(), 8);
    let said = place.run("eval whole ds -r results --rollout 4 --schedule 16 --existing refuse");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("--existing replace, add or skip"),
        "{}",
        said.err
    );

    let said = place.do_it("eval whole ds -r results --rollout 4 --schedule 16 --existing skip");
    assert!(said.err.contains("1 there already"), "{}", said.err);

    // A budget keeps its mean; whole rollouts are measured where asked for.
    place.do_it(
        "eval whole ds -r results --rollout 4 --schedule budget:12 --name spender --temporal",
    );
    let spent = place.ask("results", "SELECT tokens FROM runs WHERE name = 'spender'");
    assert!(spent[0]["tokens"].as_f64().unwrap() <= 12.0, "{spent:?}");
    let whole = place.ask(
        "results",
        "SELECT metric, lead, count(*) AS n FROM metrics WHERE metric LIKE 'dtw%' OR metric = 'histogram_w1' \
         GROUP BY metric, lead",
    );
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert!(
        whole
            .iter()
            .all(|row| row["lead"] == 4 && row["n"] == 4 * starts),
        "{whole:?}"
    );
    let said = place.run("eval whole ds -r results --rollout 4 --schedule budget:5");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("a budget on this grid starts at"),
        "{}",
        said.err
    );

    place.do_it("report results page.html");
    assert!(std::fs::metadata(place.path("page.html")).unwrap().len() > 10_000);
}

#[test]
fn answers_come_in_every_format() {
    let place = Workplace::new().with_data_set();
    place.do_it("eval persistence ds -r results --context 3");
    std::fs::write(
        place.path("questions.sql"),
        "-- two\nSELECT 1 AS one;\nSELECT ';' AS two;\n",
    )
    .unwrap();
    let said = place.do_it("sql -r results --format csv -f questions.sql");
    assert_eq!(said.out, "one\n1\ntwo\n;\n");
    let said = place.do_it("sql -r results --format md -f questions.sql");
    assert!(
        said.out.starts_with("| one |\n| ---: |\n| 1 |\n"),
        "{}",
        said.out
    );
    let said = place.do_it("sql --explain-views");
    assert!(
        said.out.contains("-- residual_spectrum") && said.out.contains("-- table1"),
        "{}",
        said.out
    );
}

#[test]
fn weights_go_out_and_come_back() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!("train --out run {SMALL} --set train.steps=2"));
    place.do_it("export run weights.safetensors");
    place.do_it(&format!("import weights.safetensors --out back {SMALL}"));
    place.do_it("eval run ds -r results --schedule 8 --name same");
    place.do_it("eval back ds -r results --schedule 8 --name back");
    let scores = place.ask("results", "SELECT DISTINCT vrmse FROM leaderboard");
    assert_eq!(scores.len(), 1, "{scores:?}");
    let said = place.run(&format!(
        "import weights.safetensors --out other {SMALL} --set model.blocks=2"
    ));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("missing: blocks.1."), "{}", said.err);
}

/// A model of every second frame is evaluated on those, and beside a baseline of those.
#[test]
fn a_stride_goes_from_training_to_the_tables() {
    let place = Workplace::new().with_data_set();
    place.do_it(&format!(
        "train --out run {SMALL} --set train.steps=2 --set data.stride=2"
    ));
    place.do_it("eval run ds -r results --rollout 2 --schedule 8");
    place.do_it("eval persistence ds -r results --rollout 2 --context 3 --stride 2");
    let rows = place.ask(
        "results",
        "SELECT r.dataset, r.starts, l.of_persistence FROM runs r JOIN leaderboard l ON l.name = r.name",
    );
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["dataset"], "shear_flow every 2");
        // Three frames seen and two predicted are nine of ten steps, in two trajectories.
        assert_eq!(row["starts"], 2);
        assert!(row["of_persistence"].as_f64().unwrap() > 0.0);
    }
    let said = place.run(&format!(
        "train --out run {SMALL} --set train.steps=4 --set data.stride=1 --resume"
    ));
    said.refuses(&["data.stride = 1 (was 2)"]);
}

#[test]
fn a_run_that_goes_on_keeps_its_settings_its_schedule_and_its_end() {
    let place = Workplace::new().with_data_set();
    let said = place.do_it(&format!(
        "train --out run {SMALL} --set train.steps=3 --set train.batch=1"
    ));
    assert!(said.err.contains("are not inputs of the model"), "{said:?}");
    let before = place.files("run");
    let said = place.do_it("train --out run --resume");
    assert!(said.err.contains("run is finished"), "{said:?}");
    assert!(!said.err.contains("NaN"), "{said:?}");
    assert!(place.files("run") == before);

    let said = place.do_it("train --out run --resume --set train.steps=5");
    assert!(said.err.contains("train.steps = 5 (was 3)"), "{said:?}");
    assert!(said.err.contains("--set optim.horizon=5"), "{said:?}");
    let config = std::fs::read_to_string(place.path("run/config.toml")).unwrap();
    for kept in ["batch = 1", "context = 3", "steps = 5", "horizon = 3"] {
        assert!(config.contains(kept), "{kept}: {config}");
    }

    std::fs::write(
        place.path("run/checkpoints/00000005/model.safetensors"),
        "cut off",
    )
    .unwrap();
    for command in [
        "eval run ds -r results --rollout 2 --schedule 16",
        "export run weights.safetensors",
        "train --out run --resume",
    ] {
        let said = place.do_it(command);
        let passed = "00000005/model.safetensors";
        assert!(said.err.contains(passed), "{command}: {said:?}");
        assert!(said.err.contains("step 3"), "{command}: {said:?}");
    }
    place.do_it("export run weights.safetensors --step 5");
}

/// A model that sees scalars, boundaries and the time step is trained, evaluated and tuned; what cannot be is
/// refused by its key.
#[test]
fn a_model_sees_what_the_physics_is_given() {
    let place = Workplace::new().with_data_set();
    let seeing = "--set model.inputs=[\"dt\",\"scalars\",\"boundaries\"]";
    let said = place.do_it(&format!(
        "train --out run {SMALL} {seeing} --set train.steps=4 --set train.checkpoint_every=2"
    ));
    assert!(
        !said.err.contains("are not inputs of the model"),
        "{said:?}"
    );
    let state = std::fs::read_to_string(place.path("run/checkpoints/00000004/state.json")).unwrap();
    for name in ["Reynolds", "Schmidt", "boundary", "dt"] {
        assert!(state.contains(name), "{name}: {state}");
    }
    // Stopped and resumed, it ends with the same bytes.
    let whole = place.weights("run", 4);
    for file in ["model.safetensors", "optimizer.safetensors", "state.json"] {
        std::fs::remove_file(place.path("run/checkpoints/00000004").join(file)).unwrap();
    }
    place.do_it("train --out run --resume");
    assert!(place.weights("run", 4) == whole);

    place.do_it("eval run ds -r results --rollout 3 --schedule 8");
    place.do_it("eval run ds -r results --rollout 3 --schedule 4,8,16");
    let rows = place.ask(
        "results",
        "SELECT run, avg(value) AS vrmse FROM metrics WHERE metric = 'vrmse' GROUP BY run",
    );
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["vrmse"].as_f64().unwrap().is_finite(), "{row:?}");
    }

    let said = place.run("train --out run --resume --set model.inputs=[\"dt\"]");
    said.refuses(&["model.inputs = [\"dt\"] (was [\"scalars\""]);
    let said = place.run(&format!(
        "train --out odd {SMALL} --set model.inputs=[\"speed\"]"
    ));
    assert!(
        said.code != 0 && said.err.contains("`constants`"),
        "{said:?}"
    );

    // Another run begins with its weights, and with what it has not seen.
    let said = place.do_it("import run --out tuned --set model.inputs=[\"constants\",\"scalars\"]");
    assert!(
        said.err.contains("scalar:Reynolds") && said.err.contains("left out: boundary:x-low:wall"),
        "{said:?}"
    );
    let said = place.do_it("train --out tuned --resume --set train.steps=2");
    assert!(said.err.contains("has no constants"), "{said:?}");
}
