//! What a folder of simulations says of itself: the request and the files that answer it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wellspring_store::{move_into_place, sync_folder};

use super::{Equation, SimulateOptions};

/// Name of the file, in the folder of the splits.
const FILE: &str = "simulation.json";

/// All that the bytes of simulations depend on, and their files.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    equation: String,
    shape: Vec<usize>,
    frames: usize,
    train: usize,
    valid: usize,
    test: usize,
    seed: u64,
    /// Version of the program.
    version: String,
    /// Paths below the folder, in the order of the trajectories.
    #[serde(default)]
    files: Vec<PathBuf>,
}

impl Record {
    pub(super) fn new(equation: Equation, options: &SimulateOptions, files: Vec<PathBuf>) -> Self {
        Self {
            equation: equation.to_string(),
            shape: options.shape.clone(),
            frames: options.frames,
            train: options.train,
            valid: options.valid,
            test: options.test,
            seed: options.seed,
            version: env!("CARGO_PKG_VERSION").into(),
            files,
        }
    }

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

    /// The files of a folder whose simulations are what this record asks for. `None` where there are others, or
    /// where a file is gone.
    pub(super) fn find(mut self, data: &Path) -> io::Result<Option<Vec<PathBuf>>> {
        let found = fs::read(data.join(FILE)).ok();
        let Some(found) = found.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
        else {
            return Ok(None);
        };
        self.files.clone_from(&found.files);
        let files = found.paths(data);
        if self != found || !files.iter().all(|file| file.is_file()) {
            return Ok(None);
        }
        // The writer may have been killed before the folder's name was safe.
        sync_folder(data)?;
        Ok(Some(files))
    }
}
