//! `wellspring runs`, the table `training` and the curves of `inspect`: trainings side by side.

use wellspring_s3_testing::Server;

use crate::program::{SMALL, Workplace, options};

/// Three runs of six steps with two learning rates, in folders of `runs`.
fn swept() -> Workplace {
    let place = Workplace::new();
    place.lay(&[("odd/sound.hdf5", "src/data/train/a.hdf5")]);
    place.do_it("ingest src ds");
    for (name, lr) in [("a", "0.001"), ("b", "0.002"), ("more/c", "0.002")] {
        place.do_it(&format!(
            "train --out runs/{name} {SMALL} --set train.steps=6 --set optim.lr={lr}"
        ));
    }
    place
}

const RATES: &str =
    "SELECT config['optim.lr'] AS lr, count(loss) AS steps FROM training GROUP BY 1 ORDER BY 1";

#[test]
fn runs_are_listed_and_asked_side_by_side() {
    let place = swept();
    let said = place.do_it("runs runs");
    let lines: Vec<Vec<&str>> = said
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..5], ["run", "state", "steps", "loss", "best"]);
    let named = lines[2..].iter().map(|line| line[..5].join(" "));
    let named: Vec<String> = named.collect();
    for (line, name) in named.iter().zip(["a", "b", "more/c"]) {
        assert!(line.starts_with(&format!("{name} done 6 of 6")), "{line}");
    }
    assert_eq!(named.len(), 3, "{}", said.out);

    let said = place.do_it("runs runs --json");
    let runs: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
    assert_eq!(runs[2]["run"], "more/c");
    assert_eq!(runs[2]["config"]["optim.lr"], "0.002");
    assert!(runs[2]["rate"].as_f64().unwrap() > 0.0);

    for words in ["--runs runs", "-r runs", "--runs runs/a --runs runs"] {
        let mut command = place.command(&format!("sql {words} --format csv"));
        let output = command.arg(RATES).output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(out, "lr,steps\n0.001,6\n0.002,12\n", "{words}");
    }

    let said = place.do_it("inspect runs/a");
    for expected in [
        "last checkpoint: step 6",
        "done",
        "loss, mean over 100 steps",
        "└step 1",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
}

#[test]
fn what_is_no_training_is_refused() {
    let place = swept();
    let said = place.run("runs ds");
    said.refuses(&["ds holds no trainings"]);
    let said = place.run("sql -r nothing SELECT");
    said.refuses(&["nothing holds no results"]);
    let segment = place.files("runs/a/log").pop().unwrap().0;
    std::fs::write(&segment, "PAR1").unwrap();
    let said = place.do_it("runs runs");
    assert!(said.err.contains("has 4 bytes"), "{said:?}");
    std::fs::write(&segment, "PAR1 is not enough to be whole PAR1").unwrap();
    let said = place.do_it("runs runs");
    assert!(
        said.err.contains("does not end as Parquet does"),
        "{said:?}"
    );
}

#[test]
fn runs_in_a_bucket_are_asked_like_others() {
    let server = Server::start().unwrap();
    let (place, settings) = (swept(), options(server.settings()));
    place.do_it(&format!(
        "train --out s3://bucket/runs/far {SMALL} --set train.steps=6 --set train.checkpoint_every=2 {settings}"
    ));
    let said = place.do_it(&format!("runs s3://bucket/runs {settings}"));
    assert!(
        said.out.contains("far") && said.out.contains("6 of 6"),
        "{}",
        said.out
    );
    let mut command = place.command(&format!(
        "sql --runs s3://bucket/runs --runs runs --format csv {settings}"
    ));
    let asked = "SELECT run, count(loss) AS n FROM training WHERE run IN ('a', 'far') GROUP BY run ORDER BY run";
    let output = command.arg(asked).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "run,n\na,6\nfar,6\n"
    );
}
