//! Simulators of flows, which write The Well's HDF5 from a seed.
//!
//! All are incompressible Navier–Stokes with a tracer, on a periodic box or, where the tracer is buoyant, between two
//! walls, solved pseudo-spectrally: products in space, derivatives in waves, the highest third of waves cut after
//! every product (Orszag's 2/3 rule), diffusion exactly by an integrating factor, and advection by
//! Runge–Kutta of order 4 with steps that the fastest particle takes less than half a cell.

mod convection;
mod flow;
mod rayleigh_benard;
mod request;
mod shear_flow;
mod trajectory_file;
mod turbulence;
pub(crate) mod waves;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use wellspring_store::{Reporter, Split};

use crate::output::{Record, Request as _, StagingFolder, disk};
use crate::{Error, Result};
use flow::Flow;
use request::SimulationRequest;
pub use waves::{WaveField, Waves};

/// The equations and set-ups that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equation {
    /// Two layers that slide past one another and roll up, in 2D: The Well's `shear_flow`.
    ShearFlow,
    /// Decaying turbulence in a cube.
    DecayingTurbulence3d,
    /// A layer heated from below, in 2D: The Well's `rayleigh_benard`, between free-slip walls.
    RayleighBenard,
}

impl Equation {
    const ALL: [Self; 3] = [
        Self::ShearFlow,
        Self::DecayingTurbulence3d,
        Self::RayleighBenard,
    ];

    /// Name of the data set: The Well's spelling.
    #[must_use]
    pub fn dataset_name(self) -> &'static str {
        match self {
            Self::ShearFlow => "shear_flow",
            Self::DecayingTurbulence3d => "decaying_turbulence_3d",
            Self::RayleighBenard => "rayleigh_benard",
        }
    }

    /// Name of what the flow carries.
    fn tracer(self) -> &'static str {
        match self {
            Self::ShearFlow | Self::DecayingTurbulence3d => "tracer",
            Self::RayleighBenard => "buoyancy",
        }
    }

    fn ndim(self) -> usize {
        match self {
            Self::ShearFlow | Self::RayleighBenard => 2,
            Self::DecayingTurbulence3d => 3,
        }
    }
}

impl fmt::Display for Equation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShearFlow => "shear-flow",
            Self::DecayingTurbulence3d => "decaying-turbulence-3d",
            Self::RayleighBenard => "rayleigh-benard",
        })
    }
}

impl FromStr for Equation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL
            .into_iter()
            .find(|equation| equation.to_string() == text);
        named.ok_or_else(|| Error::Simulation {
            what: "equation",
            found: text.to_owned(),
            expected: "choose shear-flow, decaying-turbulence-3d or rayleigh-benard".into(),
        })
    }
}

/// Options of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulateOptions {
    /// Grid points along each axis.
    pub shape: Vec<usize>,
    /// Frames of each trajectory, including the initial one.
    pub frames: usize,
    /// Number of training trajectories.
    pub train: usize,
    /// Number of validation trajectories.
    pub valid: usize,
    /// Number of test trajectories.
    pub test: usize,
    /// Random seed; equal seeds give equal files, for any number of threads.
    pub seed: u64,
    /// Whether existing simulations may be replaced.
    pub overwrite: bool,
}

impl SimulateOptions {
    /// Default options for an equation.
    #[must_use]
    pub fn of(equation: Equation) -> Self {
        let (shape, frames) = match equation {
            Equation::ShearFlow => (vec![64, 128], 41),
            Equation::DecayingTurbulence3d => (vec![32, 32, 32], 21),
            Equation::RayleighBenard => (vec![128, 32], 41),
        };
        Self {
            shape,
            frames,
            train: 16,
            valid: 2,
            test: 2,
            seed: 0,
            overwrite: false,
        }
    }

    fn validate(&self, equation: Equation) -> Result<()> {
        let wrong = |what, found: String, expected: &str| {
            Err(Error::Simulation {
                what,
                found,
                expected: expected.to_owned(),
            })
        };
        let shape = || format!("{:?}", self.shape);
        if self.shape.len() != equation.ndim() {
            return wrong(
                "shape",
                shape(),
                &format!("{equation} has {} axes", equation.ndim()),
            );
        }
        if self.shape.iter().any(|n| !(8..=4096).contains(n)) {
            return wrong("shape", shape(), "every axis needs 8 to 4096 points");
        }
        if self.frames == 0 || self.train + self.valid + self.test == 0 {
            return wrong(
                "frames and trajectories",
                "0".into(),
                "simulate at least one",
            );
        }
        Ok(())
    }

    fn trajectories(&self) -> Vec<(Split, usize)> {
        let counts = [
            (Split::Train, self.train),
            (Split::Valid, self.valid),
            (Split::Test, self.test),
        ];
        counts
            .into_iter()
            .flat_map(|(split, count)| (0..count).map(move |index| (split, index)))
            .collect()
    }
}

/// Simulates trajectories and writes `OUT/data/SPLIT/*.hdf5`, one file for each; gives the files in order.
///
/// The files are written to `OUT/data.partial`, which becomes `OUT/data` when all are complete. The next call
/// removes the files of a killed one. Where the same simulations are there already, nothing is done:
/// `OUT/data/simulation.json` says what was asked for.
///
/// # Errors
/// [`Error::Exists`] when there are files and they may not be replaced; [`Error::Simulating`];
/// [`Error::Diverged`]; [`Error::Write`] and [`Error::Disk`].
pub fn simulate(
    equation: Equation,
    out: &Path,
    options: &SimulateOptions,
    reporter: &dyn Reporter,
) -> Result<Vec<PathBuf>> {
    options.validate(equation)?;
    let data = out.join("data");
    let request = SimulationRequest::new(equation, options);
    if !options.overwrite
        && let Some(files) = request.find(&data).map_err(|source| disk(&data, source))?
    {
        reporter.note("these simulations are there already");
        return Ok(files);
    }
    let staged = StagingFolder::beside(&data, options.overwrite)?;
    let trajectories = options.trajectories();
    let frames = trajectories.len() * options.frames;
    reporter.begin("simulating", Some(frames as u64), "frames");
    let files: Result<Vec<PathBuf>> = trajectories
        .par_iter()
        .map(|&(split, index)| {
            let mut random = stream(options.seed, split, index);
            let flow = start(equation, &options.shape, &mut random)?;
            trajectory_file::write(
                equation,
                flow,
                &staged.split(split),
                index,
                options.frames,
                reporter,
            )
        })
        .collect();
    reporter.end();
    let files = files?.iter().map(|file| staged.below(file)).collect();
    let record = Record { request, files };
    staged.finish(&record)?;
    Ok(record.paths(&data))
}

fn start(equation: Equation, shape: &[usize], random: &mut ChaCha8Rng) -> Result<Flow> {
    match equation {
        Equation::ShearFlow => shear_flow::start(shape, random),
        Equation::DecayingTurbulence3d => turbulence::start(shape, random),
        Equation::RayleighBenard => rayleigh_benard::start(shape, random),
    }
}

/// Random numbers of one trajectory: they depend on nothing but its place.
fn stream(seed: u64, split: Split, index: usize) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((split as u64) << 32 | index as u64);
    random
}
