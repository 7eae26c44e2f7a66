//! The six data sets of the paper, in miniature: The Well's fields and boundaries, from HDF5 to metrics.

use std::collections::BTreeMap;

use wellspring_ingest::{Packing, WaveField, Waves};
use wellspring_store::{Boundary, TensorOrder};

use crate::program::{Said, Workplace};

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

/// What of a data set must be in its manifest: its name, its axes with what happens at their ends, and
/// how many channels it has, constant ones included.
pub(crate) struct Expected<'a> {
    pub(crate) name: &'a str,
    pub(crate) axes: &'a [(&'a str, [Boundary; 2])],
    pub(crate) channels: usize,
    pub(crate) constants: usize,
}

impl Expected<'_> {
    /// Through ingest, training steps and an evaluation, from `src` to `ds`.
    pub(crate) fn goes_all_the_way(&self, place: &Workplace) -> Said {
        let said = place.do_it("ingest src ds");
        place.do_it("verify ds");
        let manifest = place.manifest("ds");
        assert_eq!(manifest["schema"]["name"], self.name);
        let axes = manifest["schema"]["grid"]["axes"].as_array().unwrap();
        assert_eq!(axes.len(), self.axes.len());
        for (axis, (name, sides)) in axes.iter().zip(self.axes) {
            assert_eq!(axis["name"], *name);
            let sides = sides.map(|side| format!("{side:?}").to_lowercase());
            assert_eq!(axis["boundary"], serde_json::json!(sides), "{name}");
        }
        let statistics = manifest["statistics"].as_object().unwrap().len();
        assert_eq!(statistics, self.channels + self.constants);
        place.train_and_evaluate("ds", "");
        let rows = place.ask("ds-results", "SELECT DISTINCT field FROM metrics");
        assert_eq!(rows.len(), self.channels, "{rows:?}");
        said
    }
}

/// Through ingest, training steps and an evaluation, with The Well's fields and boundaries.
fn goes_all_the_way(waves: &Waves, channels: usize) {
    let place = Workplace::new();
    for (seed, split) in ["train", "valid", "test"].iter().enumerate() {
        let path = place.path(&format!("src/data/{split}/{}.hdf5", waves.name));
        waves.write(&path, seed as u64).unwrap();
    }
    let axes = waves
        .axes
        .iter()
        .map(|(name, _, sides)| (name.as_str(), *sides));
    let expected = Expected {
        name: &waves.name,
        axes: &axes.collect::<Vec<_>>(),
        channels,
        constants: 0,
    };
    expected.goes_all_the_way(&place);
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
