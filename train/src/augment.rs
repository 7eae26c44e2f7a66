//! [`Augment`]: random flips, quarter turns and noise of the samples of a batch.
//!
//! A flip of axis i changes the sign of a vector's component i, and of a tensor's components ij once for each index
//! that is i. A turn takes components to other axes. Stored values are normalized by their channel, so a component
//! that goes to another channel, or changes its sign, is normalized anew.

use std::sync::Arc;

use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use wellspring_store::{Axis, Conditions, Dataset, Frames, Normalizer, Schema, Share, TensorOrder};

use crate::config::AugmentConfig;
use crate::{Error, Result};

/// Random words that a sample has for itself, more than it needs.
const WORDS: u128 = 1 << 40;

/// What is done to the batches of one data set.
#[derive(Debug)]
pub(crate) struct Augment {
    flips: Vec<usize>,
    turn: Option<[usize; 2]>,
    noise: f64,
    axes: usize,
    state: Channels,
    /// Fields that do not vary in time turn with the state.
    constants: Channels,
    seed: u64,
}

/// Channels that turn together, and what their stored values mean.
#[derive(Debug)]
struct Channels {
    /// The field of each channel: its first channel, and the axes of the component.
    components: Vec<Component>,
    normalizer: Normalizer,
}

/// A channel as a component of its field.
#[derive(Debug, Clone)]
struct Component {
    first: usize,
    /// None for a scalar, one for a vector, two for a tensor.
    indices: Vec<usize>,
}

/// Where the points of a sample come from: those along axis i from axis `source[i]`, backwards where `reversed[i]`.
#[derive(Debug, Clone, PartialEq)]
struct Turn {
    source: Vec<usize>,
    reversed: Vec<bool>,
}

impl Turn {
    fn none(axes: usize) -> Self {
        Self {
            source: (0..axes).collect(),
            reversed: vec![false; axes],
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::none(self.source.len())
    }

    /// This, then a reversal of an axis.
    fn flipped(mut self, axis: usize) -> Self {
        self.reversed[axis] ^= true;
        self
    }

    /// This, then a quarter turn of a plane.
    fn turned(mut self, [a, b]: [usize; 2]) -> Self {
        self.source.swap(a, b);
        self.reversed.swap(a, b);
        self.flipped(a)
    }

    /// The channel that a component comes from, and its sign.
    fn component(&self, component: &Component) -> (usize, f64) {
        let axes = self.source.len();
        let place = |place, &axis: &usize| place * axes + self.source[axis];
        let place = component.indices.iter().fold(0, place);
        let reversals = component
            .indices
            .iter()
            .filter(|&&axis| self.reversed[axis]);
        let sign = if reversals.count() % 2 == 1 {
            -1.0
        } else {
            1.0
        };
        (component.first + place, sign)
    }

    /// Takes the values of a grid to their new places.
    fn moved(&self, values: &[f32], space: &[usize]) -> Vec<f32> {
        let strides = strides(space);
        let mut found = Vec::with_capacity(values.len());
        let mut at = vec![0; space.len()];
        for _ in 0..values.len() {
            let offset = |axis: usize| {
                let from = self.source[axis];
                let place = match self.reversed[axis] {
                    true => space[from] - 1 - at[axis],
                    false => at[axis],
                };
                place * strides[from]
            };
            found.push(values[(0..space.len()).map(offset).sum::<usize>()]);
            // Axes that are exchanged are equally long, so the shape stays.
            for axis in (0..space.len()).rev() {
                at[axis] += 1;
                if at[axis] < space[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        found
    }
}

/// Cells from one point to the next along each axis.
fn strides(space: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; space.len()];
    for axis in (1..space.len()).rev() {
        strides[axis - 1] = strides[axis] * space[axis];
    }
    strides
}

impl Augment {
    /// Checks that the grid of a data set has the symmetries that are asked for.
    ///
    /// # Errors
    /// [`Error::Value`] for an axis that there is not, or that is not alike.
    pub(crate) fn new(config: &AugmentConfig, dataset: &Dataset, seed: u64) -> Result<Self> {
        let schema = dataset.schema();
        let flips = config.flip.iter().map(|name| {
            let axis = named("augment.flip", schema, name)?;
            let [low, high] = schema.grid.axes[axis].boundary;
            let alike = low == high;
            let expected =
                format!("must have the same boundary at both ends, not {low:?} and {high:?}");
            refuse_unless(alike, "augment.flip", name, expected).map(|()| axis)
        });
        let flips = flips.collect::<Result<_>>()?;
        let turn = match config.turn.as_slice() {
            [a, b] => Some(plane(schema, a, b)?),
            _ => None,
        };
        Ok(Self {
            flips,
            turn,
            noise: config.noise,
            axes: schema.grid.ndim(),
            state: Channels {
                components: components(schema, true),
                normalizer: dataset.manifest().normalizer()?,
            },
            constants: Channels {
                components: components(schema, false),
                normalizer: dataset.manifest().constant_normalizer()?,
            },
            seed,
        })
    }

    /// Changes the samples of a step that this rank has in place, and the constant fields that go with them, where there
    /// are any. The last frame, which is to be predicted, gets no noise. Sides of axes that are exchanged are alike.
    ///
    /// What is drawn for a sample of the whole batch depends neither on the others nor on the rank that has it.
    pub(crate) fn apply(
        &self,
        frames: &mut Frames,
        conditions: &mut [Conditions],
        step: u64,
        share: Share,
    ) {
        for sample in 0..frames.batch() {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0xa069);
            rng.set_stream(step + 1);
            rng.set_word_pos(WORDS * share.place(sample) as u128);
            let turn = self.draw(&mut rng);
            if !turn.is_none() {
                self.state.turn(frames, sample, &turn);
                let given = conditions.get_mut(sample);
                if let Some(fields) = given.and_then(|given| given.constants.as_mut()) {
                    self.constants.turn(Arc::make_mut(fields), 0, &turn);
                }
            }
            if self.noise > 0.0 {
                self.add_noise(frames, sample, &mut rng);
            }
        }
    }

    fn add_noise(&self, frames: &mut Frames, sample: usize, rng: &mut impl Rng) {
        for time in 0..frames.time() - 1 {
            for channel in 0..self.state.components.len() {
                for value in frames.channel_mut(time, sample, channel) {
                    *value += (self.noise * rng.sample::<f64, _>(StandardNormal)) as f32;
                }
            }
        }
    }

    fn draw(&self, rng: &mut impl Rng) -> Turn {
        let mut turn = Turn::none(self.axes);
        if let Some(plane) = self.turn {
            for _ in 0..rng.random_range(0..4) {
                turn = turn.turned(plane);
            }
        }
        for &axis in &self.flips {
            if rng.random_bool(0.5) {
                turn = turn.flipped(axis);
            }
        }
        turn
    }
}

impl Channels {
    /// Turns all frames of a sample.
    fn turn(&self, frames: &mut Frames, sample: usize, turn: &Turn) {
        let space = frames.space().to_vec();
        let places = (0..frames.time())
            .flat_map(|time| (0..self.components.len()).map(move |channel| (time, channel)));
        let places: Vec<(usize, usize)> = places.collect();
        let seen: &Frames = frames;
        let moved = places.par_iter().map(|&(time, channel)| {
            let (from, sign) = turn.component(&self.components[channel]);
            let mut values = turn.moved(seen.channel(time, sample, from), &space);
            if (from, sign) != (channel, 1.0) {
                self.renormalize(&mut values, from, channel, sign);
            }
            values
        });
        let moved: Vec<Vec<f32>> = moved.collect();
        for ((time, channel), values) in places.into_iter().zip(moved) {
            frames
                .channel_mut(time, sample, channel)
                .copy_from_slice(&values);
        }
    }

    /// Stored values of one component become those of another, times a sign. A transform of vectors or tensors is odd, so
    /// it need not be undone.
    fn renormalize(&self, values: &mut [f32], from: usize, to: usize, sign: f64) {
        let [from, to] = [from, to].map(|channel| self.normalizer.channels()[channel]);
        let stored = to.normalized();
        for value in values {
            *value = stored(sign * (f64::from(*value) * from.scale + from.shift));
        }
    }
}

fn components(schema: &Schema, time_varying: bool) -> Vec<Component> {
    let axes = schema.grid.ndim();
    let mut found = Vec::new();
    let fields = schema.fields.iter();
    for field in fields.filter(|field| field.time_varying == time_varying) {
        let first = found.len();
        let indices: Vec<Vec<usize>> = match field.order {
            TensorOrder::Scalar => vec![Vec::new()],
            TensorOrder::Vector => (0..axes).map(|i| vec![i]).collect(),
            TensorOrder::Tensor => (0..axes * axes)
                .map(|ij| vec![ij / axes, ij % axes])
                .collect(),
        };
        found.extend(
            indices
                .into_iter()
                .map(|indices| Component { first, indices }),
        );
    }
    found
}

/// Two axes of a grid that are alike.
fn plane(schema: &Schema, a: &str, b: &str) -> Result<[usize; 2]> {
    const KEY: &str = "augment.turn";
    let plane = [named(KEY, schema, a)?, named(KEY, schema, b)?];
    let [first, second] = plane.map(|axis| &schema.grid.axes[axis]);
    let is_alike = first.coordinates.len() == second.coordinates.len()
        && first.boundary == second.boundary
        && first.boundary[0] == first.boundary[1]
        && (spacing(first) - spacing(second)).abs() <= 1e-6 * spacing(first).abs();
    let expected = format!(
        "must be alike in points, spacing and boundaries, not {} and {} points, {:.3e} and {:.3e} apart, {:?} and {:?}",
        first.coordinates.len(),
        second.coordinates.len(),
        spacing(first),
        spacing(second),
        first.boundary,
        second.boundary,
    );
    refuse_unless(is_alike, KEY, &format!("{a} and {b}"), expected).map(|()| plane)
}

/// Mean distance of neighbouring points.
fn spacing(axis: &Axis) -> f64 {
    match axis.coordinates.as_slice() {
        [first, .., last] => (last - first) / (axis.coordinates.len() - 1) as f64,
        _ => 0.0,
    }
}

fn named(key: &'static str, schema: &Schema, name: &str) -> Result<usize> {
    let names: Vec<&str> = schema
        .grid
        .axes
        .iter()
        .map(|axis| axis.name.as_str())
        .collect();
    names
        .iter()
        .position(|known| *known == name)
        .ok_or_else(|| Error::Value {
            key,
            value: name.to_owned(),
            expected: format!("must be an axis of {}: {}", schema.name, names.join(", ")),
        })
}

fn refuse_unless(holds: bool, key: &'static str, value: &str, expected: String) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::Value {
            key,
            value: value.to_owned(),
            expected,
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::{Boundary, ChannelMap};

    use super::*;

    const N: usize = 4;

    /// A scalar, a vector and a tensor on a square, with another normalization for each channel.
    fn augment(flip: bool, turn: bool, noise: f64) -> Augment {
        let fields = [
            ("p", TensorOrder::Scalar),
            ("v", TensorOrder::Vector),
            ("d", TensorOrder::Tensor),
        ];
        let schema = Schema::periodic("square", &[("x", N), ("y", N)], &fields);
        Augment {
            flips: if flip { vec![0, 1] } else { Vec::new() },
            turn: turn.then(|| plane(&schema, "x", "y").unwrap()),
            noise,
            axes: 2,
            state: Channels {
                components: components(&schema, true),
                normalizer: (0..7).map(map).collect(),
            },
            constants: Channels {
                components: vec![Component {
                    first: 0,
                    indices: Vec::new(),
                }],
                normalizer: std::iter::once(map(0)).collect(),
            },
            seed: 5,
        }
    }

    fn map(channel: u32) -> ChannelMap {
        ChannelMap {
            transform: None,
            shift: f64::from(channel),
            scale: 1.0 + 0.5 * f64::from(channel),
        }
    }

    /// p = x², v = (x, 2y) and d = v ⊗ v at points of −1.5 to 1.5, in the fields' units.
    fn state() -> Frames {
        let mut frames = Frames::zeros(1, 1, 7, vec![N, N]);
        for cell in 0..N * N {
            let [x, y] = [cell / N, cell % N].map(|i| i as f32 - 1.5);
            let v = [x, 2.0 * y];
            let values = [
                x * x,
                v[0],
                v[1],
                v[0] * v[0],
                v[0] * v[1],
                v[1] * v[0],
                v[1] * v[1],
            ];
            for (channel, value) in values.into_iter().enumerate() {
                frames.channel_mut(0, 0, channel)[cell] = value;
            }
        }
        frames
    }

    fn turned(augment: &Augment, turn: &Turn) -> Frames {
        let mut frames = state();
        augment.state.normalizer.normalize(&mut frames);
        augment.state.turn(&mut frames, 0, turn);
        augment.state.normalizer.denormalize(&mut frames);
        frames
    }

    fn is_near(found: &[f32], expected: &[f32]) -> bool {
        found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn a_flip_of_a_symmetric_field_leaves_it_as_it_is() {
        let augment = augment(true, false, 0.0);
        for axis in [0, 1] {
            let found = turned(&augment, &Turn::none(2).flipped(axis));
            assert!(is_near(found.data(), state().data()));
        }
    }

    #[test]
    fn a_quarter_turn_takes_components_to_other_axes() {
        let augment = augment(false, true, 0.0);
        let turn = Turn::none(2).turned([0, 1]);
        let found = turned(&augment, &turn);
        // p = y², v = (2x, y) and d = v ⊗ v.
        for cell in 0..N * N {
            let [x, y] = [cell / N, cell % N].map(|i| i as f32 - 1.5);
            let v = [2.0 * x, y];
            let expected = [
                y * y,
                v[0],
                v[1],
                v[0] * v[0],
                v[0] * v[1],
                v[1] * v[0],
                v[1] * v[1],
            ];
            let at: Vec<f32> = (0..7)
                .map(|channel| found.channel(0, 0, channel)[cell])
                .collect();
            assert!(is_near(&at, &expected), "{at:?} {expected:?}");
        }
        let round = (0..4).fold(Turn::none(2), |turn, _| turn.turned([0, 1]));
        assert!(round.is_none());
    }

    /// A vortex is one after any turn, and one that turns the other way after a flip.
    #[test]
    fn a_vortex_changes_its_sense_by_flips_alone() {
        let augment = augment(true, true, 0.0);
        let mut frames = Frames::zeros(1, 1, 7, vec![N, N]);
        for cell in 0..N * N {
            let [x, y] = [cell / N, cell % N].map(|i| i as f32 - 1.5);
            frames.channel_mut(0, 0, 1)[cell] = -y;
            frames.channel_mut(0, 0, 2)[cell] = x;
        }
        for (turn, sense) in [
            (Turn::none(2).turned([0, 1]), 1.0),
            (Turn::none(2).flipped(0), -1.0),
            (Turn::none(2).flipped(0).flipped(1), 1.0),
            (Turn::none(2).turned([0, 1]).flipped(1), -1.0),
        ] {
            let mut found = frames.clone();
            augment.state.normalizer.normalize(&mut found);
            augment.state.turn(&mut found, 0, &turn);
            augment.state.normalizer.denormalize(&mut found);
            for channel in [1, 2] {
                let expected: Vec<f32> = frames
                    .channel(0, 0, channel)
                    .iter()
                    .map(|v| sense * v)
                    .collect();
                assert!(is_near(found.channel(0, 0, channel), &expected), "{turn:?}");
            }
        }
    }

    #[test]
    fn draws_are_of_the_step_and_noise_spares_the_last_frame() {
        let values = (0..3 * 2 * 7 * N * N).map(|i| (i as f32).sin()).collect();
        let frames = Frames::new(3, 2, 7, vec![N, N], values).unwrap();
        let drawn = |augment: &Augment, step| {
            let mut found = frames.clone();
            augment.apply(&mut found, &mut [], step, Share::WHOLE);
            found
        };
        let all = augment(true, true, 0.0);
        assert_eq!(drawn(&all, 3), drawn(&all, 3));
        let different = (0..20).filter(|&step| drawn(&all, step) != frames).count();
        assert!(different > 15, "{different}");
        assert_eq!(drawn(&augment(false, false, 0.0), 3), frames);
        let noisy = drawn(&augment(false, false, 0.1), 3);
        assert_eq!(noisy.frame(2), frames.frame(2));
        let pairs = noisy.data().iter().zip(frames.data());
        let square: f32 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
        let noise = (square / (2 * 2 * 7 * N * N) as f32).sqrt();
        assert!((noise - 0.1).abs() < 0.01, "{noise}");
    }

    /// A constant field that equals a channel of the state still does after any step.
    #[test]
    fn constant_fields_turn_with_the_state() {
        let augment = augment(true, true, 0.0);
        let values = (0..7 * N * N).map(|i| (i as f32).sin()).collect();
        let frames = Frames::new(1, 1, 7, vec![N, N], values).unwrap();
        let mask = frames.channel(0, 0, 0).to_vec();
        let mask = Arc::new(Frames::new(1, 1, 1, vec![N, N], mask).unwrap());
        let given = Conditions {
            window: wellspring_store::Window {
                trajectory: 0,
                start: 0,
            },
            constants: Some(Arc::clone(&mask)),
            scalars: std::collections::BTreeMap::new(),
            times: Vec::new(),
        };
        let mut changed = 0;
        for step in 0..20 {
            let (mut found, mut conditions) = (frames.clone(), [given.clone()]);
            augment.apply(&mut found, &mut conditions, step, Share::WHOLE);
            let turned = conditions[0].constants.as_ref().unwrap();
            assert_eq!(turned.data(), found.channel(0, 0, 0));
            changed += usize::from(turned != &mask);
        }
        assert!(changed > 10, "{changed}");
    }

    #[test]
    fn symmetries_that_a_grid_does_not_have_are_refused() {
        let mut schema = Schema::periodic("box", &[("x", 4), ("y", 8), ("z", 4)], &[]);
        assert!(plane(&schema, "x", "z").is_ok());
        let error = plane(&schema, "x", "y").unwrap_err().to_string();
        assert!(error.contains("4 and 8 points"), "{error}");
        let error = plane(&schema, "x", "r").unwrap_err().to_string();
        assert!(error.contains("x, y, z"), "{error}");
        schema.grid.axes[2].boundary = [Boundary::Wall, Boundary::Open];
        let error = plane(&schema, "x", "z").unwrap_err().to_string();
        assert!(error.contains("Wall"), "{error}");
    }
}
