//! Opens the files of a source one after another, checks that they belong together, and collects their
//! trajectories.

use std::collections::BTreeMap;

use wellspring_store::{Attachment, Contents, Field, Schema, Selection, Split, Trajectory};

use super::{Entry, json};
use crate::catalogue::source::SourceFile;
use crate::findings::remarks::Remarks;
use crate::findings::{Finding, axes};
use crate::well::WellFile;
use crate::{Error, Result};

/// What was found in the files so far.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) first: Option<WellFile>,
    pub(super) files: Vec<SourceFile>,
    /// For each file: its size in bytes, and the record of what it holds beside fields.
    pub(super) described: Vec<(u64, Attachment)>,
    /// For each file: the values that it names as missing, by field.
    pub(super) fills: Vec<BTreeMap<String, Vec<f64>>>,
    pub(super) splits: BTreeMap<Split, Vec<Entry>>,
    pub(super) remarks: Remarks,
}

impl Survey {
    /// Opens a file and takes its trajectories in, if it belongs with the first.
    pub(super) async fn file(
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
        for remark in file.remarks(&contents) {
            self.remarks.add(&source.below, remark);
        }
        let described = json(&contents)?;
        let described = Attachment::of("sources", "json", &described);
        self.described.push((source.bytes().await?, described));
        self.fills.push(fills(&file.schema, &contents));
        let grid = &self.first.as_ref().unwrap_or(&file).schema.grid.axes;
        let entries = self.splits.entry(source.split).or_default();
        for sample in (0..file.samples).filter(|&sample| !excluded(sample)) {
            let index = self.files.len();
            let mut entry = Entry::of(&file, source.name(), index, sample, selection);
            entry.trajectory.coordinates = axes::own_coordinates(grid, &file.coordinates(sample));
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
    /// What its axes say that those of the trajectory before, in the same file, did not say already; the
    /// times are those of every so many frames.
    pub(super) fn findings(&self, before: Option<&Self>, file: &str, every: usize) -> Vec<Finding> {
        let before = before.filter(|other| other.file == self.file);
        let mut findings = Vec::new();
        if !before.is_some_and(|other| same(&other.times, &self.times)) {
            findings.extend(axes::time(file, self.sample, every, &self.times));
        }
        let own = &self.trajectory.coordinates;
        let is_known = before.is_some_and(|other| other.trajectory.coordinates == *own);
        if !own.is_empty() && !is_known {
            findings.push(axes::coordinates(file, self.sample, own));
        }
        findings
    }

    fn of(file: &WellFile, name: &str, index: usize, sample: usize, taken: &Selection) -> Self {
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

/// Whether two lists of times have the same bits, so that NaN equals itself.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
