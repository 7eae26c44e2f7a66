//! Names of data sets, splits and files, and which files belong together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{add, check, of_one, source, with_test};
use crate::program::{SMALL, Workplace};

/// The views that group or show by data set, but for `compare`, whose sums have no order.
const VIEWS: [&str; 12] = [
    "table1",
    "divergence",
    "by_lead",
    "horizons",
    "bands",
    "scaling",
    "artefacts",
    "residual_spectrum",
    "relative_residual",
    "patches",
    "leaderboard",
    "cost",
];

/// Rows of a view without what the data set is called and how long it took.
fn rows(place: &Workplace, results: &str, view: &str) -> (Vec<String>, BTreeSet<String>) {
    let mut rows = place.ask(results, &format!("SELECT * FROM {view}"));
    let mut names = BTreeSet::new();
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        row.remove("seconds_per_frame");
        row.remove("dataset_id");
        names.insert(row.remove("dataset").unwrap().as_str().unwrap().to_owned());
    }
    let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    (rows, names)
}

/// Evaluates two data sets, `one` and `two`, into `both`: every view shows what it shows of each alone.
fn are_never_mixed(place: &Workplace, evaluate: impl Fn(&str, &str)) {
    for root in ["one", "two"] {
        evaluate(root, "both");
        evaluate(root, root);
    }
    for view in VIEWS {
        let (both, names) = rows(place, "both-results", view);
        let alone = ["one-results", "two-results"].map(|results| rows(place, results, view).0);
        // On a small grid a view may have nothing to show.
        let shown = alone.iter().filter(|rows| !rows.is_empty()).count();
        let mut alone = alone.concat();
        alone.sort();
        assert_eq!(both, alone, "{view}");
        assert_eq!(names.len(), shown, "{view}: {names:?}");
    }
}

#[test]
fn two_grids_of_one_name_are_never_mixed() {
    let place = Workplace::new();
    for (root, file) in [("one", "supernova-16"), ("two", "supernova-32")] {
        let (test, src) = (format!("odd/{file}-test.hdf5"), format!("{root}-src/data"));
        place.lay(&[
            (&format!("odd/{file}.hdf5"), &format!("{src}/train/a.hdf5")),
            (&test, &format!("{src}/test/b.hdf5")),
        ]);
        place.do_it(&format!("ingest {root}-src {root}"));
        let small = SMALL.replace("data.root=ds", &format!("data.root={root}"));
        place.do_it(&format!(
            "train --out {root}-run {small} --set train.steps=1"
        ));
    }
    are_never_mixed(&place, |root, results| {
        let of = |subject: &str, more: &str| {
            place.do_it(&format!(
                "eval {subject} {root} -r {results}-results --rollout 2 {more}"
            ));
        };
        of(
            &format!("{root}-run"),
            "--name model --schedule 8 --schedule 16",
        );
        of("persistence", "--context 3");
    });

    // Files and pages too go by identity, under names that tell them apart.
    let drawn = |results: &str| {
        place.do_it(&format!("figures {results}-results {results}-figures"));
        place.files(&format!("{results}-figures")).len()
    };
    assert_eq!(drawn("both"), drawn("one") + drawn("two"));
    place.do_it("report both-results page.html");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    let (_, names) = rows(&place, "both-results", "leaderboard");
    assert!(names.iter().all(|name| page.contains(name)), "{names:?}");
}

#[test]
fn views_of_one_source_are_never_mixed() {
    for selection in [
        "--crop 0..16,0..8",
        "--stride 2",
        "--fields pressure",
        "--time-stride 2",
    ] {
        let place = with_test("sound");
        place.do_it("ingest src one");
        place.do_it(&format!("ingest src two {selection}"));
        are_never_mixed(&place, |root, results| {
            place.do_it(&format!(
                "eval persistence {root} -r {results}-results --rollout 1 --context 1"
            ));
        });
    }
}

#[test]
fn a_data_set_takes_the_name_that_it_is_given() {
    let place = with_test("supernova-16");
    place.do_it("ingest src ds --name supernova_explosion_16");
    assert_eq!(
        place.manifest("ds")["schema"]["name"],
        "supernova_explosion_16"
    );
    place.do_it("eval persistence ds -r results --context 3");
    let rows = place.ask("results", "SELECT dataset FROM leaderboard");
    assert_eq!(rows[0]["dataset"], "supernova_explosion_16");
}

/// A folder's name, and the split that it is.
fn is_a_split(folder: &str, split: &str) {
    let file = ["sound", "sound-valid", "sound-test"];
    let splits = ["train", "valid", "test"];
    let place = Workplace::new();
    for (file, usual) in file.iter().zip(splits) {
        let name = if usual == split { folder } else { usual };
        add(&place, &[(file, &format!("{name}/{file}.hdf5"))]);
    }
    place.do_it("ingest src ds");
    let manifest = place.manifest("ds");
    let file = file[splits.iter().position(|usual| *usual == split).unwrap()];
    let held = &manifest["splits"][split]["trajectories"];
    assert_eq!(
        held.as_array().map(Vec::len),
        Some(2),
        "{folder}: {manifest}"
    );
    let source = held[0]["source"].as_str().unwrap();
    assert!(source.contains(&format!("{file}.hdf5")), "{source}");
}

#[test]
fn val_is_valid() {
    is_a_split("val", "valid");
}

#[test]
fn validation_is_valid() {
    is_a_split("validation", "valid");
}

#[test]
fn train_may_be_capital() {
    is_a_split("Train", "train");
}

#[test]
fn training_is_train() {
    is_a_split("training", "train");
}

#[test]
fn a_file_of_no_split_is_named() {
    let place = source(&[("sound", "train/a.hdf5"), ("sound-test", "later/b.hdf5")]);
    let said = place.run("ingest src ds");
    said.names(&["later/b.hdf5"]);
    assert!(said.code == 0 || said.code == 1, "{said:?}");
}

#[test]
fn two_names_of_data_sets_are_refused() {
    let place = source(&[("sound", "train/a.hdf5"), ("another-name", "train/b.hdf5")]);
    place
        .run("ingest src ds")
        .refuses(&["b.hdf5", "flow", "another"]);
    assert!(!place.path("ds/manifest.json").exists());
    assert!(!check(&place, "src").0);
}

#[test]
fn trajectories_in_two_splits_are_told() {
    for copy in ["a.hdf5", "copy.hdf5"] {
        let place = source(&[
            ("sound", "train/a.hdf5"),
            ("sound", &format!("test/{copy}")),
        ]);
        place.run("ingest src ds").tells(&["train", "test", copy]);
        let (passes, rows) = check(&place, "src");
        assert!(passes && !rows.is_empty(), "{rows:?}");
    }
}

#[test]
fn files_and_trajectories_are_left_out_where_asked_for() {
    let place = source(&[("sound", "train/a.hdf5"), ("sound-valid", "train/b.hdf5")]);
    place.do_it("ingest src whole");
    let sources = |root: &str| -> Vec<String> {
        let manifest = place.manifest(root);
        let held = manifest["splits"]["train"]["trajectories"]
            .as_array()
            .unwrap();
        let source = |one: &Value| one["source"].as_str().unwrap().to_owned();
        held.iter().map(source).collect()
    };
    let whole = sources("whole");
    assert_eq!(whole.len(), 4);
    place.do_it("ingest src less --exclude **/b.hdf5");
    assert_eq!(sources("less"), whole[..2]);
    place.do_it(&format!(
        "ingest src fewer --exclude-trajectory {}",
        whole[1]
    ));
    assert_eq!(sources("fewer"), [&whole[..1], &whole[2..]].concat());
}

#[test]
fn each_trajectory_keeps_its_own_coordinates() {
    let place = source(&[("sound", "train/a.hdf5"), ("box-of-60", "train/b.hdf5")]);
    place.do_it("ingest src ds");
    place.do_it("verify ds");
    let manifest = place.manifest("ds");
    let held = manifest["splits"]["train"]["trajectories"]
        .as_array()
        .unwrap();
    let (first, last) = (held[0].to_string(), held[3].to_string());
    assert!(last.contains("56.25") && !first.contains("56.25"), "{last}");
    assert!(!check(&place, "src").1.is_empty(), "it is told");
}

#[test]
fn fields_of_another_order_are_the_same_fields() {
    let place = source(&[("order-ab", "train/a.hdf5"), ("order-ba", "train/b.hdf5")]);
    place.do_it("ingest src ds");
    place.do_it("verify ds");
    let query = "SELECT trajectory, avg(field_mean(\"A\")) AS a, avg(field_mean(\"B\")) AS b \
        FROM frames GROUP BY trajectory ORDER BY trajectory";
    let rows = place.ask_frames("ds", query);
    for (row, mean) in rows.iter().zip([3.0, 3.0, 7.0, 7.0]) {
        let value = |name: &str| row[name].as_f64().unwrap();
        assert!(
            (value("a") - mean).abs() < 0.1 && (value("b") + mean).abs() < 0.1,
            "{rows:?}"
        );
    }
    assert_eq!(rows.len(), 4);
}

#[test]
fn an_empty_file_is_refused_by_name_or_left_out() {
    let place = of_one("sound");
    std::fs::write(place.path("src/data/train/b.hdf5"), "").unwrap();
    place.run("ingest src ds").refuses(&["b.hdf5", "empty"]);
    place.do_it("ingest src ds --exclude **/b.hdf5");
    place.do_it("verify ds");
}

#[test]
fn names_that_begin_with_a_dot_are_left_out() {
    let place = of_one("sound");
    std::fs::write(place.path("src/data/train/._a.hdf5"), b"\0\x05\x16\x07").unwrap();
    std::fs::write(place.path("src/data/train/.DS_Store"), b"\0").unwrap();
    place.do_it("ingest src ds");
    let manifest = place.manifest("ds");
    let held = &manifest["splits"]["train"]["trajectories"];
    assert_eq!(held.as_array().unwrap().len(), 2);
}
