//! [`PredictionFolder`]: rollouts as files of The Well's layout, so that predictions are a source like any other.
//!
//! A file is one rollout: the true frames of its context, then the predicted ones, at the times of the frames that
//! they continue. Values are in the fields' own units. Fields keep their names and ranks; the grid, the boundaries, the
//! scalars and the fields that do not vary in time are the source's. The attributes of the group `prediction` say what
//! predicted it, and from where.

mod file;
mod npz;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wellspring_store::{
    Conditioning, Dataset, Frames, Normalizer, Reporter, Split, Window, WindowSpec,
};

use crate::Result;
use crate::output::{Record, Request, StagingFolder, disk};
use file::{PredictionFile, RolloutLayout};
use npz::NpzFile;

/// Format of predictions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictionFormat {
    /// HDF5 in The Well's layout.
    #[default]
    Hdf5,
    /// Archives of NumPy's arrays. The rollouts of a batch are in memory until they are complete.
    Npz,
}

impl PredictionFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Hdf5, Self::Npz];

    /// Its name on the command line, and the ending of its files' names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hdf5 => "hdf5",
            Self::Npz => "npz",
        }
    }
}

/// What predicts, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionSource {
    /// Name of the run, or of the baseline.
    pub name: String,
    /// Identity of the weights, or name of the baseline.
    pub weights: String,
    /// Patch sizes by step; "-" for a baseline.
    pub schedule: String,
    /// Identity of the data set: [`wellspring_store::Manifest::id`].
    pub dataset: String,
    /// Split of the data set.
    pub split: Split,
    /// Frames of context.
    pub context: usize,
    /// Steps from one frame to the next.
    pub stride: usize,
    /// Predicted frames.
    pub rollout: usize,
    /// Trajectory and first step of each rollout.
    pub windows: Vec<Window>,
}

/// All that the values of predictions depend on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PredictionRequest {
    #[serde(flatten)]
    source: PredictionSource,
    /// Format of the files; HDF5 in records of before there were others.
    #[serde(default)]
    format: PredictionFormat,
    /// Version of the program.
    version: String,
}

impl Request for PredictionRequest {
    const RECORD: &'static str = "prediction.json";
}

/// A folder of predictions while it is written: `OUT/data.partial`, which becomes `OUT/data` when all rollouts are
/// complete. The next writer removes what a killed one has left.
pub struct PredictionFolder<'a> {
    dataset: &'a Dataset,
    normalizer: Normalizer,
    request: PredictionRequest,
    data: PathBuf,
    staged: StagingFolder,
}

impl<'a> PredictionFolder<'a> {
    /// Begins a folder; none where the same predictions are there already, as `OUT/data/prediction.json` says.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when there are files and they may not be replaced; [`crate::Error::Simulating`];
    /// [`crate::Error::Disk`].
    pub fn begin(
        (out, format): (&Path, PredictionFormat),
        dataset: &'a Dataset,
        source: PredictionSource,
        overwrite: bool,
        reporter: &dyn Reporter,
    ) -> Result<Option<Self>> {
        let data = out.join("data");
        let version = env!("CARGO_PKG_VERSION").into();
        let request = PredictionRequest {
            source,
            format,
            version,
        };
        let found = request.find(&data).map_err(|source| disk(&data, source))?;
        if !overwrite && found.is_some() {
            reporter.note("these predictions are there already");
            return Ok(None);
        }
        Ok(Some(Self {
            dataset,
            normalizer: dataset.manifest().normalizer()?,
            request,
            staged: StagingFolder::beside(&data, overwrite)?,
            data,
        }))
    }

    /// Frames of a rollout that are not predicted.
    #[must_use]
    pub fn context(&self) -> usize {
        self.request.source.context
    }

    /// Makes the files of some rollouts, which wait for their frames.
    ///
    /// # Errors
    /// [`crate::Error::Write`], and what reading the data set may give.
    pub async fn batch(&self, windows: &[Window]) -> Result<PredictionBatch<'_>> {
        let mut files = Vec::with_capacity(windows.len());
        for &window in windows {
            let path = self.staged.split(self.request.source.split);
            let path = path.join(self.file_name(window));
            let layout = self.layout(window).await?;
            files.push(match self.request.format {
                PredictionFormat::Hdf5 => RolloutFile::Well(PredictionFile::create(path, &layout)?),
                PredictionFormat::Npz => RolloutFile::Npz(NpzFile::new(path, &layout)),
            });
        }
        Ok(PredictionBatch {
            normalizer: &self.normalizer,
            files,
        })
    }

    /// Moves all into place and gives the files, in the order of the windows.
    ///
    /// # Errors
    /// [`crate::Error::Disk`].
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        let source = &self.request.source;
        let folder = PathBuf::from(source.split.to_string());
        let files = source.windows.iter();
        let record = Record {
            files: files
                .map(|&window| folder.join(self.file_name(window)))
                .collect(),
            request: self.request,
        };
        self.staged.finish(&record)?;
        Ok(record.paths(&self.data))
    }

    /// `trajectory_00003_start_00012.hdf5`: the order of names is that of trajectories and starts.
    fn file_name(&self, window: Window) -> String {
        let Window { trajectory, start } = window;
        let ending = self.request.format.name();
        format!("trajectory_{trajectory:05}_start_{start:05}.{ending}")
    }

    /// All that a file holds beside its frames.
    async fn layout(&self, window: Window) -> Result<RolloutLayout<'_>> {
        let source = &self.request.source;
        let manifest = self.dataset.manifest();
        let trajectory = window.trajectory as usize;
        let spec = WindowSpec {
            stride: source.stride,
            ..WindowSpec::of_length(source.context + source.rollout)
        };
        let numbers = Conditioning::Numbers;
        let conditions = self
            .dataset
            .conditions(source.split, spec, window, numbers)
            .await?;
        let mut constants = self.dataset.constants(source.split, trajectory).await?;
        if let Some(constants) = &mut constants {
            manifest.constant_normalizer()?.denormalize(constants);
        }
        Ok(RolloutLayout {
            schema: &manifest.schema,
            source,
            window,
            trajectory: &manifest.split(source.split)?.trajectories[trajectory],
            scalars: conditions.scalars,
            times: conditions.times,
            constants,
        })
    }
}

/// The file of a rollout.
enum RolloutFile {
    Well(PredictionFile),
    Npz(NpzFile),
}

/// The files of rollouts that are predicted side by side.
pub struct PredictionBatch<'a> {
    normalizer: &'a Normalizer,
    files: Vec<RolloutFile>,
}

impl PredictionBatch<'_> {
    /// Takes the next frame of each rollout, (1, B, C, *space) of stored values; `place` is its place in the rollout,
    /// from 0.
    ///
    /// # Errors
    /// [`crate::Error::Write`].
    pub fn put(&mut self, place: usize, mut frames: Frames) -> Result<()> {
        self.normalizer.denormalize(&mut frames);
        for (batch, file) in self.files.iter_mut().enumerate() {
            match file {
                RolloutFile::Well(file) => file.put(place, &frames, batch)?,
                RolloutFile::Npz(file) => file.put(&frames, batch),
            }
        }
        Ok(())
    }

    /// Completes the files.
    ///
    /// # Errors
    /// [`crate::Error::Write`], [`crate::Error::Disk`].
    pub fn close(self) -> Result<()> {
        self.files.into_iter().try_for_each(|file| match file {
            RolloutFile::Well(file) => file.close(),
            RolloutFile::Npz(file) => file.close(),
        })
    }
}
