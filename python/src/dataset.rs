//! A data set that Python reads.

use std::path::PathBuf;
use std::sync::Arc;

use futures::executor::block_on;
use pyo3::prelude::*;
use pyo3::types::PyList;
use wellspring_store::{
    CacheOptions, Conditioning, Frames, Location, Split, StoredValues, Window, WindowSpec,
};

use crate::arrays;
use crate::conditions::{self, ScalarNames};
use crate::failure::Result;
use crate::log::LogNotes;
use crate::threads::{Origin, is_forked, wait};

/// An open data set, of this process alone.
#[pyclass(frozen, module = "wellspring._native")]
pub struct Dataset {
    held: Arc<wellspring_store::Dataset>,
    scalars: Arc<ScalarNames>,
    origin: Origin,
}

impl Dataset {
    /// The data set, for another object of this process.
    pub fn held(&self) -> Result<Arc<wellspring_store::Dataset>> {
        self.origin.check("data set")?;
        Ok(Arc::clone(&self.held))
    }

    /// The scalars of its trajectories.
    pub fn scalars(&self) -> Arc<ScalarNames> {
        Arc::clone(&self.scalars)
    }

    /// Waits for a reading. A forked process reads files on its only thread.
    fn wait<F>(&self, py: Python<'_>, work: impl FnOnce() -> F + Send) -> PyResult<F::Output>
    where
        F: Future,
        F::Output: Send,
    {
        match self.held.location().local_path() {
            Some(_) if is_forked() => Ok(py.detach(|| block_on(work()))),
            _ => wait(py, work),
        }
    }

    fn scaled(&self, mut frames: Frames, is_normalized: bool) -> Frames {
        if !is_normalized {
            self.held.normalizer().denormalize(&mut frames);
        }
        frames
    }
}

/// The part of a data set with a name.
pub fn split(name: &str) -> Result<Split> {
    Ok(name.parse()?)
}

#[pymethods]
impl Dataset {
    /// Opens a data set, complete or on demand. `folder` is where fetched shards are kept, with its limit in bytes.
    #[new]
    fn new(
        py: Python<'_>,
        root: &str,
        settings: Vec<(String, String)>,
        memory: Option<u64>,
        folder: Option<(PathBuf, u64)>,
        map: bool,
    ) -> Result<Self> {
        let defaults = CacheOptions::default();
        let cache = CacheOptions {
            memory: memory.unwrap_or(defaults.memory),
            folder,
            map,
        };
        let place = Location::parse_with(root, &settings)?;
        let locate = |text: &str| Location::parse_with(text, &settings);
        let opened = if is_forked() && place.local_path().is_some() {
            // One that is made on demand needs threads.
            py.detach(|| block_on(wellspring_store::Dataset::open_with(&place, cache)))?
        } else {
            wait(py, || {
                wellspring_ingest::open(&place, cache, locate, &LogNotes)
            })??
        };
        Ok(Self {
            scalars: Arc::new(ScalarNames::of(opened.manifest())),
            held: Arc::new(opened),
            origin: Origin::here(),
        })
    }

    /// What the data set says of itself, as JSON.
    fn manifest(&self) -> String {
        self.held.manifest().to_json()
    }

    /// Its identity, which changes when its values do.
    fn id(&self) -> String {
        self.held.manifest().id()
    }

    /// Names of the channels, of those that vary in time or of the others.
    fn channels(&self, vary_in_time: bool) -> Vec<String> {
        match vary_in_time {
            true => self.held.schema().channels(),
            false => self.held.schema().constant_channels(),
        }
    }

    /// Each channel of some frames, (T, *space): as it lies in an open shard if values are wanted as they are stored
    /// and the frames are neighbours there, else a copy.
    fn frames<'py>(
        &self,
        py: Python<'py>,
        split_name: &str,
        trajectory: usize,
        steps: (usize, usize),
        normalized: bool,
    ) -> Result<Bound<'py, PyList>> {
        let (dataset, split, steps) = (self.held()?, split(split_name)?, steps.0..steps.1);
        let mut shape = vec![steps.len()];
        shape.extend(dataset.schema().grid.shape());
        if normalized {
            let stored = self.wait(py, || dataset.stored(split, trajectory, steps.clone()))??;
            if let Some(stored) = stored {
                let arrays = stored.into_iter().map(|channel| match channel {
                    StoredValues::F32(values) => arrays::of_shard(py, values, &shape),
                    StoredValues::F16(values) => arrays::of_shard(py, values, &shape),
                });
                return Ok(PyList::new(py, arrays.collect::<Result<Vec<_>>>()?)?);
            }
        }
        let frames = self.wait(py, || dataset.read(split, trajectory, steps.clone()))??;
        let frames = self.scaled(frames, normalized);
        let channel = |channel: usize| {
            let values = (0..steps.len()).flat_map(|time| frames.channel(time, 0, channel));
            arrays::of_values(py, values.copied().collect(), &shape)
        };
        let arrays = (0..frames.channels()).map(channel);
        Ok(PyList::new(py, arrays.collect::<Result<Vec<_>>>()?)?)
    }

    /// Times of some frames, in the simulation's units.
    fn times<'py>(
        &self,
        py: Python<'py>,
        split_name: &str,
        trajectory: usize,
        steps: (usize, usize),
    ) -> Result<Bound<'py, PyAny>> {
        let dataset = self.held()?;
        let split = split(split_name)?;
        let times = self.wait(py, || dataset.times(split, trajectory, steps.0..steps.1))??;
        let count = times.len();
        arrays::of_values(py, times, &[count])
    }

    /// The fields of a trajectory that do not vary in time, (1, 1, C, *space); none if there are none.
    fn constants<'py>(
        &self,
        py: Python<'py>,
        split_name: &str,
        trajectory: usize,
        normalized: bool,
    ) -> Result<Option<Bound<'py, PyAny>>> {
        let (dataset, split) = (self.held()?, split(split_name)?);
        let constants = self.wait(py, || dataset.constants(split, trajectory))??;
        let Some(mut constants) = constants else {
            return Ok(None);
        };
        if !normalized {
            let normalizer = dataset.manifest().constant_normalizer()?;
            normalizer.denormalize(&mut constants);
        }
        arrays::of_frames(py, constants).map(Some)
    }

    /// One window's frames, (T, 1, C, *space), copied, and what goes with them.
    #[allow(clippy::too_many_arguments, reason = "Python gives them by name")]
    fn window<'py>(
        &self,
        py: Python<'py>,
        split_name: &str,
        trajectory: u32,
        start: u32,
        frames: usize,
        stride: usize,
        normalized: bool,
    ) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let (dataset, split) = (self.held()?, split(split_name)?);
        let spec = WindowSpec {
            stride: stride.max(1),
            ..WindowSpec::of_length(frames)
        };
        let window = Window { trajectory, start };
        let read = || async {
            let frames = dataset.read_window(split, spec, window).await?;
            let wanted = Conditioning::Everything;
            let conditions = dataset.conditions(split, spec, window, wanted).await?;
            Ok::<_, wellspring_store::Error>((frames, conditions))
        };
        let (frames, conditions) = self.wait(py, read)??;
        let frames = arrays::of_frames(py, self.scaled(frames, normalized))?;
        let conditions =
            conditions::arrays(py, (&dataset, &self.scalars), &[conditions], normalized)?;
        Ok((frames, conditions.into_any()))
    }
}
