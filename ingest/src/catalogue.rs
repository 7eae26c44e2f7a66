//! Every trajectory of a source, what of it is taken, and the files it lies in.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Mutex;
use wellspring_store::{
    Attachment, AxisSelection, Contents, Reporter, Schema, Selection, Split, Trajectory,
};

use crate::remarks::Remarks;
use crate::source::{Source, SourceFile};
use crate::well::{FieldReader, OpenFile, WellFile};
use crate::{Error, Result, selection};

/// Files that stay open, with their indices, for whoever reads them next.
const OPEN_FILES: usize = 16;

/// Every trajectory of a source, by split, as far as it is selected.
pub(crate) struct Catalogue {
    /// Of what is taken.
    pub(crate) schema: Schema,
    pub(crate) selection: Selection,
    pub(crate) space: Vec<AxisSelection>,
    pub(crate) files: Vec<SourceFile>,
    /// Size of each file, and the record of what it holds beside fields.
    pub(crate) described: Vec<(u64, Attachment)>,
    pub(crate) splits: BTreeMap<Split, Vec<Entry>>,
    pub(crate) fields: Vec<TakenField>,
    open: Mutex<Vec<(usize, Arc<OpenFile>)>>,
}

/// A field that is taken.
#[derive(Debug, Clone)]
pub(crate) struct TakenField {
    name: String,
    pub(crate) time_varying: bool,
    /// Its channels among those of the frames, or of the constants.
    pub(crate) channels: Range<usize>,
}

/// One trajectory and where it lies.
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) sample: usize,
    pub(crate) times: Vec<f64>,
    pub(crate) trajectory: Trajectory,
}

/// A frame to read: which entry of its split, what the data set calls the trajectory, and which step
/// of what is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) entry: usize,
    pub(crate) trajectory: usize,
    pub(crate) step: usize,
}

impl Catalogue {
    /// Opens every file once and checks that they belong together.
    pub(crate) async fn open(
        source: Source,
        mut selection: Selection,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let files = source.files;
        let mut first: Option<WellFile> = None;
        let mut described = Vec::new();
        let mut splits: BTreeMap<Split, Vec<Entry>> = BTreeMap::new();
        let mut remarks = Remarks::default();
        reporter.begin("looking at files", Some(files.len() as u64), "files");
        for (index, source) in files.iter().enumerate() {
            let (file, contents) = source.look().await?;
            if let Some(first) = &first {
                first.fits(&file)?;
            }
            for remark in file.remarks(&contents) {
                remarks.add(&source.below, remark);
            }
            let contents = json(&contents)?;
            described.push((
                source.bytes().await?,
                Attachment::of("sources", "json", &contents),
            ));
            let entries = splits.entry(source.split).or_default();
            let taken = |sample| Entry::of(&file, source.name(), (index, sample), &selection);
            entries.extend((0..file.samples).map(taken));
            first.get_or_insert(file);
            reporter.advance(1);
        }
        reporter.end();
        remarks.tell(reporter);
        let Some(first) = first else {
            return Err(Error::NoFiles {
                source_url: "the source".into(),
            });
        };
        if let Some((start, end)) = selection.trajectories {
            splits.values_mut().for_each(|entries| {
                entries.truncate(end);
                entries.drain(..start.min(entries.len()));
            });
            splits.retain(|_, entries| !entries.is_empty());
        }
        if splits.is_empty() {
            let reason = "no split has a trajectory that is selected".into();
            return Err(Error::Selection { reason });
        }
        let space = selection::space(&selection, &first.schema.grid)?;
        if !selection.space.is_empty() {
            selection.space.clone_from(&space);
        }
        Ok(Self {
            schema: selection::schema(&selection, &space, &first.schema)?,
            fields: fields(&selection, &first.schema)?,
            selection,
            space,
            files,
            described,
            splits,
            open: Mutex::default(),
        })
    }

    /// Rows of a split, its trajectories numbered from `first` on.
    pub(crate) fn rows(&self, split: Split, first: usize) -> Vec<Row> {
        let entries = self.splits[&split].iter().enumerate();
        let rows = |(entry, held): (usize, &Entry)| {
            (0..held.trajectory.frames).map(move |step| Row {
                entry,
                trajectory: first + entry,
                step,
            })
        };
        entries.flat_map(rows).collect()
    }

    /// Bytes of a frame as f32.
    pub(crate) fn frame_bytes(&self) -> u64 {
        4 * (self.schema.channels().len() * self.schema.grid.cells()) as u64
    }

    /// A frame of the file for a step of what is taken.
    pub(crate) fn step_of_file(&self, step: usize) -> usize {
        step * self.selection.time_stride.max(1)
    }

    /// A file, opened if nobody has it open.
    pub(crate) async fn file(&self, index: usize) -> Result<Arc<OpenFile>> {
        let mut open = self.open.lock().await;
        if let Some((_, file)) = open.iter().find(|(known, _)| *known == index) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.files[index].open().await?);
        open.insert(0, (index, Arc::clone(&file)));
        open.truncate(OPEN_FILES);
        Ok(file)
    }

    /// The files that some entries lie in.
    pub(crate) async fn files_of(
        &self,
        split: Split,
        entries: impl Iterator<Item = usize>,
    ) -> Result<BTreeMap<usize, Arc<OpenFile>>> {
        let mut files = BTreeMap::new();
        for entry in entries {
            let index = self.splits[&split][entry].file;
            if let btree_map::Entry::Vacant(place) = files.entry(index) {
                place.insert(self.file(index).await?);
            }
        }
        Ok(files)
    }

    /// Readers of the fields that vary in time, or of those that do not.
    ///
    /// # Errors
    /// [`Error::Layout`] for a file that lacks one.
    pub(crate) fn readers<'a>(
        &'a self,
        file: &'a OpenFile,
        time_varying: bool,
    ) -> Result<Vec<(&'a TakenField, FieldReader<'a>)>> {
        let fields = self.fields.iter();
        fields
            .filter(|field| field.time_varying == time_varying)
            .map(|field| {
                let index = file.well.field(&field.name)?;
                Ok((field, FieldReader::new(file, index, &self.space)))
            })
            .collect()
    }

    /// What a file holds beside fields, as it is stored.
    pub(crate) async fn contents(&self, index: usize) -> Result<Vec<u8>> {
        json(&self.files[index].look().await?.1)
    }
}

fn json(contents: &Contents) -> Result<Vec<u8>> {
    serde_json::to_vec(contents).map_err(|error| Error::Task {
        reason: error.to_string(),
    })
}

fn fields(selection: &Selection, whole: &Schema) -> Result<Vec<TakenField>> {
    let mut next = [0, 0];
    let mut fields = Vec::new();
    for index in selection::taken_fields(selection, whole)? {
        let field = &whole.fields[index];
        let next = &mut next[usize::from(field.time_varying)];
        let channels = *next..*next + field.channels(&whole.grid).len();
        *next = channels.end;
        fields.push(TakenField {
            name: field.name.clone(),
            time_varying: field.time_varying,
            channels,
        });
    }
    Ok(fields)
}

impl Entry {
    fn of(file: &WellFile, name: &str, (index, sample): (usize, usize), taken: &Selection) -> Self {
        let every = taken.time_stride.max(1);
        let some = |values: &[f64]| values.iter().step_by(every).copied().collect::<Vec<f64>>();
        let series = file.series(sample).into_iter();
        Self {
            file: index,
            sample,
            times: some(file.times(sample)),
            trajectory: Trajectory {
                source: format!("{name}#{sample}"),
                frames: file.frames.div_ceil(every),
                parameters: file.parameters(sample),
                series: series.map(|(name, values)| (name, some(&values))).collect(),
            },
        }
    }
}
