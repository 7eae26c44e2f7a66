use arrow::array::AsArray as _;
use arrow::datatypes::{Float64Type, Int64Type};

use super::*;
use crate::Database;
use crate::sample::{FRAMES, N, frame, plane};

async fn database() -> Database {
    let database = Database::new().unwrap();
    let dataset = plane("memory:///plane").await;
    assert_eq!(database.add_dataset(None, dataset).unwrap(), "plane");
    database
}

/// One column of numbers.
async fn numbers(database: &Database, query: &str) -> Vec<f64> {
    let batches = database.sql(query).await.unwrap();
    let column = |batch: &arrow::array::RecordBatch| {
        let column = arrow::compute::cast(batch.column(0), &DataType::Float64).unwrap();
        column.as_primitive::<Float64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (x, y) in found.iter().zip(expected) {
        assert!(
            (x - y).abs() < 1e-5 * y.abs().max(1.0),
            "{found:?} {expected:?}"
        );
    }
}

#[tokio::test]
async fn functions_over_fields_give_closed_forms() {
    let database = database().await;
    let means =
        "SELECT field_mean(u) FROM frames WHERE split = 'train' AND trajectory = 1 ORDER BY step";
    close(
        &numbers(&database, means).await,
        &[10.0, 11.0, 12.0, 13.0, 14.0],
    );
    // A cosine of amplitude 2 has a mean square of 2.
    let cells = (N * N) as f64;
    let spread = "SELECT field_var(v_y) FROM frames WHERE step = 0 ORDER BY split, trajectory";
    close(
        &numbers(&database, spread).await,
        &[2.0 * cells / (cells - 1.0); 3],
    );
    let rms =
        "SELECT field_rms(u) FROM frames WHERE step = 3 AND trajectory = 0 AND split = 'test'";
    close(&numbers(&database, rms).await, &[(9.0_f64 + 2.0).sqrt()]);
    // A cosine of amplitude 2 on a mean of 3, at a crest and at a trough.
    for (function, expected) in [
        ("field_sum", 3.0 * cells),
        ("field_min", 1.0),
        ("field_max", 5.0),
    ] {
        let query = format!(
            "SELECT {function}(u) FROM frames WHERE step = 3 AND trajectory = 0 AND split = 'test'"
        );
        close(&numbers(&database, &query).await, &[expected]);
    }
    // One wave has 2π/16 = 0.39 radians per cell, three have 1.18.
    let bands =
        "SELECT avg(band_energy(u, 0.3, 1)) FROM frames GROUP BY trajectory ORDER BY trajectory";
    close(&numbers(&database, bands).await, &[2.0, 0.0]);
    let bands = "SELECT avg(band_energy(u, 1, 2)) FROM plane.frames GROUP BY trajectory ORDER BY trajectory";
    close(&numbers(&database, bands).await, &[0.0, 2.0]);
}

/// What the next frame's own mean is off by, over the wave's deviation.
#[tokio::test]
async fn frames_join_with_later_ones() {
    let query = "SELECT vrmse(b.u, a.u) FROM frames a JOIN frames b \
        ON a.split = b.split AND a.trajectory = b.trajectory AND b.step = a.step + 1 WHERE a.split = 'test'";
    let cells = (N * N) as f64;
    let expected = (1.0 / (2.0 * cells / (cells - 1.0))).sqrt();
    close(
        &numbers(&database().await, query).await,
        &[expected; FRAMES - 1],
    );
}

#[tokio::test]
async fn a_frame_has_its_parameters_series_and_time() {
    let database = database().await;
    let query = "SELECT time FROM frames WHERE forcing = 1 AND \"Reynolds\" = 200 ORDER BY step";
    close(&numbers(&database, query).await, &[1.0, 2.0]);
    let query = "SELECT DISTINCT parameter_time FROM frames";
    close(&numbers(&database, query).await, &[7.0]);
    let query = "SELECT count(*) FROM frames GROUP BY split ORDER BY split";
    close(&numbers(&database, query).await, &[5.0, 10.0]);
    let first = database
        .sql("SELECT split, u, time FROM frames LIMIT 1")
        .await
        .unwrap();
    assert_eq!(first[0].num_rows(), 1);
    let u = first[0].column(1).as_fixed_size_list().value(0);
    let found = u.as_primitive::<arrow::datatypes::Float32Type>();
    close(
        &found
            .values()
            .iter()
            .map(|&x| f64::from(x))
            .collect::<Vec<_>>(),
        &frame(0, 0)[..N * N]
            .iter()
            .map(|&x| f64::from(x))
            .collect::<Vec<_>>(),
    );
}

/// What the manifest decides leaves no filter, and chooses rows and columns before anything is read.
#[tokio::test]
async fn filters_and_columns_reach_the_scan() {
    let database = database().await;
    let plan = async |query: &str| -> String {
        let answer = database.sql(&format!("EXPLAIN {query}")).await.unwrap();
        let text = answer[0].column(1).as_string::<i32>();
        text.iter().flatten().collect::<Vec<_>>().join("\n")
    };
    let found = plan(
        "SELECT step, avg(field_mean(v_x)) FROM frames WHERE split = 'train' AND \"Reynolds\" > 150 AND step IN (1, 3) \
         GROUP BY step",
    )
    .await;
    assert!(
        found.contains("columns=[step, v_x], frames=2, pieces=2"),
        "{found}"
    );
    assert!(!found.contains("FilterExec"), "{found}");
    let found = plan("SELECT step FROM frames WHERE time > 0.5 AND trajectory = 0").await;
    assert!(
        found.contains("frames=10") && found.contains("FilterExec"),
        "{found}"
    );
    let found = plan("SELECT u FROM frames LIMIT 3").await;
    assert!(found.contains("frames=3"), "{found}");
}

#[tokio::test]
async fn what_is_no_field_is_refused_with_a_reason() {
    let database = database().await;
    let refused = async |query: &str| database.sql(query).await.unwrap_err().to_string();
    let error = refused("SELECT field_mean(step) FROM frames").await;
    assert!(
        error.contains("field_mean(field) takes field columns"),
        "{error}"
    );
    let error = refused("SELECT band_energy(u, 2, 1) FROM frames").await;
    assert!(error.contains("edges"), "{error}");
    let error = refused("SELECT band_energy(u) FROM frames").await;
    assert!(error.contains("band_energy(field, low, high)"), "{error}");
    let again = database.add_dataset(None, plane("memory:///other").await);
    assert!(again.unwrap_err().to_string().contains("--data NAME=ROOT"));
}

#[tokio::test]
async fn a_data_set_that_changed_is_not_mixed_with_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let dataset = plane(root).await;
    let source = FrameSource::at(dataset.location().clone(), "0123".into());
    let error = source.scanner().await.unwrap_err().to_string();
    assert!(error.contains("changed while it was being read"), "{error}");
    let source = FrameSource::at(dataset.location().clone(), dataset.manifest().id());
    assert_eq!(
        source.scanner().await.unwrap().dataset().manifest(),
        dataset.manifest()
    );
}

/// 2 × 5 values in two trajectories: resampled are trajectories, not frames.
#[tokio::test]
async fn intervals_are_over_trajectories() {
    let database = database().await;
    let query =
        "SELECT bootstrap(field_mean(u), trajectory)['low'] FROM frames WHERE split = 'train'";
    close(&numbers(&database, query).await, &[2.0]);
    let query =
        "SELECT bootstrap(field_mean(u), trajectory)['high'] FROM frames WHERE split = 'train'";
    close(&numbers(&database, query).await, &[12.0]);
    let query = "SELECT count(ends['low']) FROM (SELECT bootstrap(field_mean(u), trajectory) AS ends FROM frames \
        WHERE trajectory = 0 GROUP BY split)";
    let answer = database.sql(query).await.unwrap();
    assert_eq!(answer[0].column(0).as_primitive::<Int64Type>().value(0), 0);
}

#[tokio::test]
async fn names_can_be_completed() {
    let names = database().await.names().await.unwrap();
    for name in [
        "frames",
        "v_x",
        "band_energy",
        "bootstrap",
        "sign_flip",
        "SELECT",
    ] {
        assert!(names.iter().any(|held| held == name), "{name}: {names:?}");
    }
}
