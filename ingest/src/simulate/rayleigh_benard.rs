//! Rayleigh–Bénard convection: a layer heated from below, on x ∈ [0, 4) and y ∈ (0, 1), in the variables of The Well's
//! `rayleigh_benard`, but between free-slip walls. Lengths are in heights of the layer, times in those of a free fall:
//!
//! ∂u/∂t + u·∇u = −∇p + b ŷ + √(Pr/Ra) ∇²u,   ∂b/∂t + u·∇b = 1/√(Ra Pr) ∇²b,   b = 1 below and 0 above.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::flow::{Flow, Setup};
use crate::{Error, Result};

/// Parts of the largest Rayleigh number whose boundary layers the grid resolves.
const PARTS: [f64; 3] = [0.1, 0.3, 1.0];
const PRANDTL: [f64; 3] = [0.5, 1.0, 2.0];

/// Width over height.
const WIDTH: f64 = 4.0;

/// Time between frames.
const INTERVAL: f64 = 0.5;

/// Draws a layer at rest with a few warm and cold places, from which convection grows.
pub(super) fn start(shape: &[usize], random: &mut ChaCha8Rng) -> Result<Flow> {
    let &[nx, ny] = shape else {
        return Err(Error::Simulation {
            what: "shape",
            found: format!("{shape:?}"),
            expected: "rayleigh-benard has 2 axes".into(),
        });
    };
    let part = *PARTS.choose(random).unwrap_or(&PARTS[0]);
    let rayleigh = part * resolved(ny);
    let prandtl = *PRANDTL.choose(random).unwrap_or(&PRANDTL[0]);
    let modes: Vec<Mode> = (0..random.random_range(3..=6))
        .map(|_| Mode::draw(random))
        .collect();
    let buoyancy: Vec<f64> = (0..nx * ny)
        .map(|i| {
            let (x, y) = (
                (i / ny) as f64 / nx as f64,
                ((i % ny) as f64 + 0.5) / ny as f64,
            );
            modes.iter().map(|mode| mode.at(x, y)).sum()
        })
        .collect();
    let still = vec![0.0; nx * ny];
    Flow::new(
        setup(shape, rayleigh, prandtl, WIDTH),
        &[still.clone(), still],
        &buoyancy,
    )
}

/// The Rayleigh number that so many points from wall to wall resolve: 32 resolve 10⁵, and layers at the walls are thinner
/// as its third root.
fn resolved(points: usize) -> f64 {
    1e5 * (points as f64 / 32.0).powi(3)
}

fn setup(shape: &[usize], rayleigh: f64, prandtl: f64, width: f64) -> Setup {
    Setup {
        shape: shape.to_vec(),
        domain: vec![(width, 0.0), (1.0, 0.0)],
        viscosity: (prandtl / rayleigh).sqrt(),
        diffusivity: 1.0 / (rayleigh * prandtl).sqrt(),
        interval: INTERVAL,
        parameters: BTreeMap::from([("Prandtl", prandtl), ("Rayleigh", rayleigh)]),
        convects: true,
    }
}

/// A warm and a cold place beside one another.
struct Mode {
    amplitude: f64,
    /// Waves along the layer, and half waves across it.
    numbers: [f64; 2],
    phase: f64,
}

impl Mode {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        Self {
            amplitude: random.random_range(0.01..0.05),
            numbers: [
                f64::from(random.random_range(1..=6_u8)),
                f64::from(random.random_range(1..=2_u8)),
            ],
            phase: random.random_range(0.0..2.0 * PI),
        }
    }

    /// `x` in widths, `y` in heights.
    fn at(&self, x: f64, y: f64) -> f64 {
        let [along, across] = self.numbers;
        self.amplitude * (2.0 * PI * along * x + self.phase).cos() * (PI * across * y).sin()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// A layer with one wave along it and half a wave across, too small to act on itself.
    fn layer(rayleigh: f64, prandtl: f64, width: f64) -> Flow {
        let (nx, ny) = (16, 12);
        let wave = |i: usize| {
            let (x, y) = (
                (i / ny) as f64 / nx as f64,
                ((i % ny) as f64 + 0.5) / ny as f64,
            );
            1e-11 * (2.0 * PI * x).cos() * (PI * y).sin()
        };
        let buoyancy: Vec<f64> = (0..nx * ny).map(wave).collect();
        let still = vec![0.0; nx * ny];
        let setup = setup(&[nx, ny], rayleigh, prandtl, width);
        Flow::new(setup, &[still.clone(), still], &buoyancy).unwrap()
    }

    /// Size of the vertical velocity.
    fn size(flow: &Flow) -> f64 {
        let vertical = &flow.snapshot().unwrap().velocity[1];
        vertical.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    /// Rate at which the size grows, once the faster decaying of the two solutions is gone.
    fn rate(flow: &mut Flow) -> f64 {
        for _ in 0..60 {
            assert!(flow.advance().unwrap());
        }
        let (before, time) = (size(flow), flow.time);
        for _ in 0..4 {
            assert!(flow.advance().unwrap());
        }
        (size(flow) / before).ln() / (flow.time - time)
    }

    /// The growth rate σ of a wave with k² = kx² + π² solves σ² + (ν + κ) k² σ + ν κ k⁴ = kx² / k² (Rayleigh 1916, free boundaries).
    #[test]
    fn a_small_wave_grows_as_linear_theory_says() {
        let cases: [[f64; 3]; 3] = [[3e3, 1.0, 2.0], [2e3, 0.5, 2.5], [5e3, 2.0, 4.0]];
        for [rayleigh, prandtl, width] in cases {
            let viscosity = (prandtl / rayleigh).sqrt();
            let diffusivity = 1.0 / (rayleigh * prandtl).sqrt();
            let along = 2.0 * PI / width;
            let square = along * along + PI * PI;
            let half = 0.5 * (viscosity + diffusivity) * square;
            let product = viscosity * diffusivity * square * square - along * along / square;
            let expected = (half * half - product).sqrt() - half;
            let found = rate(&mut layer(rayleigh, prandtl, width));
            assert!(
                (found - expected).abs() < 1e-4 * expected.abs(),
                "{found} {expected}"
            );
        }
    }

    /// Convection begins at Ra = 27 π⁴ / 4, with k = π / √2.
    #[test]
    fn convection_begins_at_the_critical_rayleigh_number() {
        let critical = 27.0 * PI.powi(4) / 4.0;
        let width = 2.0 * PI / (PI / 2.0_f64.sqrt());
        assert!(rate(&mut layer(critical * 0.98, 1.0, width)) < 0.0);
        assert!(rate(&mut layer(critical * 1.02, 1.0, width)) > 0.0);
    }

    /// Heat enters below and leaves above: the fully grown flow carries more than conduction does, and stays within its
    /// walls' temperatures but for the solver's own errors.
    #[test]
    fn a_grown_flow_carries_heat_up() {
        use rand::SeedableRng as _;
        let mut flow = start(&[64, 32], &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        for _ in 0..40 {
            assert!(flow.advance().unwrap());
        }
        let snapshot = flow.snapshot().unwrap();
        let lifted = snapshot.velocity[1].iter().zip(&snapshot.tracer);
        let flux = lifted.map(|(v, b)| v * b).sum::<f64>() / snapshot.tracer.len() as f64;
        let (rayleigh, prandtl) = (flow.parameters["Rayleigh"], flow.parameters["Prandtl"]);
        let nusselt = 1.0 + flux * (rayleigh * prandtl).sqrt();
        assert!(nusselt > 2.0 && nusselt < 60.0, "{nusselt}");
        assert!(snapshot.tracer.iter().all(|b| (-0.2..1.2).contains(b)));
        let through: f64 = snapshot.velocity[1].iter().sum();
        assert!(through.abs() < 1e-9, "{through}");
    }
}
