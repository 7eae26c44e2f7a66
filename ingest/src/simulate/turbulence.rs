//! Decaying turbulence: a random, divergence-free velocity on a cube of side 2π with energy around the
//! fourth wavenumber, a tracer of one wave, and the lowest viscosity that the grid resolves.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use wellspring_spectra::{Complex, Transform};

use super::flow::{Flow, Setup};
use crate::Result;

/// Wave with the most energy at the start.
const PEAK: f64 = 4.0;

/// Time between frames, in units of side over speed.
const INTERVAL: f64 = 0.1;

/// Draws a flow with unit root-mean-square speed.
pub(super) fn start(shape: &[usize], random: &mut ChaCha8Rng) -> Result<Flow> {
    let transform = Transform::new(shape)?;
    let mut velocity = Vec::new();
    for _ in 0..shape.len() {
        velocity.push(component(&transform, random)?);
    }
    let cells = transform.cells() as f64;
    let speed = (velocity.iter().flatten().map(|u| u * u).sum::<f64>() / cells).sqrt();
    velocity.iter_mut().flatten().for_each(|u| *u /= speed);
    let phase = random.random_range(0.0..2.0 * PI);
    let depth: usize = shape[1..].iter().product();
    let along = |i: usize| (2.0 * PI * (i / depth) as f64 / shape[0] as f64 + phase).sin();
    let tracer: Vec<f64> = (0..transform.cells()).map(along).collect();
    let coarsest = shape.iter().copied().min().unwrap_or(1) as f64;
    // Grid Reynolds number: 32 points resolve 160, in proportion beyond.
    let reynolds = 5.0 * coarsest * random.random_range(0.7..1.3);
    let schmidt = random.random_range(0.7..1.3);
    let setup = Setup {
        shape: shape.to_vec(),
        domain: vec![(2.0 * PI, 0.0); shape.len()],
        viscosity: 1.0 / reynolds,
        diffusivity: 1.0 / (reynolds * schmidt),
        interval: INTERVAL,
        parameters: BTreeMap::from([("Reynolds", reynolds), ("Schmidt", schmidt)]),
        convects: false,
    };
    Flow::new(setup, &velocity, &tracer)
}

/// White noise shaped to k² exp(−(k/PEAK)²) in amplitude: energy ∝ k⁴ below the peak.
fn component(transform: &Transform, random: &mut ChaCha8Rng) -> Result<Vec<f64>> {
    let noise: Vec<f64> = (0..transform.cells())
        .map(|_| random.random_range(-1.0..1.0))
        .collect();
    let mut modes = transform.forward(&noise)?;
    let shape = transform.shape();
    let extents = transform.modes();
    let per_axis: Vec<Vec<i64>> = (0..shape.len()).map(|axis| transform.waves(axis)).collect();
    for (mode, x) in modes.iter_mut().enumerate() {
        let (mut rest, mut square) = (mode, 0.0);
        for axis in (0..shape.len()).rev() {
            square += (per_axis[axis][rest % extents[axis]] as f64).powi(2);
            rest /= extents[axis];
        }
        *x = if square == 0.0 {
            Complex::default()
        } else {
            *x * (square * (-square / PEAK.powi(2)).exp())
        };
    }
    Ok(transform.inverse(modes)?)
}
