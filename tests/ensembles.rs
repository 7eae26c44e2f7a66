//! Jitter, ensembles and divergences, from outside.

use serde_json::Value;

use crate::program::{SMALL, Workplace};

/// A small shear flow and a model of it.
fn trained() -> Workplace {
    let place = Workplace::new();
    let words = "--shape 32x32 --frames 8 --train 3 --valid 1 --test 2 --seed 5";
    place.do_it(&format!("simulate shear-flow sims {words}"));
    place.do_it("ingest sims ds");
    place.do_it(&format!("train --out run {SMALL} --set train.steps=3"));
    place
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap()
}

#[test]
fn members_are_rolled_out_together_and_told_in_sql() {
    let place = trained();
    let eval = "eval run ds -r results --schedule 4,8,16 --rollout 3 --every 1";
    place.do_it(eval);
    place.do_it(&format!("{eval} --jitter 1"));
    let said = place.do_it(&format!("{eval} --members 3")).err;
    assert!(said.contains("4,8,16 jitter:0 members:3"), "{said}");
    // Each has a place of its own, and is found again.
    for words in ["", "--jitter 1", "--members 3"] {
        let again = place.do_it(&format!("{eval} {words} --existing skip")).err;
        assert!(again.contains("1 there already"), "{again}");
    }
    let schedules = place.ask(
        "results",
        "SELECT schedule, jitter, members FROM runs ORDER BY schedule",
    );
    let schedules: Vec<String> = schedules.iter().map(Value::to_string).collect();
    assert_eq!(schedules.len(), 3, "{schedules:?}");
    // The second member is the rollout of its seed.
    let differences = place.ask(
        "results",
        "SELECT count(*) AS n, max(abs(e.value - m.value)) AS most FROM ensembles e
         JOIN metrics m USING (trajectory, start, lead, field, metric) JOIN runs r ON r.run = m.run
         WHERE e.member = 1 AND r.jitter = 1 AND r.members IS NULL AND e.metric = 'vrmse'",
    );
    assert!(number(&differences[0], "n") > 0.0 && number(&differences[0], "most") < 1e-9);
    let by_lead = place.ask("results", "SELECT * FROM ensemble ORDER BY field, lead");
    assert!(!by_lead.is_empty());
    for row in &by_lead {
        assert_eq!(number(row, "expected_coverage"), 0.5);
        let ratio = (4.0_f64 / 3.0).sqrt() * number(row, "spread") / number(row, "skill");
        assert!((number(row, "ratio") - ratio).abs() < 1e-9, "{row}");
        // A model after three steps hardly moves by jitter, and is surer than right.
        assert!(ratio > 0.0 && ratio < 1.0, "{row}");
        let coverage = number(row, "coverage");
        assert!((0.0..0.5).contains(&coverage), "{row}");
        assert!(number(row, "low") <= number(row, "crps"), "{row}");
    }
    place.do_it("report results report.html");
    let page = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(page.contains("Spread of ensembles over their error"));
}

#[test]
fn a_random_schedule_makes_members_too() {
    let place = trained();
    place.do_it("eval run ds -r results --schedule random:3 --rollout 2 --members 2 --batch 1");
    place.do_it(
        "eval run ds -r results --schedule random:3 --rollout 2 --members 2 --batch 3 --name three",
    );
    let counts = place.ask(
        "results",
        "SELECT count(*) AS n, count(DISTINCT patch) AS patches FROM metrics WHERE patch = 'mixed' OR patch <> ''",
    );
    assert!(number(&counts[0], "n") > 0.0);
    let differences = place.ask(
        "results",
        "SELECT max(abs(a.value - b.value)) AS most FROM ensembles a JOIN ensembles b ON a.run <> b.run
           AND a.trajectory = b.trajectory AND a.start = b.start AND a.lead = b.lead AND a.field = b.field
           AND a.metric = b.metric AND coalesce(a.member, 9) = coalesce(b.member, 9)",
    );
    assert!(number(&differences[0], "most") < 1e-4, "{differences:?}");
}

#[test]
fn what_is_not_random_is_refused() {
    let place = Workplace::new().with_data_set();
    for words in ["--jitter 1", "--members 4"] {
        let said = place.run(&format!("eval persistence ds -r results {words}"));
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("nothing of it is random"), "{said:?}");
    }
    let said = place.run("eval run ds -r results --members 1");
    assert_eq!(said.code, 2, "{said:?}");
    let said = place.run("predict persistence ds --to out --jitter 1");
    assert_eq!(said.code, 2, "{said:?}");
}

/// An incompressible flow has little divergence; what its components in the wrong order have is no less than themselves.
#[test]
fn a_simulated_flow_has_little_divergence() {
    let place = Workplace::new();
    place.do_it("simulate shear-flow sims --shape 64x64 --frames 3 --train 1 --valid 0 --test 0");
    place.do_it("ingest sims ds");
    let found = place.ask_frames(
        "ds",
        "SELECT max(field_rms(divergence(velocity_x, velocity_y))) AS own,
           max(field_rms(divergence(velocity_y, velocity_x))) AS other FROM frames",
    );
    let [own, other] = ["own", "other"].map(|key| number(&found[0], key));
    assert!(own < 0.1 * other, "{own} {other}");
}
