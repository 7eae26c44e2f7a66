//! [`Catalogue`]: every trajectory of a source, the part of it that is taken, and the files that hold it.

pub(crate) mod inspect;
pub(crate) mod options;
pub(crate) mod pattern;
pub(crate) mod selection;
pub(crate) mod source;
mod survey;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Mutex;
use wellspring_store::{
    Attachment, AxisSelection, Contents, Reporter, Schema, Selection, Split, Trajectory, Transform,
};

use self::survey::Survey;
use crate::catalogue::source::{SourceFile, SourceFiles};
use crate::findings::judge::Judge;
use crate::findings::track::TrackName;
use crate::findings::{Finding, FindingKind, axes};
use crate::well::{FieldReader, OpenFile};
use crate::{Error, Result};
pub use inspect::{Summary, inspect, read_frame};
pub use options::{IngestOptions, Part};

/// Number of files that stay open, with their indices, for the next reader.
const OPEN_FILES: usize = 16;

/// All trajectories of a source, by split, as far as they are selected.
pub(crate) struct Catalogue {
    /// Schema of the part of the source that is taken.
    pub(crate) schema: Schema,
    pub(crate) selection: Selection,
    pub(crate) space: Vec<AxisSelection>,
    pub(crate) files: Vec<SourceFile>,
    /// Size of each file, and the record of what it holds beside fields.
    pub(crate) described: Vec<(u64, Attachment)>,
    pub(crate) splits: BTreeMap<Split, Vec<Entry>>,
    pub(crate) fields: Vec<TakenField>,
    /// For each file: the values that it names as missing, by field.
    fills: Vec<BTreeMap<String, Vec<f64>>>,
    pub(crate) judge: Judge,
    open: Mutex<Vec<(usize, Arc<OpenFile>)>>,
}

/// A field that is taken.
#[derive(Debug, Clone)]
pub(crate) struct TakenField {
    /// Among the fields that are taken.
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) time_varying: bool,
    /// Channels of the field among those of the frames, or of the constants.
    pub(crate) channels: Range<usize>,
}

impl TakenField {
    /// What the field's values go through before they are normalized.
    pub(crate) fn transform(&self, catalogue: &Catalogue) -> Option<Transform> {
        catalogue.schema.fields[self.place].transform
    }
}

/// A trajectory and its place in the source.
pub(crate) struct Entry {
    pub(crate) file: usize,
    pub(crate) sample: usize,
    pub(crate) times: Vec<f64>,
    pub(crate) trajectory: Trajectory,
}

/// Which trajectory of a source: an entry of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryId {
    pub(crate) split: Split,
    pub(crate) index: usize,
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
    /// Opens every file once and checks that they belong together; findings that do not end the work go
    /// to `findings`.
    ///
    /// # Errors
    /// [`Error::NoFiles`], [`Error::Selection`]; what is wrong with a file, unless the judge goes on.
    pub(crate) async fn open(
        source: SourceFiles,
        mut selection: Selection,
        judge: Judge,
        findings: &mut Vec<Finding>,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let left_out = selection::left_out(&selection)?;
        let mut looking = Survey::default();
        reporter.begin("looking at files", Some(source.files.len() as u64), "files");
        for file in source.files {
            let below = file.below.clone();
            let excluded = |sample| {
                let mut patterns = left_out.iter();
                patterns.any(|&(file, left)| left == sample && pattern::matches(file, &below))
            };
            let looked = looking.file(file, &selection, excluded).await;
            findings.extend(judge.unless_it_ends(&below, looked)?);
            reporter.advance(1);
        }
        reporter.end();
        findings.extend(looking.remarks.findings());
        let Some(first) = looking.first else {
            return Err(Error::NoFiles {
                source_url: "the source".into(),
            });
        };
        let mut splits = looking.splits;
        if let Some((start, end)) = selection.trajectories {
            splits.values_mut().for_each(|entries| {
                entries.truncate(end);
                entries.drain(..start.min(entries.len()));
            });
        }
        splits.retain(|_, entries| !entries.is_empty());
        if splits.is_empty() {
            let reason = "no split has a trajectory that is selected".into();
            return Err(Error::Selection { reason });
        }
        let space = selection::space(&selection, &first.schema.grid)?;
        if !selection.space.is_empty() {
            selection.space.clone_from(&space);
        }
        let mut catalogue = Self {
            schema: selection::schema(&selection, &space, &first.schema)?,
            fields: fields(&selection, &first.schema)?,
            selection,
            space,
            files: looking.files,
            described: looking.described,
            fills: looking.fills,
            splits,
            judge,
            open: Mutex::default(),
        };
        catalogue.look_at_axes(findings)?;
        Ok(catalogue)
    }

    /// Looks at the times and coordinates of every trajectory, and leaves those coordinates that are taken
    /// and differ from the grid's.
    fn look_at_axes(&mut self, findings: &mut Vec<Finding>) -> Result<()> {
        let every = self.selection.time_stride.max(1);
        for entries in self.splits.values_mut() {
            for entry in entries.iter_mut() {
                let coordinates = &mut entry.trajectory.coordinates;
                axes::cut(coordinates, &self.schema.grid.axes, &self.space);
            }
            for (place, entry) in entries.iter().enumerate() {
                let before = place.checked_sub(1).map(|place| &entries[place]);
                let file = &self.files[entry.file].below;
                for finding in entry.findings(before, file, every) {
                    findings.push(self.judge.pass(finding)?);
                }
            }
        }
        Ok(())
    }

    /// Gives the fields the transforms that a data set's fields of these names have.
    pub(crate) fn set_transforms_of(&mut self, other: &Schema) {
        for field in &mut self.schema.fields {
            let known = other.fields.iter().find(|known| known.name == field.name);
            field.transform = known.and_then(|known| known.transform);
        }
    }

    /// Keeps only some trajectories.
    pub(crate) fn retain(&mut self, keeps: impl Fn(Split, &Entry) -> bool) {
        for (&split, entries) in &mut self.splits {
            entries.retain(|entry| keeps(split, entry));
        }
        self.splits.retain(|_, entries| !entries.is_empty());
    }

    /// A trajectory that is there.
    pub(crate) fn entry(&self, id: EntryId) -> &Entry {
        &self.splits[&id.split][id.index]
    }

    /// Bytes of a frame as f32.
    pub(crate) fn frame_bytes(&self) -> u64 {
        4 * (self.schema.channels().len() * self.schema.grid.cells()) as u64
    }

    /// A frame of the file for a step of what is taken.
    pub(crate) fn step_of_file(&self, step: usize) -> usize {
        step * self.selection.time_stride.max(1)
    }

    /// The file with an index, opened if it is not open.
    pub(crate) async fn file(&self, index: usize) -> Result<Arc<OpenFile>> {
        let mut open = self.open.lock().await;
        if let Some((_, file)) = open.iter().find(|(known, _)| *known == index) {
            return Ok(Arc::clone(file));
        }
        let mut file = self.files[index].open().await?;
        file.allow_unwritten = self.judge.allows(FindingKind::Unwritten);
        let file = Arc::new(file);
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
                let reader = FieldReader::new(file, index, &self.space);
                Ok((field, reader.with_zeroes(self.judge.zeroes())))
            })
            .collect()
    }

    /// The values that a file names as missing ones of a field.
    pub(crate) fn fills(&self, file: usize, field: &TakenField) -> &[f64] {
        let fills = self
            .fills
            .get(file)
            .and_then(|fills| fills.get(&field.name));
        fills.map_or(&[], Vec::as_slice)
    }

    /// What findings call a field of a trajectory.
    pub(crate) fn named(&self, id: EntryId, field: usize) -> TrackName<'_> {
        let (held, field) = (self.entry(id), &self.fields[field]);
        TrackName {
            file: &self.files[held.file].below,
            field: &field.name,
            trajectory: held.sample,
            frames: held.trajectory.frames,
            every: self.selection.time_stride.max(1),
            time_varying: field.time_varying,
        }
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
            place: fields.len(),
            name: field.name.clone(),
            time_varying: field.time_varying,
            channels,
        });
    }
    Ok(fields)
}
