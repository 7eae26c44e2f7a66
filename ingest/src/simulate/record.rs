//! What a folder of simulations says of itself: the request and the files that answer it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wellspring_store::{move_into_place, sync_folder};

use super::{Equation, SimulateOptions};

/// Name of the file, in the folder of the splits.
const FILE: &str = "simulation.json";

/// All that the bytes of simulations depend on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    equation: String,
    shape: Vec<usize>,
    frames: usize,
    train: usize,
    valid: usize,
    test: usize,
    seed: u64,
    /// Version of the program.
    version: String,
}

impl Request {
    pub(super) fn new(equation: Equation, options: &SimulateOptions) -> Self {
        Self {
            equation: equation.to_string(),
            shape: options.shape.clone(),
            frames: options.frames,
            train: options.train,
            valid: options.valid,
            test: options.test,
            seed: options.seed,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The files of a folder whose simulations answer this request. `None` where there are others, or where a file
    /// is gone.
    pub(super) fn find(&self, data: &Path) -> io::Result<Option<Vec<PathBuf>>> {
        let found = fs::read(data.join(FILE)).ok();
        let found = found.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
        let files = found.filter(|found| found.request == *self);
        let files = files.map(|found| found.paths(data));
        let files = files.filter(|files| files.iter().all(|file| file.is_file()));
        if files.is_some() {
            // The writer may have been killed before the folder's name was safe.
            sync_folder(data)?;
        }
        Ok(files)
    }
}

/// A request and the files that answer it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) request: Request,
    /// Paths below the folder, in the order of the trajectories.
    pub(super) files: Vec<PathBuf>,
}

impl Record {
    /// The files, where `data` is the folder of the splits.
    pub(super) fn paths(&self, data: &Path) -> Vec<PathBuf> {
        self.files.iter().map(|file| data.join(file)).collect()
    }

    /// Leaves the record in a folder.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let place = folder.join(FILE);
        let partial = place.with_extension("partial");
        fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        move_into_place(&partial, &place)
    }
}
