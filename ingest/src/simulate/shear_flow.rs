//! Shear flow: two layers sliding past one another, as in The Well's `shear_flow`, on x ∈ [0, 1) and
//! y ∈ [−1, 1), with Reynolds and Schmidt numbers drawn for each trajectory.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;

use super::flow::{Flow, Setup};
use crate::{Error, Result};

const REYNOLDS: [f64; 3] = [2e3, 5e3, 1e4];
const SCHMIDT: [f64; 3] = [0.5, 1.0, 2.0];

/// Time between frames: the layers pass a tenth of the box.
const INTERVAL: f64 = 0.1;

/// Draws a flow: u = ½(tanh((y−½)/w) − tanh((y+½)/w)) + ½ along x, the tracer likewise, and
/// a few waves of v that grow at the two interfaces.
pub(super) fn start(shape: &[usize], random: &mut ChaCha8Rng) -> Result<Flow> {
    let &[nx, ny] = shape else {
        return Err(Error::Simulation {
            what: "shape",
            found: format!("{shape:?}"),
            expected: "shear-flow has 2 axes".into(),
        });
    };
    let reynolds = *REYNOLDS.choose(random).unwrap_or(&REYNOLDS[0]);
    let schmidt = *SCHMIDT.choose(random).unwrap_or(&SCHMIDT[0]);
    let width = random.random_range(0.06..0.14);
    let waves: Vec<Wave> = (0..random.random_range(1..=4))
        .map(|_| Wave::draw(random))
        .collect();
    let grid = || {
        (0..nx * ny).map(|i| {
            (
                (i / ny) as f64 / nx as f64,
                -1.0 + 2.0 * (i % ny) as f64 / ny as f64,
            )
        })
    };
    let layer = |y: f64| 0.5 * (((y - 0.5) / width).tanh() - ((y + 0.5) / width).tanh()) + 0.5;
    let along = grid().map(|(_, y)| layer(y)).collect();
    let across = grid()
        .map(|(x, y)| waves.iter().map(|wave| wave.at(x, y)).sum())
        .collect();
    let tracer: Vec<f64> = grid().map(|(_, y)| 0.5 + layer(y)).collect();
    let setup = Setup {
        shape: shape.to_vec(),
        domain: vec![(1.0, 0.0), (2.0, -1.0)],
        viscosity: 1.0 / reynolds,
        diffusivity: 1.0 / (reynolds * schmidt),
        interval: INTERVAL,
        parameters: BTreeMap::from([("Reynolds", reynolds), ("Schmidt", schmidt)]),
        convects: false,
    };
    Flow::new(setup, &[along, across], &tracer)
}

/// A push across the layers at one of the interfaces.
struct Wave {
    amplitude: f64,
    number: f64,
    phase: f64,
    centre: f64,
}

impl Wave {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        Self {
            amplitude: random.random_range(0.02..0.1),
            number: f64::from(random.random_range(1..=4_u8)),
            phase: random.random_range(0.0..2.0 * PI),
            centre: *[-0.5, 0.5].choose(random).unwrap_or(&0.5),
        }
    }

    fn at(&self, x: f64, y: f64) -> f64 {
        let near = (-((y - self.centre) / 0.1).powi(2)).exp();
        self.amplitude * (2.0 * PI * self.number * x + self.phase).sin() * near
    }
}
