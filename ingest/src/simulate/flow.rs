//! An incompressible flow with a tracer on a periodic box of any number of axes, or between two walls.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use wellspring_spectra::{Complex, Transform};

use super::convection::{Mirror, Parity, background};
use crate::Result;

/// Modes of a field.
pub(super) type Modes = Vec<Complex<f64>>;

/// Fraction of a cell that the fastest particle may cross in a step.
const COURANT: f64 = 0.4;

/// Longest step of a buoyant flow, in times of a free fall, whose growth it must follow.
const FALL: f64 = 0.1;

/// The state of a simulation.
#[derive(Debug)]
pub(super) struct Flow {
    transform: Transform,
    /// Extent and lowest coordinate of each axis.
    pub(super) domain: Vec<(f64, f64)>,
    /// Radians per length, per axis and mode.
    waves: Vec<Vec<f64>>,
    /// Σ k² per mode.
    square: Vec<f64>,
    /// Whether a mode is kept after a product.
    kept: Vec<bool>,
    viscosity: f64,
    diffusivity: f64,
    /// Between walls, how the box is the mirrored one of what lies between them.
    mirror: Option<Mirror>,
    /// Modes of the velocity along each axis, then of the tracer.
    state: Vec<Modes>,
    pub(super) time: f64,
    /// Time between two frames.
    pub(super) interval: f64,
    /// The Well's scalars.
    pub(super) parameters: BTreeMap<&'static str, f64>,
}

/// A frame in space.
pub(super) struct Snapshot {
    pub(super) velocity: Vec<Vec<f64>>,
    pub(super) tracer: Vec<f64>,
    pub(super) pressure: Vec<f64>,
}

/// What a flow is made of.
pub(super) struct Setup {
    pub(super) shape: Vec<usize>,
    pub(super) domain: Vec<(f64, f64)>,
    pub(super) viscosity: f64,
    pub(super) diffusivity: f64,
    pub(super) interval: f64,
    pub(super) parameters: BTreeMap<&'static str, f64>,
    /// Whether free-slip walls end the last axis, of length 1, and the tracer is buoyant: it pulls along that axis, and is
    /// what the linear profile of [`background`] does not hold.
    pub(super) convects: bool,
}

impl Flow {
    /// Starts from fields in space: a velocity, made free of divergence, and a tracer.
    pub(super) fn new(mut setup: Setup, velocity: &[Vec<f64>], tracer: &[f64]) -> Result<Self> {
        let ndim = setup.shape.len();
        let mirror = setup.convects.then(|| Mirror::of(&setup.shape));
        let mut fields = velocity.to_vec();
        fields.push(tracer.to_vec());
        if let Some(mirror) = mirror {
            for (place, field) in fields.iter_mut().enumerate() {
                *field = mirror.unfold(field, Parity::of(place, ndim));
            }
            setup.shape[ndim - 1] *= 2;
            setup.domain[ndim - 1].0 *= 2.0;
        }
        let transform = Transform::new(&setup.shape)?;
        let modes = transform.modes();
        let per_axis: Vec<Vec<i64>> = (0..modes.len()).map(|axis| transform.waves(axis)).collect();
        let count: usize = modes.iter().product();
        let mut waves = vec![vec![0.0; count]; modes.len()];
        let mut kept = vec![true; count];
        for mode in 0..count {
            let mut rest = mode;
            for axis in (0..modes.len()).rev() {
                let wave = per_axis[axis][rest % modes[axis]];
                rest /= modes[axis];
                waves[axis][mode] = 2.0 * PI * wave as f64 / setup.domain[axis].0;
                kept[mode] &= 3 * wave.unsigned_abs() < setup.shape[axis] as u64;
            }
        }
        let square = (0..count)
            .map(|mode| waves.iter().map(|k| k[mode] * k[mode]).sum())
            .collect();
        let state = fields
            .iter()
            .map(|field| transform.forward(field))
            .collect::<Result<_, _>>()?;
        let mut flow = Self {
            transform,
            domain: setup.domain,
            waves,
            square,
            kept,
            viscosity: setup.viscosity,
            diffusivity: setup.diffusivity,
            mirror,
            state,
            time: 0.0,
            interval: setup.interval,
            parameters: setup.parameters,
        };
        let mut state = std::mem::take(&mut flow.state);
        state.iter_mut().for_each(|field| flow.cut(field));
        flow.project(&mut state);
        flow.state = state;
        Ok(flow)
    }

    /// Points along each axis, between the walls.
    pub(super) fn shape(&self) -> Vec<usize> {
        let mut shape = self.transform.shape().to_vec();
        if let (Some(_), Some(last)) = (self.mirror, shape.last_mut()) {
            *last /= 2;
        }
        shape
    }

    /// The coordinates of an axis. Between walls those of the last axis lie in the middle of their cells.
    pub(super) fn points(&self, axis: usize) -> Vec<f64> {
        let (extent, low) = self.domain[axis];
        let cells = self.transform.shape()[axis] as f64;
        let shift = match self.mirror {
            Some(_) if axis + 1 == self.ndim() => 0.5,
            _ => 0.0,
        };
        let points = 0..self.shape()[axis];
        points
            .map(|i| low + extent * (i as f64 + shift) / cells)
            .collect()
    }

    /// Whether an axis ends at walls.
    pub(super) fn has_walls(&self, axis: usize) -> bool {
        self.mirror.is_some() && axis + 1 == self.ndim()
    }

    fn ndim(&self) -> usize {
        self.waves.len()
    }

    /// The fields in space.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let mut fields = self.in_space(&self.state)?;
        let mut pressure = self
            .transform
            .inverse(self.pressure(&fields[..self.ndim()])?)?;
        if let Some(mirror) = self.mirror {
            let between = fields.iter().map(|field| mirror.fold(field)).collect();
            (fields, pressure) = (between, mirror.fold(&pressure));
            let heights = self.points(self.ndim() - 1);
            for (cell, tracer) in fields[self.ndim()].iter_mut().enumerate() {
                let still = background(heights[cell % heights.len()]);
                *tracer += still.buoyancy;
                pressure[cell] += still.pressure;
            }
        }
        let tracer = fields.pop().unwrap_or_default();
        Ok(Snapshot {
            velocity: fields,
            tracer,
            pressure,
        })
    }

    /// Goes on to the next frame; `false` when the state has left the numbers.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let end = self.time + self.interval;
        let mut left = self.interval;
        while left > 0.0 {
            let limit = self.step_limit()?;
            if !limit.is_finite() || limit < self.interval * 1e-5 {
                return Ok(false);
            }
            // Equal steps to the frame's time, so that none is tiny.
            let step = left / (left / limit).ceil().max(1.0);
            self.step(step)?;
            left = if left - step < 1e-9 * self.interval {
                0.0
            } else {
                left - step
            };
        }
        self.time = end;
        self.restore_symmetry()?;
        Ok(self
            .state
            .iter()
            .flatten()
            .all(|x| x.re.is_finite() && x.im.is_finite()))
    }

    /// Between walls, takes out what rounding has added to the half beyond them.
    fn restore_symmetry(&mut self) -> Result<()> {
        let Some(mirror) = self.mirror else {
            return Ok(());
        };
        let ndim = self.ndim();
        for place in 0..=ndim {
            let field = self.transform.inverse(self.state[place].clone())?;
            let field = mirror.unfold(&mirror.fold(&field), Parity::of(place, ndim));
            self.state[place] = self.transform.forward(&field)?;
        }
        Ok(())
    }

    fn step_limit(&self) -> Result<f64> {
        let velocity = self.in_space(&self.state[..self.ndim()])?;
        let cells: Vec<f64> = self
            .domain
            .iter()
            .zip(self.transform.shape())
            .map(|(axis, &n)| axis.0 / n as f64)
            .collect();
        let rate = (0..velocity[0].len())
            .map(|i| {
                velocity
                    .iter()
                    .zip(&cells)
                    .map(|(u, cell)| u[i].abs() / cell)
                    .sum::<f64>()
            })
            .fold(0.0, |most: f64, rate| {
                if rate.is_nan() {
                    f64::NAN
                } else {
                    most.max(rate)
                }
            });
        let longest = match self.mirror {
            Some(_) => FALL.min(self.interval),
            None => self.interval,
        };
        Ok((COURANT / rate).min(longest))
    }

    /// Takes one Runge–Kutta step of order 4 in the variables exp(ν k² t) u, which removes the diffusion.
    fn step(&mut self, dt: f64) -> Result<()> {
        let half = self.decay(dt / 2.0);
        let start = self.state.clone();
        let k1 = self.advection(&start)?;
        let k2 = self.advection(&damp(&axpy(&start, &k1, dt / 2.0), &half))?;
        let started = damp(&start, &half);
        let k3 = self.advection(&axpy(&started, &k2, dt / 2.0))?;
        let full = damp(&started, &half);
        let k4 = self.advection(&axpy(&full, &damp(&k3, &half), dt))?;
        for (field, out) in self.state.iter_mut().enumerate() {
            for (mode, x) in out.iter_mut().enumerate() {
                let h = half[field][mode];
                let slope = k1[field][mode] * (h * h)
                    + (k2[field][mode] + k3[field][mode]) * (2.0 * h)
                    + k4[field][mode];
                *x = full[field][mode] + slope * (dt / 6.0);
            }
        }
        Ok(())
    }

    /// exp(−ν k² dt) per field and mode.
    fn decay(&self, dt: f64) -> Vec<Vec<f64>> {
        let along = |rate: f64| {
            self.square
                .iter()
                .map(|k2| (-rate * k2 * dt).exp())
                .collect::<Vec<_>>()
        };
        let mut decay = vec![along(self.viscosity); self.ndim()];
        decay.push(along(self.diffusivity));
        decay
    }

    /// −(u·∇) of velocity and tracer, and what buoyancy adds, projected: all but diffusion.
    fn advection(&self, state: &[Modes]) -> Result<Vec<Modes>> {
        let ndim = self.ndim();
        let velocity = self.in_space(&state[..ndim])?;
        let mut rates = Vec::with_capacity(ndim + 1);
        for field in state {
            let mut rate = vec![0.0; velocity[0].len()];
            for (axis, u) in velocity.iter().enumerate() {
                let slope = self.transform.inverse(self.derivative(field, axis))?;
                for ((sum, u), slope) in rate.iter_mut().zip(u).zip(slope) {
                    *sum -= u * slope;
                }
            }
            let mut modes = self.transform.forward(&rate)?;
            self.cut(&mut modes);
            rates.push(modes);
        }
        if self.mirror.is_some() {
            // The tracer pulls along the last axis, and that velocity moves the linear profile, whose slope is −1.
            for (to, from) in [(ndim - 1, ndim), (ndim, ndim - 1)] {
                let pairs = rates[to].iter_mut().zip(&state[from]);
                pairs.for_each(|(rate, pull)| *rate += pull);
            }
        }
        self.project(&mut rates);
        Ok(rates)
    }

    /// Pressure from ∇²p = −∂ᵢuⱼ ∂ⱼuᵢ, and + ∂b/∂z of a buoyant tracer, with mean zero.
    fn pressure(&self, velocity: &[Vec<f64>]) -> Result<Modes> {
        let ndim = self.ndim();
        let mut pressure = vec![Complex::default(); self.square.len()];
        for i in 0..ndim {
            for j in 0..ndim {
                let product: Vec<f64> = velocity[i]
                    .iter()
                    .zip(&velocity[j])
                    .map(|(a, b)| a * b)
                    .collect();
                let modes = self.transform.forward(&product)?;
                for (mode, p) in pressure.iter_mut().enumerate().skip(1) {
                    *p -= modes[mode]
                        * (self.waves[i][mode] * self.waves[j][mode] / self.square[mode]);
                }
            }
        }
        if self.mirror.is_some() {
            let slope = self.derivative(&self.state[ndim], ndim - 1);
            for (mode, p) in pressure.iter_mut().enumerate().skip(1) {
                *p -= slope[mode] / self.square[mode];
            }
        }
        self.cut(&mut pressure);
        Ok(pressure)
    }

    fn derivative(&self, field: &Modes, axis: usize) -> Modes {
        let waves = &self.waves[axis];
        field
            .iter()
            .zip(waves)
            .map(|(x, k)| Complex::new(-x.im * k, x.re * k))
            .collect()
    }

    /// Takes the part with divergence out of the velocity: u − k (k·u) / k².
    fn project(&self, state: &mut [Modes]) {
        let ndim = self.ndim();
        for mode in 1..self.square.len() {
            let along: Complex<f64> = (0..ndim)
                .map(|axis| state[axis][mode] * self.waves[axis][mode])
                .sum();
            for (axis, field) in state[..ndim].iter_mut().enumerate() {
                field[mode] -= along * (self.waves[axis][mode] / self.square[mode]);
            }
        }
    }

    fn cut(&self, field: &mut Modes) {
        for (x, &kept) in field.iter_mut().zip(&self.kept) {
            if !kept {
                *x = Complex::default();
            }
        }
    }

    fn in_space(&self, fields: &[Modes]) -> Result<Vec<Vec<f64>>> {
        Ok(fields
            .iter()
            .map(|field| self.transform.inverse(field.clone()))
            .collect::<Result<_, _>>()?)
    }
}

fn damp(fields: &[Modes], by: &[Vec<f64>]) -> Vec<Modes> {
    let each =
        |(field, by): (&Modes, &Vec<f64>)| field.iter().zip(by).map(|(x, d)| x * d).collect();
    fields.iter().zip(by).map(each).collect()
}

fn axpy(fields: &[Modes], slopes: &[Modes], dt: f64) -> Vec<Modes> {
    let each = |(field, slope): (&Modes, &Modes)| {
        field.iter().zip(slope).map(|(x, k)| x + k * dt).collect()
    };
    fields.iter().zip(slopes).map(each).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn taylor_green(n: usize, viscosity: f64) -> Flow {
        let at = |i: usize| 2.0 * PI * i as f64 / n as f64;
        let each = |f: &dyn Fn(f64, f64) -> f64| {
            (0..n * n)
                .map(|i| f(at(i / n), at(i % n)))
                .collect::<Vec<_>>()
        };
        let velocity = [
            each(&|x, y| x.cos() * y.sin()),
            each(&|x, y| -x.sin() * y.cos()),
        ];
        let setup = Setup {
            shape: vec![n, n],
            domain: vec![(2.0 * PI, 0.0); 2],
            viscosity,
            diffusivity: viscosity,
            interval: 0.5,
            parameters: BTreeMap::new(),
            convects: false,
        };
        Flow::new(setup, &velocity, &each(&|x, y| (x + 2.0 * y).sin())).unwrap()
    }

    /// Taylor and Green's vortices decay as exp(−2νt), and p = −¼(cos 2x + cos 2y) exp(−4νt).
    #[test]
    fn taylor_green_vortices_decay_as_they_must() {
        let mut flow = taylor_green(32, 0.05);
        let start = flow.snapshot().unwrap();
        for _ in 0..4 {
            assert!(flow.advance().unwrap());
        }
        let end = flow.snapshot().unwrap();
        let decay = (-2.0 * 0.05 * flow.time).exp();
        for (now, then) in end
            .velocity
            .iter()
            .flatten()
            .zip(start.velocity.iter().flatten())
        {
            assert!((now - then * decay).abs() < 1e-9, "{now} {then}");
        }
        let at = |i: usize| 2.0 * PI * i as f64 / 32.0;
        for (i, p) in end.pressure.iter().enumerate() {
            let expected =
                -0.25 * ((2.0 * at(i / 32)).cos() + (2.0 * at(i % 32)).cos()) * decay * decay;
            assert!((p - expected).abs() < 1e-9, "{p} {expected}");
        }
    }

    #[test]
    fn velocity_stays_free_of_divergence_and_the_tracer_keeps_its_mean() {
        let mut flow = taylor_green(24, 0.01);
        let mean = flow.state[2][0];
        for _ in 0..3 {
            flow.advance().unwrap();
        }
        for mode in 0..flow.square.len() {
            let along: Complex<f64> = (0..2)
                .map(|axis| flow.state[axis][mode] * flow.waves[axis][mode])
                .sum();
            assert!(along.norm() < 1e-9 * 24.0 * 24.0, "{along}");
        }
        assert!((flow.state[2][0] - mean).norm() < 1e-9);
    }
}
