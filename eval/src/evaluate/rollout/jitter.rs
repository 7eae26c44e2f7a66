//! [`Jitter`]: patches at random places, as in training: each step sees the grid rolled along its periodic axes by less
//! than a patch, and what it predicts is rolled back.
//!
//! Equations on a periodic axis know no place on it, and a model with patches does. A shift that is drawn anew at each
//! step moves the seams between patches, so that the errors there do not add up at one place. Rollouts that differ by
//! their draws are the members of an ensemble.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wellspring_store::{Boundary, Conditions, Context, Frames, Patch, Schema, Window};

use crate::error::SubjectError;
use crate::{Error, Result, Subject};

/// Random shifts of a data set's grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jitter {
    seed: u64,
    /// Which axes are periodic.
    periodic: Vec<bool>,
}

impl Jitter {
    /// # Errors
    /// [`Error::NotPeriodic`] where no axis can be rolled.
    pub(crate) fn new(seed: u64, schema: &Schema) -> Result<Self> {
        let axes = schema.grid.axes.iter();
        let periodic: Vec<bool> = axes
            .map(|axis| axis.boundary == [Boundary::Periodic; 2])
            .collect();
        if !periodic.contains(&true) {
            return Err(Error::NotPeriodic {
                dataset: schema.name.clone(),
            });
        }
        Ok(Self { seed, periodic })
    }

    /// A step of a subject on windows side by side, each of which is rolled on its own.
    pub(super) fn step(
        &self,
        subject: &dyn Subject,
        seen: Context<'_>,
        windows: &[Window],
        lead: usize,
        patch: &Patch,
    ) -> Result<Frames, SubjectError> {
        let shifts = windows.iter();
        let shifts: Vec<Vec<usize>> = shifts
            .map(|window| self.shift(window, lead, patch))
            .collect();
        let mut frames = seen.frames.clone();
        roll(&mut frames, &shifts, Direction::Forth);
        let conditions = seen.conditions.iter().zip(&shifts);
        let conditions: Vec<Conditions> = conditions
            .map(|(conditions, shift)| rolled(conditions, shift))
            .collect();
        let seen = Context {
            frames: &frames,
            conditions: &conditions,
        };
        let mut prediction = subject.step(seen, patch)?;
        roll(&mut prediction, &shifts, Direction::Back);
        Ok(prediction)
    }

    /// Cells that a window moves by along each axis: a pure function of seed, trajectory, start and lead, so that it does
    /// not matter which windows lie beside it.
    fn shift(&self, window: &Window, lead: usize, patch: &Patch) -> Vec<usize> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&window.trajectory.to_le_bytes());
        key[12..16].copy_from_slice(&window.start.to_le_bytes());
        key[16..24].copy_from_slice(&(lead as u64).to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        let axes = patch.sizes().iter().zip(&self.periodic);
        axes.map(|(&size, &is_periodic)| match is_periodic {
            true => rng.random_range(0..size.max(1)),
            false => 0,
        })
        .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forth,
    Back,
}

/// Rolls the frames of each window, (T, B, C, *space), by its own shift.
fn roll(frames: &mut Frames, shifts: &[Vec<usize>], direction: Direction) {
    let space = frames.space().to_vec();
    let (times, channels) = (frames.time(), frames.channels());
    for (batch, shift) in shifts.iter().enumerate() {
        for time in 0..times {
            for channel in 0..channels {
                let field = frames.channel_mut(time, batch, channel);
                roll_field(field, &space, shift, direction);
            }
        }
    }
}

fn roll_field(field: &mut [f32], space: &[usize], shift: &[usize], direction: Direction) {
    let mut inner = 1;
    for (&length, &cells) in space.iter().zip(shift).rev() {
        let moved = cells % length.max(1) * inner;
        inner *= length;
        if moved == 0 {
            continue;
        }
        for along in field.chunks_exact_mut(inner) {
            match direction {
                Direction::Forth => along.rotate_right(moved),
                Direction::Back => along.rotate_left(moved),
            }
        }
    }
}

/// Conditions of a window that is rolled: its fields move with it.
fn rolled(conditions: &Conditions, shift: &[usize]) -> Conditions {
    let constants = conditions.constants.as_ref().map(|constants| {
        let mut constants = Frames::clone(constants);
        roll(&mut constants, &[shift.to_vec()], Direction::Forth);
        Arc::new(constants)
    });
    Conditions {
        constants,
        ..conditions.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::TensorOrder;

    use super::*;

    fn schema(periodic: [bool; 2]) -> Schema {
        let fields = [("u", TensorOrder::Scalar)];
        let mut schema = Schema::periodic("plane", &[("x", 4), ("y", 6)], &fields);
        for (axis, periodic) in schema.grid.axes.iter_mut().zip(periodic) {
            if !periodic {
                axis.boundary = [Boundary::Wall, Boundary::Open];
            }
        }
        schema
    }

    fn window(trajectory: u32, start: u32) -> Window {
        Window { trajectory, start }
    }

    #[test]
    fn a_field_is_rolled_along_each_axis_and_back() {
        let space = [4, 6];
        let field: Vec<f32> = (0..24).map(|cell| cell as f32).collect();
        let mut moved = field.clone();
        roll_field(&mut moved, &space, &[3, 8], Direction::Forth);
        for (row, column) in (0..4).flat_map(|row| (0..6).map(move |column| (row, column))) {
            let to = (row + 3) % 4 * 6 + (column + 8) % 6;
            assert_eq!(moved[to], field[row * 6 + column]);
        }
        roll_field(&mut moved, &space, &[3, 8], Direction::Back);
        assert_eq!(moved, field);
    }

    #[test]
    fn shifts_stay_below_a_patch_and_on_periodic_axes() {
        let patch = Patch::uniform(4, 2);
        let jitter = Jitter::new(3, &schema([false, true])).unwrap();
        let shifts: Vec<Vec<usize>> = (0..200)
            .map(|lead| jitter.shift(&window(1, 2), lead, &patch))
            .collect();
        assert!(shifts.iter().all(|shift| shift[0] == 0 && shift[1] < 4));
        for cells in 0..4 {
            let count = shifts.iter().filter(|shift| shift[1] == cells).count();
            assert!((25..75).contains(&count), "{cells} {count}");
        }
    }

    #[test]
    fn shifts_differ_by_seed_trajectory_start_and_lead() {
        let patch = Patch::uniform(1 << 20, 2);
        let of = |seed, trajectory, start, lead| {
            let jitter = Jitter::new(seed, &schema([true; 2])).unwrap();
            jitter.shift(&window(trajectory, start), lead, &patch)
        };
        let shifts = [
            of(0, 0, 0, 0),
            of(1, 0, 0, 0),
            of(0, 1, 0, 0),
            of(0, 0, 1, 0),
            of(0, 0, 0, 1),
        ];
        for (i, one) in shifts.iter().enumerate() {
            assert!(shifts[i + 1..].iter().all(|other| other != one));
        }
        assert_eq!(of(0, 0, 0, 0), shifts[0]);
    }

    #[test]
    fn a_grid_without_periodic_axes_is_refused() {
        let error = Jitter::new(0, &schema([false; 2])).unwrap_err().to_string();
        assert!(error.contains("plane has no periodic axis"), "{error}");
    }
}
