//! What a folder of files says of itself: what was asked for, and the files that answer it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wellspring_store::{move_into_place, sync_folder};

/// All that the values of a folder of files depend on.
pub(crate) trait Request: PartialEq + Serialize + DeserializeOwned {
    /// Name of the record, in the folder of the splits.
    const RECORD: &'static str;

    /// The files of a folder that answer this request. `None` where there are others, or where a file is gone.
    fn find(&self, data: &Path) -> io::Result<Option<Vec<PathBuf>>> {
        let found = fs::read(data.join(Self::RECORD)).ok();
        let found = found.and_then(|bytes| serde_json::from_slice::<Record<Self>>(&bytes).ok());
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
pub(crate) struct Record<R> {
    #[serde(flatten)]
    pub(crate) request: R,
    /// Paths below the folder, in the order of the trajectories.
    pub(crate) files: Vec<PathBuf>,
}

impl<R: Request> Record<R> {
    /// The files, where `data` is the folder of the splits.
    pub(crate) fn paths(&self, data: &Path) -> Vec<PathBuf> {
        self.files.iter().map(|file| data.join(file)).collect()
    }

    /// Leaves the record in a folder.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let place = folder.join(R::RECORD);
        let partial = place.with_extension("partial");
        fs::write(&partial, serde_json::to_vec_pretty(self)?)?;
        move_into_place(&partial, &place)
    }
}
