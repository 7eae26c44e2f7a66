//! Files from `data/odd` (written by `data/make/odd.py`), each with one oddity of real files, and the result
//! that each must give.

mod broken;
mod names;
mod scales;
mod sound;

use serde_json::Value;

use crate::program::Workplace;

/// A folder `src` in The Well's layout with files of `data/odd`.
fn source(files: &[(&str, &str)]) -> Workplace {
    let place = Workplace::new();
    add(&place, files);
    place
}

fn add(place: &Workplace, files: &[(&str, &str)]) {
    for (file, to) in files {
        place.lay(&[(&format!("odd/{file}.hdf5"), &format!("src/data/{to}"))]);
    }
}

/// A file to train on.
fn of_one(file: &str) -> Workplace {
    source(&[(file, "train/a.hdf5")])
}

/// A file to train on, and its like of other trajectories.
fn with_test(file: &str) -> Workplace {
    source(&[
        (file, "train/a.hdf5"),
        (&format!("{file}-test"), "test/b.hdf5"),
    ])
}

/// What `wellspring check` says of a source or a data set: whether it would go through, and a row for each finding.
fn check(place: &Workplace, what: &str) -> (bool, Vec<Value>) {
    let said = place.run(&format!("check {what} --format json"));
    assert!(said.code == 0 || said.code == 1, "{said:?}");
    let rows = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    (said.code == 0, rows)
}

/// A finding on a field of `a.hdf5` at a trajectory and a step.
fn finding<'a>(rows: &'a [Value], field: &str, trajectory: u64, step: u64) -> &'a Value {
    let is = |row: &&Value| {
        let file = row["file"].as_str().unwrap_or_default();
        file.ends_with("a.hdf5")
            && row["field"].as_str().unwrap_or_default().contains(field)
            && row["trajectory"] == trajectory
            && row["step"] == step
    };
    let found = rows.iter().find(is);
    found.unwrap_or_else(|| panic!("{field} at trajectory {trajectory}, step {step}: {rows:?}"))
}
