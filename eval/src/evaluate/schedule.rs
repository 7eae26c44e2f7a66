//! [`Schedule`]: the patch size of each step of a rollout.

use std::fmt;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wellspring_store::Patch;

use crate::{Error, Result};

/// A patch size for each step: a pure function of the step, except for a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// These sizes in turn, repeated; a single one is a fixed size.
    Cycle(Vec<Patch>),
    /// A size for each step; the last one for all later steps.
    List(Vec<Patch>),
    /// A mean number of tokens for each frame: small patches where two predictions of the model, at different
    /// sizes but from the same state, differ the most.
    Budget {
        /// Mean tokens of a frame, including those of the predictions that are compared.
        tokens: u64,
    },
    /// Drawn from the model's own sizes.
    Random {
        /// Seed of the draws; equal seeds draw equal sizes.
        seed: u64,
    },
}

impl Schedule {
    /// A schedule with one fixed size.
    #[must_use]
    pub fn fixed(patch: Patch) -> Self {
        Self::Cycle(vec![patch])
    }

    /// Reads `16`, `4,8,16`, `16x8x8`, `list:4,4,16`, `random:SEED` or `budget:TOKENS` for a grid of
    /// `ndim` axes.
    ///
    /// # Errors
    /// [`Error::Schedule`].
    pub fn parse(text: &str, ndim: usize) -> Result<Self> {
        let refused = |reason: String| Error::Schedule {
            text: text.to_owned(),
            reason,
        };
        if let Some(seed) = text.strip_prefix("random:") {
            let seed = seed
                .parse()
                .map_err(|_| refused(format!("{seed} is not a seed")))?;
            return Ok(Self::Random { seed });
        }
        if let Some(tokens) = text.strip_prefix("budget:") {
            let tokens = tokens
                .parse()
                .map_err(|_| refused(format!("{tokens} is not a number of tokens")))?;
            return Ok(Self::Budget { tokens });
        }
        let (sizes, make): (&str, fn(Vec<Patch>) -> Self) = match text.strip_prefix("list:") {
            Some(sizes) => (sizes, Self::List),
            None => (text, Self::Cycle),
        };
        let patches = sizes.split(',').map(|size| Patch::parse(size, ndim));
        let patches: Result<Vec<Patch>, _> = patches.collect();
        patches
            .map(make)
            .map_err(|error| refused(error.to_string()))
    }

    /// That of a member of an ensemble: random ones have seeds that follow one another, others are the same.
    #[must_use]
    pub fn of_member(&self, member: u64) -> Self {
        match self {
            Self::Random { seed } => Self::Random {
                seed: seed.wrapping_add(member),
            },
            other => other.clone(),
        }
    }

    /// The patch size of a step, counted from 0; `available` are the model's. None where the state
    /// decides, or there is none.
    #[must_use]
    pub fn at(&self, step: usize, available: &[Patch]) -> Option<Patch> {
        match self {
            Self::Cycle(patches) => patches.get(step % patches.len().max(1)).cloned(),
            Self::List(patches) => patches.get(step).or(patches.last()).cloned(),
            Self::Budget { .. } => None,
            Self::Random { seed } => {
                let mut rng = ChaCha8Rng::seed_from_u64(*seed);
                rng.set_stream(step as u64);
                let count = available.len();
                (count > 0).then(|| available[rng.random_range(0..count)].clone())
            }
        }
    }

    /// All sizes that the schedule may use.
    #[must_use]
    pub fn patches<'a>(&'a self, available: &'a [Patch]) -> &'a [Patch] {
        match self {
            Self::Cycle(patches) | Self::List(patches) => patches,
            Self::Random { .. } | Self::Budget { .. } => available,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |patches: &[Patch]| {
            let sizes: Vec<String> = patches.iter().map(Patch::to_string).collect();
            sizes.join(",")
        };
        match self {
            Self::Cycle(patches) => f.write_str(&joined(patches)),
            Self::List(patches) => write!(f, "list:{}", joined(patches)),
            Self::Budget { tokens } => write!(f, "budget:{tokens}"),
            Self::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_comes_round_again() {
        let schedule = Schedule::parse("4,8,16", 2).unwrap();
        let sizes: Vec<String> = (0..5)
            .map(|step| schedule.at(step, &[]).unwrap().to_string())
            .collect();
        assert_eq!(sizes, ["4", "8", "16", "4", "8"]);
    }

    #[test]
    fn a_list_stays_at_its_last_size() {
        let schedule = Schedule::parse("list:4,4,16", 2).unwrap();
        let sizes: Vec<String> = (0..5)
            .map(|step| schedule.at(step, &[]).unwrap().to_string())
            .collect();
        assert_eq!(sizes, ["4", "4", "16", "16", "16"]);
    }

    #[test]
    fn a_random_schedule_is_its_seed() {
        let available: Vec<Patch> = [4, 8, 16].map(|size| Patch::uniform(size, 2)).to_vec();
        let draw = |seed| -> Vec<Patch> {
            let schedule = Schedule::Random { seed };
            (0..50)
                .map(|step| schedule.at(step, &available).unwrap())
                .collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(available.iter().all(|patch| draw(7).contains(patch)));
        assert_eq!(Schedule::Random { seed: 7 }.at(0, &[]), None);
    }

    #[test]
    fn is_read_as_it_is_written_and_refuses_nonsense() {
        for text in [
            "16",
            "4,8,16",
            "16x8",
            "random:3",
            "list:4,4,16",
            "budget:300",
        ] {
            assert_eq!(Schedule::parse(text, 2).unwrap().to_string(), text);
        }
        for text in [
            "",
            "random",
            "random:x",
            "4,,8",
            "4x4x4",
            "four",
            "list:",
            "budget:-1",
        ] {
            let error = Schedule::parse(text, 2).unwrap_err().to_string();
            assert!(error.contains("random:SEED"), "{error}");
        }
    }
}
