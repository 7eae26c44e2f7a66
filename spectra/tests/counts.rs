//! Modes in The Well's three bands of 238 grids, counted by its own code (the-well 1.2, PyTorch 2.15 on a CPU), which
//! wrote `tests/data/band_counts.json`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use wellspring_spectra::{Bins, Transform};

fn numbers(list: &Value) -> Vec<u64> {
    let numbers = list.as_array().unwrap().iter();
    numbers.map(|number| number.as_u64().unwrap()).collect()
}

#[test]
fn every_mode_falls_into_the_band_where_the_well_has_it() {
    let text = std::fs::read_to_string("tests/data/band_counts.json").unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let grids = file["counts"].as_array().unwrap();
    assert_eq!(grids.len(), 238);
    let differs = grids.iter().filter_map(|grid| {
        let shape: Vec<usize> = numbers(&grid["shape"])
            .iter()
            .map(|&n| n as usize)
            .collect();
        let expected: Vec<f64> = numbers(&grid["modes"]).iter().map(|&n| n as f64).collect();
        let bands = Bins::bands(&Transform::new(&shape).unwrap());
        (bands.counts() != expected)
            .then(|| format!("{shape:?}: {:?}, not {expected:?}", bands.counts()))
    });
    let differs: Vec<String> = differs.collect();
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

/// A grid that is in no list, counted in the same way.
#[test]
fn another_grid_agrees_too() {
    let bands = Bins::bands(&Transform::new(&[96, 96]).unwrap());
    assert_eq!(bands.counts(), [49.0, 820.0, 8347.0]);
}
