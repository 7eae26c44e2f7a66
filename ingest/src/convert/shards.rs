//! Second pass: writes a run of normalized rows into a shard.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use wellspring_store::{Frames, Normalizer, Row as StoredRow, ShardWriter, Split};
use xxhash_rust::xxh3::Xxh3;

use crate::catalogue::{Catalogue, EntryId, Row, TakenField};
use crate::convert::statistics::constant_frame;
use crate::convert::watch::Watch;
use crate::findings::track::Track;
use crate::well::glance::Glance;
use crate::well::{FieldReader, OpenFile, Slab};
use crate::{Error, Result};

/// A filled shard, a checksum of what was read for each of its rows, and what was seen of it.
pub(crate) struct FilledShard {
    pub(crate) shard: ShardWriter,
    pub(crate) digests: Vec<u64>,
    pub(crate) tracks: Vec<Track>,
}

/// Fills a shard with rows of a split.
#[tracing::instrument(name = "fill shard", level = "info", skip_all, fields(%split, rows = rows.len()))]
pub(crate) async fn fill(
    catalogue: Arc<Catalogue>,
    split: Split,
    rows: Vec<Row>,
    normalizer: Normalizer,
    shard: ShardWriter,
) -> Result<FilledShard> {
    let entries = rows.iter().map(|row| row.entry);
    let files = catalogue.files_of(split, entries).await?;
    let work = tokio::task::spawn_blocking(move || {
        let mut filling = ShardSource {
            catalogue: &catalogue,
            split,
            files: &files,
            normalizer: &normalizer,
            readers: None,
            watch: Watch::new(&catalogue, split),
        };
        let mut filled = FilledShard {
            shard,
            digests: Vec::new(),
            tracks: Vec::new(),
        };
        for batch in rows.chunks(filled.shard.batch_rows()) {
            filling.batch(batch, &mut filled)?;
        }
        filled.tracks = filling.watch.tracks();
        Ok(filled)
    });
    work.await.map_err(Error::task)?
}

/// A trajectory or step as a shard has it.
fn number(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| Error::Selection {
        reason: format!("trajectories and steps are numbered in 32 bits, which {index} exceeds"),
    })
}

/// A reader for each field that is taken.
type Readers<'a> = Vec<(&'a TakenField, FieldReader<'a>)>;

struct ShardSource<'a> {
    catalogue: &'a Catalogue,
    split: Split,
    files: &'a BTreeMap<usize, Arc<OpenFile>>,
    normalizer: &'a Normalizer,
    /// Index and readers of the file that was read last.
    readers: Option<(usize, Readers<'a>)>,
    watch: Watch<'a>,
}

impl ShardSource<'_> {
    fn batch(&mut self, rows: &[Row], filled: &mut FilledShard) -> Result<()> {
        let entries = &self.catalogue.splits[&self.split];
        let mut channels = filled.shard.lists(rows.len());
        let mut sums = vec![Xxh3::new(); rows.len()];
        let mut first = 0;
        for run in rows.chunk_by(|a, b| a.entry == b.entry) {
            let sums = &mut sums[first..first + run.len()];
            self.run(run, first, &mut channels, sums)?;
            first += run.len();
        }
        let keys = rows.iter().map(|row| {
            Ok(StoredRow {
                trajectory: number(row.trajectory)?,
                step: number(row.step)?,
                time: entries[row.entry].times[row.step],
            })
        });
        filled
            .shard
            .push_rows(keys.collect::<Result<_>>()?, channels)?;
        filled.digests.extend(sums.iter().map(Xxh3::digest));
        Ok(())
    }

    /// Rows of one trajectory, the first of which is row `first` of the batch.
    fn run(
        &mut self,
        rows: &[Row],
        first: usize,
        channels: &mut [Vec<f32>],
        sums: &mut [Xxh3],
    ) -> Result<()> {
        let catalogue = self.catalogue;
        let entry = &catalogue.splits[&self.split][rows[0].entry];
        let cells = catalogue.schema.grid.cells();
        let row_cells = cells / catalogue.schema.grid.shape()[0];
        if self
            .readers
            .as_ref()
            .is_none_or(|(file, _)| *file != entry.file)
        {
            let files = self.files;
            let readers = catalogue.readers(&files[&entry.file], true)?;
            self.readers = Some((entry.file, readers));
        }
        for (field, reader) in self.readers.iter_mut().flat_map(|(_, readers)| readers) {
            let taken = field.channels.clone();
            let maps = &self.normalizer.channels()[taken.clone()];
            let fills = catalogue.fills(entry.file, field);
            let mut seen: Vec<Option<Glance>> = vec![None; rows.len()];
            for slab in reader.slabs() {
                for (place, (row, sum)) in rows.iter().zip(&mut *sums).enumerate() {
                    let start = (first + place) * cells;
                    let at = start + slab.rows.start * row_cells..start + slab.rows.end * row_cells;
                    let mut planes: Vec<&mut [f32]> = channels[taken.clone()]
                        .iter_mut()
                        .map(|values| &mut values[at.clone()])
                        .collect();
                    let step = catalogue.step_of_file(row.step);
                    reader.planes(entry.sample, step, &slab, maps, &mut planes)?;
                    let glance = reader.glance(fills);
                    sum.update(&glance.checksum.to_le_bytes());
                    seen[place] = Some(match seen[place].take() {
                        Some(seen) => seen.and(&glance),
                        None => glance,
                    });
                }
            }
            for (row, glance) in rows.iter().zip(seen.iter().flatten()) {
                self.watch.look(row.entry, field, row.step, glance)?;
            }
        }
        Ok(())
    }
}

/// Fills a shard with the fields of a split that do not vary in time, a row a trajectory, numbered
/// from `first` on.
pub(crate) async fn fill_constants(
    catalogue: &Arc<Catalogue>,
    split: Split,
    first: usize,
    normalizer: &Normalizer,
    mut shard: ShardWriter,
) -> Result<FilledShard> {
    let (mut digests, mut tracks) = (Vec::new(), Vec::new());
    let space = catalogue.schema.grid.shape();
    for (index, held) in catalogue.splits[&split].iter().enumerate() {
        let own = normalizer.clone();
        let read = move |reader: &mut FieldReader<'_>,
                         sample,
                         slab: &Slab,
                         channels,
                         planes: &mut [&mut [f32]]| {
            let channels: Range<usize> = channels;
            reader.planes(sample, 0, slab, &own.channels()[channels], planes)
        };
        let read = constant_frame(catalogue, EntryId { split, index }, read).await?;
        let frame = Frames::new(
            1,
            1,
            normalizer.channels().len(),
            space.clone(),
            read.values,
        )?;
        shard.push((number(first + index)?, 0), held.times[0], &frame)?;
        let mut sum = Xxh3::new();
        read.sums
            .iter()
            .for_each(|read| sum.update(&read.to_le_bytes()));
        digests.push(sum.digest());
        tracks.extend(read.tracks);
    }
    Ok(FilledShard {
        shard,
        digests,
        tracks,
    })
}
