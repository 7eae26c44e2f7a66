//! Spectra and band errors against The Well's own code, which wrote `tests/data/*.safetensors`:
//! `truth` and `prediction` (T, *space, C), `spectrum` (T, bins, C) and its `spectrum.bins`,
//! `mse.I` and `nmse.I` (T, C) of band I.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use safetensors::SafeTensors;
use wellspring_spectra::{Bins, Relative, Transform};

fn values(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    let bytes = view.data().chunks_exact(4);
    (
        view.shape().to_vec(),
        bytes
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
    )
}

fn close(found: f64, expected: f32, what: &str) {
    let expected = f64::from(expected);
    assert!(
        (found - expected).abs() <= 1e-5 * expected.abs(),
        "{what}: {found} {expected}"
    );
}

#[test]
fn spectra_equal_the_wells() {
    let bytes = std::fs::read("tests/data/metrics-2d.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (shape, truth) = values(&file, "truth");
    let (_, prediction) = values(&file, "prediction");
    let (_, edges) = values(&file, "spectrum.bins");
    let (_, spectrum) = values(&file, "spectrum");
    let (time, space, channels) = (shape[0], &shape[1..shape.len() - 1], shape[shape.len() - 1]);
    let cells: usize = space.iter().product();
    let transform = Transform::new(space).unwrap();
    let (isotropic, bands) = (Bins::isotropic(&transform), Bins::bands(&transform));
    assert_eq!(isotropic.edges(), edges);
    for t in 0..time {
        for c in 0..channels {
            let pick = |all: &[f32]| {
                (0..cells)
                    .map(|i| all[(t * cells + i) * channels + c])
                    .collect::<Vec<f32>>()
            };
            let (truth, prediction) = (pick(&truth), pick(&prediction));
            let residual: Vec<f32> = truth.iter().zip(&prediction).map(|(x, y)| y - x).collect();
            let power = |field: &[f32]| transform.power(field).unwrap();
            let (truth, prediction, residual) =
                (power(&truth), power(&prediction), power(&residual));
            for (bin, &found) in isotropic.spectrum(&truth).iter().enumerate() {
                close(
                    found,
                    spectrum[(t * (edges.len() - 1) + bin) * channels + c],
                    "spectrum",
                );
            }
            let errors = bands.errors(&residual, Relative::Truth.of(&truth, &prediction));
            for (i, band) in errors.iter().enumerate() {
                close(
                    band.mse,
                    values(&file, &format!("mse.{i}")).1[t * channels + c],
                    "mse",
                );
                close(
                    band.nmse,
                    values(&file, &format!("nmse.{i}")).1[t * channels + c],
                    "nmse",
                );
            }
        }
    }
}
