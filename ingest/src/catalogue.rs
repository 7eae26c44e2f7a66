//! Every trajectory of a source, and a way through its frames in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use wellspring_store::{Frames, Reporter, Schema, Split, Trajectory};

use crate::source::{SourceFile, Staged};
use crate::well::WellFile;
use crate::{Error, Result};

/// Every trajectory of a source, by split.
pub(crate) struct Catalogue {
    pub(crate) schema: Schema,
    files: Vec<SourceFile>,
    pub(crate) splits: BTreeMap<Split, Vec<Entry>>,
}

/// One trajectory and where it lies.
pub(crate) struct Entry {
    file: usize,
    pub(crate) sample: usize,
    pub(crate) times: Vec<f64>,
    pub(crate) trajectory: Trajectory,
}

/// A frame to read: which trajectory of its split, and which step.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) trajectory: usize,
    pub(crate) step: usize,
}

impl Catalogue {
    /// Opens every file once and checks that they belong together.
    pub(crate) async fn open(files: Vec<SourceFile>, reporter: &dyn Reporter) -> Result<Self> {
        let mut first: Option<WellFile> = None;
        // Copies of remote files live as long as the file that is being looked at.
        let mut held: Option<Arc<Staged>> = None;
        let mut splits: BTreeMap<Split, Vec<Entry>> = BTreeMap::new();
        reporter.begin("looking at files", Some(files.len() as u64), "files");
        for (index, source) in files.iter().enumerate() {
            let staged = source.stage().await?;
            let file = WellFile::open(staged.path(), &source.named())?;
            if let Some(first) = &first {
                first.fits(&file)?;
            }
            let entries = splits.entry(source.split).or_default();
            entries.extend(
                (0..file.samples).map(|sample| Entry::of(&file, source.name(), index, sample)),
            );
            if first.is_none() {
                first = Some(file);
                held = Some(staged);
            }
            reporter.advance(1);
        }
        reporter.end();
        drop(held);
        match first {
            Some(first) => Ok(Self {
                schema: first.schema,
                files,
                splits,
            }),
            None => Err(Error::NoFiles {
                source_url: "the source".into(),
            }),
        }
    }

    pub(crate) fn rows(&self, split: Split) -> Vec<Row> {
        let entries = self.splits[&split].iter().enumerate();
        let steps = |(trajectory, entry): (usize, &Entry)| {
            (0..entry.trajectory.frames).map(move |step| Row { trajectory, step })
        };
        entries.flat_map(steps).collect()
    }

    /// Bytes of a frame as f32.
    pub(crate) fn frame_bytes(&self) -> u64 {
        4 * (self.schema.channels().len() * self.schema.grid.cells()) as u64
    }
}

impl Entry {
    fn of(file: &WellFile, name: &str, index: usize, sample: usize) -> Self {
        Self {
            file: index,
            sample,
            times: file.times(sample).to_vec(),
            trajectory: Trajectory {
                source: format!("{name}#{sample}"),
                frames: file.frames,
                parameters: file.parameters(sample),
                series: file.series(sample),
            },
        }
    }
}

impl Catalogue {
    /// The fields of a trajectory that do not vary in time.
    pub(crate) async fn constants(&self, entry: &Entry) -> Result<Frames> {
        let source = &self.files[entry.file];
        let staged = source.stage().await?;
        WellFile::open(staged.path(), &source.named())?.constants(entry.sample)
    }

    /// Hands a run of rows, frame by frame, to `each`, on a thread for long work.
    pub(crate) async fn each_row<T: Send + 'static>(
        self: Arc<Self>,
        split: Split,
        rows: Vec<Row>,
        mut state: T,
        each: impl Fn(&mut T, &Entry, Row, &WellFile) -> Result<()> + Send + 'static,
    ) -> Result<T> {
        let mut staged: BTreeMap<usize, Arc<Staged>> = BTreeMap::new();
        for row in &rows {
            let file = self.splits[&split][row.trajectory].file;
            if let std::collections::btree_map::Entry::Vacant(place) = staged.entry(file) {
                place.insert(self.files[file].stage().await?);
            }
        }
        let done = tokio::task::spawn_blocking(move || {
            let mut open: Option<(usize, WellFile)> = None;
            for row in rows {
                let entry = &self.splits[&split][row.trajectory];
                if open.as_ref().is_none_or(|(index, _)| *index != entry.file) {
                    let file = WellFile::open(
                        staged[&entry.file].path(),
                        &self.files[entry.file].named(),
                    )?;
                    open = Some((entry.file, file));
                }
                if let Some((_, file)) = &open {
                    each(&mut state, entry, row, file)?;
                }
            }
            Ok(state)
        });
        done.await.map_err(|source| Error::Task {
            reason: source.to_string(),
        })?
    }
}
