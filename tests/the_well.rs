//! The Well's other data sets, in miniature and with their quirks, from `data/the_well`
//! (`data/make/the_well.py` wrote them).

use serde_json::Value;
use wellspring_store::Boundary;

use crate::paper::{Expected, OPEN, PERIODIC, WALL};
use crate::program::{Said, Workplace};

fn goes(
    name: &str,
    axes: &[(&str, [Boundary; 2])],
    channels: usize,
    constants: usize,
) -> (Workplace, Said) {
    let place = Workplace::new();
    place.lay(&[(&format!("the_well/{name}"), "src")]);
    let expected = Expected {
        name,
        axes,
        channels,
        constants,
    };
    let said = expected.goes_all_the_way(&place);
    (place, said)
}

fn trajectories(place: &Workplace) -> Vec<Value> {
    let manifest = place.manifest("ds");
    manifest["splits"]["train"]["trajectories"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn acoustic_scattering() {
    let axes = [("x", [Boundary::Open, Boundary::Wall]), ("y", WALL)];
    goes("acoustic_scattering_maze", &axes, 3, 2);
}

#[test]
fn helmholtz_staircase() {
    // The wall is a stair in a corner: no side is all wall.
    let (place, _) = goes("helmholtz_staircase", &[("x", OPEN), ("y", OPEN)], 2, 1);
    assert!(trajectories(&place)[0]["parameters"]["omega"].is_number());
}

#[test]
fn planetswe() {
    let (place, _) = goes("planetswe", &[("theta", OPEN), ("phi", PERIODIC)], 3, 0);
    let grid = &place.manifest("ds")["schema"]["grid"];
    assert_eq!(grid["kind"], "equiangular");
    let theta = grid["axes"][0]["coordinates"].as_array().unwrap();
    assert!((theta[7].as_f64().unwrap() - 3.0).abs() < 1e-6, "{theta:?}");
}

#[test]
fn convective_envelope_rsg() {
    let axes = [("r", OPEN), ("theta", OPEN), ("phi", PERIODIC)];
    let (place, _) = goes("convective_envelope_rsg", &axes, 6, 0);
    let grid = &place.manifest("ds")["schema"]["grid"];
    assert_eq!(grid["kind"], "spherical");
    let radius = grid["axes"][0]["coordinates"].as_array().unwrap();
    let ratio = |i: usize| radius[i + 1].as_f64().unwrap() / radius[i].as_f64().unwrap();
    assert!((ratio(0) / ratio(6) - 1.0).abs() < 1e-5, "{radius:?}");
}

#[test]
fn post_neutron_star_merger() {
    let axes = [("log_r", OPEN), ("theta", OPEN), ("phi", PERIODIC)];
    let (_, said) = goes("post_neutron_star_merger", &axes, 12, 0);
    said.tells(&["additional_information/spacetime_metric"]);
}

#[test]
fn viscoelastic_instability() {
    let (place, _) = goes(
        "viscoelastic_instability",
        &[("x", PERIODIC), ("y", WALL)],
        8,
        0,
    );
    let mut frames: Vec<_> = trajectories(&place)
        .iter()
        .map(|one| one["frames"].as_u64().unwrap())
        .collect();
    frames.sort_unstable();
    assert_eq!(frames, [20, 60]);
}

#[test]
fn rayleigh_taylor_instability() {
    let axes = [("x", PERIODIC), ("y", PERIODIC), ("z", WALL)];
    let (place, _) = goes("rayleigh_taylor_instability", &axes, 4, 0);
    let query = "SELECT trajectory, max(time) AS ends FROM frames WHERE split = 'train' \
        GROUP BY trajectory ORDER BY trajectory";
    let rows = place.ask_frames("ds", query);
    let ends: Vec<_> = rows
        .iter()
        .map(|row| row["ends"].as_f64().unwrap())
        .collect();
    assert_eq!(ends, [1.25, 2.5]);
}

#[test]
fn mhd() {
    let axes = [("x", PERIODIC), ("y", PERIODIC), ("z", PERIODIC)];
    let (place, said) = goes("MHD_64", &axes, 7, 0);
    said.tells(&["MHD_64.hdf5", "Ms"]);
    let held = trajectories(&place);
    let sonic: Vec<_> = held
        .iter()
        .map(|one| one["parameters"]["Ms"].as_f64().unwrap() as f32)
        .collect();
    assert_eq!(sonic, [0.5, 0.7]);
}

#[test]
fn gray_scott_reaction_diffusion() {
    let axes = [("x", PERIODIC), ("y", PERIODIC)];
    let (place, _) = goes("gray_scott_reaction_diffusion", &axes, 2, 0);
    assert_eq!(trajectories(&place)[1]["parameters"]["F"], 0.014);
}

#[test]
fn euler_multi_quadrants() {
    for (name, ends) in [("openBC", OPEN), ("periodicBC", PERIODIC)] {
        let name = format!("euler_multi_quadrants_{name}");
        goes(&name, &[("x", ends), ("y", ends)], 5, 0);
    }
    // Files of both in one folder are not a data set.
    let place = Workplace::new();
    for name in ["openBC", "periodicBC"] {
        let folder = format!("the_well/euler_multi_quadrants_{name}/data/train");
        place.lay(&[(&folder, "src/data/train")]);
    }
    let said = place.run("ingest src ds");
    said.refuses(&["euler_multi_quadrants_periodicBC.hdf5"]);
}

#[test]
fn turbulent_radiative_layer_3d() {
    let axes = [("x", PERIODIC), ("y", PERIODIC), ("z", OPEN)];
    goes("turbulent_radiative_layer_3D", &axes, 5, 0);
}

#[test]
fn turbulence_gravity_cooling_in_boxes_of_two_sizes() {
    let axes = [("x", OPEN), ("y", OPEN), ("z", OPEN)];
    let (place, _) = goes("turbulence_gravity_cooling", &axes, 6, 0);
    // The last of eight points of boxes of 130 and 60, each with its own trajectory.
    for one in trajectories(&place) {
        let ours = match one["source"].as_str().unwrap().contains("130") {
            true => "113.75",
            false => "52.5",
        };
        let whole = place.manifest("ds")["schema"]["grid"].to_string() + &one.to_string();
        assert!(whole.contains(ours), "{one}");
    }
}
