//! Every trajectory of a source, what of it is taken, and the files it lies in.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Mutex;
use wellspring_store::{
    Attachment, AxisSelection, Contents, Field, Reporter, Schema, Selection, Split, Trajectory,
};

use crate::findings::judge::Judge;
use crate::findings::track::Named;
use crate::findings::{Finding, FindingKind, axes};
use crate::source::{Source, SourceFile};
use crate::well::{FieldReader, OpenFile, WellFile};
use crate::{Error, Result, pattern, selection};

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
    /// Of each file, the values that it names as missing, by field.
    fills: Vec<BTreeMap<String, Vec<f64>>>,
    pub(crate) judge: Judge,
    open: Mutex<Vec<(usize, Arc<OpenFile>)>>,
}

/// A field that is taken.
#[derive(Debug, Clone)]
pub(crate) struct TakenField {
    /// Among the fields that are taken.
    pub(crate) place: usize,
    /// Among the file's fields.
    index: usize,
    pub(crate) name: String,
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
    pub(crate) trajectory: u32,
    pub(crate) step: usize,
}

impl Catalogue {
    /// Opens every file once and checks that they belong together; findings that do not end the work go
    /// to `findings`.
    ///
    /// # Errors
    /// [`Error::NoFiles`], [`Error::Selection`]; what is wrong with a file, unless the judge goes on.
    pub(crate) async fn open(
        source: Source,
        mut selection: Selection,
        judge: Judge,
        findings: &mut Vec<Finding>,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let left_out = selection::left_out(&selection)?;
        let mut looking = Looking::default();
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

    /// Times of all trajectories, and coordinates, of which each keeps what differs from the grid.
    fn look_at_axes(&mut self, findings: &mut Vec<Finding>) -> Result<()> {
        let every = self.selection.time_stride.max(1);
        for entries in self.splits.values_mut() {
            let mut before: Option<&Entry> = None;
            for entry in entries {
                let grid = &self.schema.grid.axes;
                let cells = grid.iter().zip(&self.space);
                let coordinates = &mut entry.trajectory.coordinates;
                for (axis, taken) in cells {
                    if let Some(own) = coordinates.get_mut(&axis.name) {
                        *own = taken
                            .cells()
                            .filter_map(|cell| own.get(cell).copied())
                            .collect();
                    }
                }
                coordinates.retain(|name, own| {
                    !grid
                        .iter()
                        .any(|axis| axis.name == *name && axis.coordinates == *own)
                });
                let before = before
                    .replace(entry)
                    .filter(|other| other.file == entry.file);
                let file = &self.files[entry.file].below;
                if !before.is_some_and(|other| same(&other.times, &entry.times)) {
                    let time = axes::time(file, (entry.sample, every), &entry.times);
                    findings.extend(time.map(|found| self.judge.pass(found)).transpose()?);
                }
                let own = &entry.trajectory.coordinates;
                if !own.is_empty()
                    && !before.is_some_and(|other| other.trajectory.coordinates == *own)
                {
                    findings.push(
                        self.judge
                            .pass(axes::coordinates(file, entry.sample, own))?,
                    );
                }
            }
        }
        Ok(())
    }

    /// Keeps only some trajectories.
    pub(crate) fn retain(&mut self, keeps: impl Fn(Split, &Entry) -> bool) {
        for (&split, entries) in &mut self.splits {
            entries.retain(|entry| keeps(split, entry));
        }
        self.splits.retain(|_, entries| !entries.is_empty());
    }

    /// Rows of a split, its trajectories numbered from `first` on.
    pub(crate) fn rows(&self, split: Split, first: usize) -> Vec<Row> {
        let entries = self.splits[&split].iter().enumerate();
        let rows = |(entry, held): (usize, &Entry)| {
            (0..held.trajectory.frames).map(move |step| Row {
                entry,
                trajectory: (first + entry) as u32,
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
    pub(crate) fn readers<'a>(
        &'a self,
        file: &'a OpenFile,
        time_varying: bool,
    ) -> Vec<(&'a TakenField, FieldReader<'a>)> {
        self.fields
            .iter()
            .filter(|field| field.time_varying == time_varying)
            .map(|field| {
                let reader = FieldReader::new(file, field.index, &self.space);
                (field, reader.with_zeroes(self.judge.zeroes()))
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
    pub(crate) fn named(&self, split: Split, entry: usize, field: usize) -> Named<'_> {
        let (held, field) = (&self.splits[&split][entry], &self.fields[field]);
        Named {
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
            index,
            name: field.name.clone(),
            time_varying: field.time_varying,
            channels,
        });
    }
    Ok(fields)
}

/// Bit by bit: a time that is no number equals itself.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// What was found in the files so far.
#[derive(Default)]
struct Looking {
    first: Option<WellFile>,
    files: Vec<SourceFile>,
    described: Vec<(u64, Attachment)>,
    fills: Vec<BTreeMap<String, Vec<f64>>>,
    splits: BTreeMap<Split, Vec<Entry>>,
}

impl Looking {
    /// Opens a file and takes its trajectories in, if it belongs with the first.
    async fn file(
        &mut self,
        source: SourceFile,
        selection: &Selection,
        excluded: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let (file, contents) = source.look().await?;
        if let Some(first) = &self.first {
            first.fits(&file)?;
            if selection.name.is_none() {
                named_alike(first, &file)?;
            }
        }
        let described = json(&contents)?;
        let described = Attachment::of("sources", "json", &described);
        self.described.push((source.bytes().await?, described));
        self.fills.push(fills(&file.schema, &contents));
        let grid = &self.first.as_ref().unwrap_or(&file).schema.grid.axes;
        let own = file.schema.grid.axes.iter();
        let own: Vec<Vec<f64>> = own.map(|axis| axis.coordinates.clone()).collect();
        let own = axes::own_coordinates(grid, &own);
        let entries = self.splits.entry(source.split).or_default();
        for sample in (0..file.samples).filter(|&sample| !excluded(sample)) {
            let place = (self.files.len(), sample);
            let mut entry = Entry::of(&file, source.name(), place, selection);
            entry.trajectory.coordinates.clone_from(&own);
            entries.push(entry);
        }
        self.files.push(source);
        self.first.get_or_insert(file);
        Ok(())
    }
}

/// Whether two files say that they are of one data set.
fn named_alike(first: &WellFile, file: &WellFile) -> Result<()> {
    let (name, found) = (&first.schema.name, &file.schema.name);
    if name == found {
        return Ok(());
    }
    Err(Error::Mixed {
        file: file.named.clone(),
        other: first.named.clone(),
        reason: format!(
            "its dataset_name is {found}, not {name} (a name for all of them, --name, takes them as one)"
        ),
    })
}

/// The values that a file names as missing ones, as NetCDF and CF do.
fn fills(schema: &Schema, contents: &Contents) -> BTreeMap<String, Vec<f64>> {
    let named = |field: &Field| {
        let path = format!("/t{}_fields/{}", field.order as usize, field.name);
        let held = contents.attributes.get(&path)?;
        let values = ["_FillValue", "missing_value"].into_iter();
        let values = values.filter_map(|name| held.get(name)?.as_f64()).flatten();
        // Zero is what any field may hold, and NaN is refused anyway.
        let values: Vec<f64> = values
            .filter(|value| value.is_finite() && *value != 0.0)
            .collect();
        (!values.is_empty()).then(|| (field.name.clone(), values))
    };
    schema.fields.iter().filter_map(named).collect()
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
                coordinates: BTreeMap::new(),
            },
        }
    }
}
