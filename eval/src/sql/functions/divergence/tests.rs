//! Divergences of known flows, asked in SQL.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use wellspring_store::{
    Axis, Boundary, ChannelMoments, Compression, Dataset, DatasetWriter, Dtype, Frames, Location,
    Normalization, Schema, Split, SplitManifest, Statistics, TensorOrder, Trajectory,
    WriterOptions,
};

use crate::{Database, Format};

/// A test trajectory of two frames with the same flow v(x, y), which is a data set of this name.
async fn flow(name: &str, axes: [Axis; 2], v: impl Fn(f64, f64) -> [f64; 2]) -> Dataset {
    let points = axes.each_ref().map(|axis| axis.coordinates.clone());
    let sides = points.each_ref().map(Vec::len);
    let mut schema = Schema::periodic(
        name,
        &[("x", sides[0]), ("y", sides[1])],
        &[("v", TensorOrder::Vector)],
    );
    schema.grid.axes = axes.into();
    let statistics = ["v_x", "v_y"].map(|name| (name.to_owned(), ChannelMoments::default().into()));
    let options = WriterOptions {
        schema,
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::None,
        statistics: Statistics(BTreeMap::from(statistics)),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let root = Location::parse("memory:///flow").unwrap();
    let writer = DatasetWriter::create(&root, options).await.unwrap();
    let mut shard = writer.shard(Split::Test, 0).unwrap();
    for step in 0..2 {
        let components = [0, 1].iter().flat_map(|&component: &usize| {
            let places = points[0]
                .iter()
                .flat_map(|&x| points[1].iter().map(move |&y| (x, y)));
            places
                .map(|(x, y)| v(x, y)[component] as f32)
                .collect::<Vec<f32>>()
        });
        let frame = Frames::new(1, 1, 2, sides.to_vec(), components.collect()).unwrap();
        shard.push((0, step), f64::from(step), &frame).unwrap();
    }
    let held = Trajectory {
        source: "by hand".into(),
        frames: 2,
        ..Trajectory::default()
    };
    let held = SplitManifest {
        trajectories: vec![held],
        shards: vec![shard.finish().await.unwrap()],
        constants: None,
    };
    let splits = BTreeMap::from([(Split::Test, held)]);
    writer.finish(splits).await.unwrap();
    Dataset::open(&root).await.unwrap()
}

fn axis(name: &str, coordinates: Vec<f64>, boundary: Boundary) -> Axis {
    Axis {
        name: name.into(),
        coordinates,
        boundary: [boundary; 2],
    }
}

fn even(points: u32, step: f64) -> Vec<f64> {
    (0..points).map(|i| 1.0 + step * f64::from(i)).collect()
}

fn periodic(points: u32, step: f64) -> [Axis; 2] {
    ["x", "y"].map(|name| axis(name, even(points, step), Boundary::Periodic))
}

async fn over(datasets: impl IntoIterator<Item = Dataset>) -> Database {
    let database = Database::new().unwrap();
    for dataset in datasets {
        database.add_dataset(None, dataset).unwrap();
    }
    database
}

/// The numbers of the first row.
async fn row(database: &Database, query: &str) -> Vec<f64> {
    let answer = database.sql(query).await.unwrap();
    let text = String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap();
    let cells = text.lines().nth(1).unwrap().split(',');
    cells.map(|cell| cell.parse().unwrap()).collect()
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 2e-6, "{found} {expected}");
}

#[tokio::test]
async fn a_flow_of_vortices_has_none() {
    let k = TAU / (16.0 * 0.3);
    let vortices = |x: f64, y: f64| {
        let (x, y) = (k * x, k * y);
        [x.cos() * y.sin(), -x.sin() * y.cos()]
    };
    let database = over([flow("vortices", periodic(16, 0.3), vortices).await]).await;
    let query = "SELECT field_rms(divergence(v_x, v_y)), field_rms(divergence(v_x, v_x)), field_rms(v_x) FROM frames";
    let found = row(&database, query).await;
    near(found[0], 0.0);
    near(found[2], 0.5);
    // One component along both axes is another flow: cos(x + y), with the factor of central differences.
    let slope = (k * 0.3).sin() / 0.3;
    near(found[1], slope / 2.0_f64.sqrt());
}

/// The derivative of sin(kx) is, across the seam too, cos(kx) with the factor of central differences.
#[tokio::test]
async fn a_periodic_wave_has_that_of_its_central_differences() {
    let k = TAU / (12.0 * 0.25);
    let database =
        over([flow("wave", periodic(12, 0.25), |x, _| [(k * x).sin(), 3.0]).await]).await;
    let query = "SELECT field_rms(divergence(v_x, v_y)), field_max(divergence(v_x, v_y)), \
        band_energy(divergence(v_x, v_y), 0.4, 0.6) FROM frames";
    let found = row(&database, query).await;
    let slope = (k * 0.25).sin() / 0.25;
    near(found[0], slope / 2.0_f64.sqrt());
    assert!(found[1] <= slope + 1e-6 && found[1] > 0.9 * slope);
    // A field like its arguments: its one wave has 2π / 12 radians per cell.
    near(found[2], slope * slope / 2.0);
}

/// v = (x², x y) between walls and open ends has 3x, at uneven points and at the ends as well.
#[tokio::test]
async fn between_walls_it_is_one_sided_and_exact_for_parabolas() {
    let uneven: Vec<f64> = (0..9).map(|i| (0.2 * f64::from(i)).exp()).collect();
    for x in [even(9, 0.5), uneven] {
        let last = x[8];
        let mean = x.iter().sum::<f64>() / 9.0;
        let axes = [
            axis("x", x, Boundary::Wall),
            axis("y", even(5, 0.1), Boundary::Open),
        ];
        let database = over([flow("jet", axes, |x, y| [x * x, x * y]).await]).await;
        let query = "SELECT field_min(d) / 3, field_max(d) / 3, field_mean(d) / 3 \
            FROM (SELECT divergence(v_x, v_y) AS d FROM frames)";
        let found = row(&database, query).await;
        for (found, expected) in found.into_iter().zip([1.0, last, mean]) {
            assert!((found / expected - 1.0).abs() < 2e-5, "{found} {expected}");
        }
    }
}

#[tokio::test]
async fn what_has_no_divergence_is_refused_with_words() {
    let still = |_: f64, _: f64| [0.0, 0.0];
    let mut sphere = flow("sphere", periodic(8, 1.0), still)
        .await
        .manifest()
        .clone();
    sphere.schema.grid.kind = "spherical".into();
    assert_eq!(crate::sql::spacing::Spacing::of(&sphere.schema.grid), None);
    let one = flow("one", periodic(8, 1.0), still).await;
    let other = flow("other", periodic(8, 2.0), still).await;
    let database = over([one, other]).await;
    for (query, words) in [
        (
            "SELECT divergence(v_x) FROM frames",
            "each axis of the grid, 2, and got 1",
        ),
        (
            "SELECT divergence(v_x, v_y, v_x) FROM frames",
            "2, and got 3",
        ),
        (
            "SELECT divergence(v_x, step) FROM frames",
            "takes field columns",
        ),
        (
            "SELECT divergence(v_x, field_rms(v_y)) FROM frames",
            "takes field columns",
        ),
        ("SELECT divergence() FROM frames", "divergence"),
        (
            "SELECT divergence(a.v_x, b.v_y) FROM one.frames a JOIN other.frames b USING (split, trajectory, step)",
            "has another",
        ),
    ] {
        let error = database.sql(query).await.unwrap_err().to_string();
        assert!(error.contains(words), "{query}: {error}");
    }
    let none = "SELECT count(*), count(divergence(b.v_x, b.v_y)) FROM frames a \
        LEFT JOIN frames b ON b.split = a.split AND b.step = a.step + 1";
    assert_eq!(row(&database, none).await, [2.0, 1.0]);
}
