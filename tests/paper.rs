//! The six data sets of the paper, in miniature: The Well's fields and boundaries, from HDF5 to metrics.

use std::collections::BTreeMap;

use wellspring_ingest::{Packing, WaveField, Waves};
use wellspring_store::{Boundary, TensorOrder};

use crate::program::{SMALL, Workplace};

pub(crate) const PERIODIC: [Boundary; 2] = [Boundary::Periodic; 2];
pub(crate) const OPEN: [Boundary; 2] = [Boundary::Open; 2];
pub(crate) const WALL: [Boundary; 2] = [Boundary::Wall; 2];

pub(crate) fn waves(
    name: &str,
    axes: &[(&str, usize, [Boundary; 2])],
    fields: &[(&str, TensorOrder)],
) -> Waves {
    Waves {
        name: name.into(),
        axes: axes
            .iter()
            .map(|&(name, points, sides)| (name.to_owned(), points, sides))
            .collect(),
        fields: fields
            .iter()
            .map(|&(name, order)| WaveField::new(name, order))
            .collect(),
        parameters: BTreeMap::from([("Reynolds".to_owned(), 1e4)]),
        trajectories: 2,
        frames: 8,
        packing: Packing::Contiguous,
    }
}

pub(crate) const FLOW: [(&str, TensorOrder); 3] = [
    ("tracer", TensorOrder::Scalar),
    ("pressure", TensorOrder::Scalar),
    ("velocity", TensorOrder::Vector),
];

pub(crate) const SUPERNOVA: [(&str, TensorOrder); 4] = [
    ("density", TensorOrder::Scalar),
    ("pressure", TensorOrder::Scalar),
    ("temperature", TensorOrder::Scalar),
    ("velocity", TensorOrder::Vector),
];

/// Through ingest, a training step and an evaluation, with The Well's fields and boundaries.
fn goes_all_the_way(waves: &Waves, channels: usize) {
    let place = Workplace::new();
    for (seed, split) in ["train", "valid", "test"].iter().enumerate() {
        let path = place.path(&format!("src/data/{split}/{}.hdf5", waves.name));
        waves.write(&path, seed as u64).unwrap();
    }
    place.do_it("ingest src ds");
    place.do_it("verify ds");
    let text = std::fs::read_to_string(place.path("ds/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["schema"]["name"], *waves.name);
    let axes = manifest["schema"]["grid"]["axes"].as_array().unwrap();
    for (axis, (name, _, sides)) in axes.iter().zip(&waves.axes) {
        assert_eq!(axis["name"], **name);
        let sides = sides.map(|side| format!("{side:?}").to_lowercase());
        assert_eq!(axis["boundary"], serde_json::json!(sides));
    }
    assert_eq!(manifest["statistics"].as_object().unwrap().len(), channels);
    place.do_it(&format!(
        "train --out run {SMALL} --set train.steps=1 --set train.batch=1"
    ));
    place.do_it("eval run ds -r results --rollout 2 --schedule 8");
    let rows = place.ask("results", "SELECT DISTINCT field FROM metrics");
    assert_eq!(rows.len(), channels, "{rows:?}");
}

#[test]
fn active_matter() {
    let fields = [
        ("concentration", TensorOrder::Scalar),
        ("velocity", TensorOrder::Vector),
        ("D", TensorOrder::Tensor),
        ("E", TensorOrder::Tensor),
    ];
    let axes = [("x", 32, PERIODIC), ("y", 32, PERIODIC)];
    goes_all_the_way(&waves("active_matter", &axes, &fields), 11);
}

#[test]
fn rayleigh_benard() {
    let fields = [
        ("buoyancy", TensorOrder::Scalar),
        ("pressure", TensorOrder::Scalar),
        ("velocity", TensorOrder::Vector),
    ];
    let axes = [("x", 64, PERIODIC), ("y", 16, WALL)];
    goes_all_the_way(&waves("rayleigh_benard", &axes, &fields), 4);
}

#[test]
fn shear_flow() {
    let axes = [("x", 16, PERIODIC), ("y", 32, PERIODIC)];
    goes_all_the_way(&waves("shear_flow", &axes, &FLOW), 4);
}

#[test]
fn turbulent_radiative_layer_2d() {
    let fields = [
        ("density", TensorOrder::Scalar),
        ("pressure", TensorOrder::Scalar),
        ("velocity", TensorOrder::Vector),
    ];
    let axes = [("x", 16, PERIODIC), ("y", 48, OPEN)];
    goes_all_the_way(&waves("turbulent_radiative_layer_2D", &axes, &fields), 4);
}

#[test]
fn supernova_explosion() {
    let axes = [("x", 16, OPEN), ("y", 16, OPEN), ("z", 16, OPEN)];
    goes_all_the_way(&waves("supernova_explosion", &axes, &SUPERNOVA), 6);
}

#[test]
fn turbulence_gravity_cooling() {
    let axes = [("x", 16, OPEN), ("y", 16, OPEN), ("z", 16, OPEN)];
    let waves = Waves {
        packing: Packing::Gzip(4),
        ..waves("turbulence_gravity_cooling", &axes, &SUPERNOVA)
    };
    goes_all_the_way(&waves, 6);
}

/// An axis of 66 points, as post_neutron_star_merger has: no patch divides it.
#[test]
fn an_axis_that_no_patch_divides() {
    let fields = [("density", TensorOrder::Scalar)];
    let axes = [("x", 16, OPEN), ("y", 16, WALL), ("z", 66, PERIODIC)];
    goes_all_the_way(&waves("post_neutron_star_merger", &axes, &fields), 1);
}
