//! Broken simulations: those that are certainly wrong are refused, those that may be are reported.

use super::{check, finding, of_one, with_test};

/// Refused with field, trajectory and step, found by `check`, and let through where its kind is allowed.
fn is_refused_unless_allowed(file: &str, field: &str, trajectory: u64, step: u64) {
    let place = of_one(file);
    let numbers = [trajectory.to_string(), step.to_string()];
    place
        .run("ingest src ds")
        .refuses(&["a.hdf5", field, &numbers[0], &numbers[1]]);
    assert!(!place.path("ds/manifest.json").exists());

    let (passes, rows) = check(&place, "src");
    assert!(!passes);
    let kind = finding(&rows, field, trajectory, step)["kind"]
        .as_str()
        .unwrap();
    // The refusal leaves nothing that stands in the way of what it advises.
    place.do_it(&format!("ingest src ds --allow {kind}"));
    place.do_it("verify ds");
}

/// Ingested, with a line on standard error that names the trajectory; `check` has the step, and finds it in the
/// data set too.
fn is_told(file: &str, field: &str, trajectory: u64, step: u64) {
    let place = of_one(file);
    place
        .run("ingest src ds")
        .tells(&["a.hdf5", field, &trajectory.to_string()]);
    place.do_it("verify ds");
    let (passes, rows) = check(&place, "src");
    assert!(passes, "{rows:?}");
    finding(&rows, field, trajectory, step);
    let (passes, rows) = check(&place, "ds");
    assert!(passes && !rows.is_empty(), "{rows:?}");
}

#[test]
fn sound_data_has_no_findings() {
    let place = with_test("sound");
    let said = place.do_it("ingest src ds");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    for what in ["src", "src/data/train/a.hdf5", "ds"] {
        assert_eq!(check(&place, what), (true, vec![]), "{what}");
    }
}

#[test]
fn chunks_that_were_never_written_are_no_zeros() {
    is_refused_unless_allowed("unwritten-chunks", "p", 1, 4);
}

#[test]
fn chunks_that_were_never_written_are_not_netcdfs_fill() {
    is_refused_unless_allowed("unwritten-chunks-netcdf", "p", 1, 4);
}

#[test]
fn zeros_at_the_end_are_told() {
    is_told("zero-tail", "pressure", 1, 5);
}

#[test]
fn frames_that_stand_still_are_told() {
    is_told("stuck-frames", "pressure", 1, 3);
}

#[test]
fn a_time_that_goes_back_is_refused() {
    let place = of_one("time-back");
    place.run("ingest src ds").refuses(&["a.hdf5", "time", "4"]);
    assert!(!place.path("ds/manifest.json").exists());
    let (passes, rows) = check(&place, "src");
    assert!(
        !passes && rows.iter().any(|row| row["step"] == 4),
        "{rows:?}"
    );
}

#[test]
fn a_time_that_is_no_number_is_refused() {
    let place = of_one("time-nan");
    place.run("ingest src ds").refuses(&["a.hdf5", "time", "3"]);
    assert!(!place.path("ds/manifest.json").exists());
    assert!(!check(&place, "src").0);
}

#[test]
fn infinity_is_refused() {
    let place = of_one("infinite");
    place
        .run("ingest src ds")
        .refuses(&["a.hdf5", "pressure", "0", "2"]);
    let (passes, rows) = check(&place, "src");
    assert!(!passes);
    finding(&rows, "pressure", 0, 2);
}

#[test]
fn an_outlier_is_told_and_a_training_with_clipping_survives_it() {
    is_told("outlier", "pressure", 0, 3);
    let place = with_test("outlier");
    place.do_it("ingest src ds");
    place.train_and_evaluate("ds", "--set optim.clip=1.0");
}

#[test]
fn nan_under_a_mask_is_refused_or_asked_to_be_zero() {
    let place = with_test("nan-under-mask");
    place
        .run("ingest src ds")
        .refuses(&["a.hdf5", "pressure", "0"]);
    assert!(!check(&place, "src").0);
    place
        .run("ingest src ds --nan refuse")
        .refuses(&["pressure"]);

    place.do_it("ingest src ds --nan zero");
    place.do_it("verify ds");
    let query = "SELECT max(field_rms(pressure)) AS rms FROM frames";
    let rms = place.ask_frames("ds", query)[0]["rms"].as_f64().unwrap();
    assert!(rms > 0.1 && rms < 1.0, "{rms}");
    place.train_and_evaluate("ds", "");
}

/// Ends without a panic and within 6 GB, with a line that names the file and the object.
fn is_refused_in_good_order(file: &str, object: &str) {
    let place = of_one(file);
    place
        .run_within("ulimit -v 6000000", "ingest src ds")
        .refuses(&["a.hdf5", object]);
    assert!(!place.path("ds/manifest.json").exists());
}

#[test]
fn an_axis_of_no_rows_is_refused() {
    is_refused_in_good_order("empty-axis", "dimensions");
}

/// If no field varies by sample there is one trajectory, whatever number the file names.
#[test]
fn more_trajectories_than_can_be_are_refused_or_are_one() {
    let place = of_one("endless-trajectories");
    let said = place.run_within("ulimit -v 6000000", "ingest src ds");
    if said.code != 0 {
        said.refuses(&["a.hdf5", "trajectories"]);
        return;
    }
    let held = &place.manifest("ds")["splits"]["train"]["trajectories"];
    assert_eq!(held.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_field_in_another_file_is_refused() {
    is_refused_in_good_order("field-elsewhere", "pressure");
}
