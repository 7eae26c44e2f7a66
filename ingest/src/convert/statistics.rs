//! First pass: statistics of the training split.
//!
//! The frames are cut into pieces that depend on the source alone, and the pieces' moments are merged
//! in order: the result has the same bits however many threads or machines gathered them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use wellspring_store::{ChannelMoments, ChannelStatistics, Split, Statistics};

use crate::catalogue::{Catalogue, Entry, EntryId};
use crate::convert::watch::{Watch, refuse_fill};
use crate::findings::track::Track;
use crate::well::glance::Glance;
use crate::well::{Cell, FieldReader, OpenFile, Slab};
use crate::{Error, Result};

/// Bytes of a piece, about. Its first frame is compared with the one before, which is read again.
const PIECE_BYTES: u64 = 64 << 20;

/// Frames of a piece at least.
const PIECE_FRAMES: usize = 16;

/// Frames whose statistics are gathered together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Some steps of a trajectory.
    Frames(EntryId, Range<usize>),
    /// The fields of a split that do not vary in time.
    Constants(Split),
}

/// For the log: `train 3, frames 16 to 31`.
impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames(EntryId { split, index }, steps) => {
                let last = steps.end.saturating_sub(1);
                write!(f, "{split} {index}, frames {} to {last}", steps.start)
            }
            Self::Constants(split) => write!(f, "{split}, constants"),
        }
    }
}

/// All pieces, in order.
pub(crate) fn pieces(catalogue: &Catalogue) -> Vec<Piece> {
    let splits: Vec<Split> = match catalogue.splits.contains_key(&Split::Train) {
        true => vec![Split::Train],
        false => catalogue.splits.keys().copied().collect(),
    };
    let frames = (PIECE_BYTES / catalogue.frame_bytes().max(1)) as usize;
    let frames = frames.max(PIECE_FRAMES);
    let mut pieces = Vec::new();
    for &split in &splits {
        for (index, held) in catalogue.splits[&split].iter().enumerate() {
            let (id, all) = (EntryId { split, index }, held.trajectory.frames);
            let steps = (0..all).step_by(frames);
            let piece = |start| Piece::Frames(id, start..(start + frames).min(all));
            pieces.extend(steps.map(piece));
        }
    }
    if !catalogue.schema.constant_channels().is_empty() {
        pieces.extend(splits.into_iter().map(Piece::Constants));
    }
    pieces
}

impl Piece {
    /// Bytes of its frames as f32.
    pub(crate) fn bytes(&self, catalogue: &Catalogue) -> u64 {
        match self {
            Self::Frames(_, steps) => steps.len() as u64 * catalogue.frame_bytes(),
            Self::Constants(_) => 0,
        }
    }

    /// Moments of each channel.
    #[tracing::instrument(name = "statistics", level = "info", skip_all, fields(of = %self))]
    pub(crate) async fn moments(self, catalogue: Arc<Catalogue>) -> Result<Vec<ChannelMoments>> {
        let (id, steps) = match self {
            Self::Frames(id, steps) => (id, steps),
            Self::Constants(split) => return constants(&catalogue, split).await,
        };
        let file = catalogue.file(catalogue.entry(id).file).await?;
        let work = tokio::task::spawn_blocking(move || frames(&catalogue, &file, id, steps));
        work.await.map_err(Error::task)?
    }
}

fn frames(
    catalogue: &Catalogue,
    file: &OpenFile,
    id: EntryId,
    steps: Range<usize>,
) -> Result<Vec<ChannelMoments>> {
    let held = catalogue.entry(id);
    let mut moments = vec![ChannelMoments::default(); catalogue.schema.channels().len()];
    for (field, mut reader) in catalogue.readers(file, true)? {
        let own = &mut moments[field.channels.clone()];
        let fills = catalogue.fills(held.file, field);
        // Before it is in the statistics; the second pass looks at everything else.
        let look = |reader: &FieldReader<'_>, step| {
            refuse_fill(catalogue, id, field, step, reader.fill_value(fills))
        };
        let steps = steps.clone();
        // What f64 tells apart f32 may not: a small change of a large number.
        match reader.is_wide() {
            true => add_frames::<f64>(catalogue, &mut reader, held, steps, look, own)?,
            false => add_frames::<f32>(catalogue, &mut reader, held, steps, look, own)?,
        }
    }
    Ok(moments)
}

/// Adds some steps of a field to the moments of its channels, once `look` lets them pass.
fn add_frames<X: Cell>(
    catalogue: &Catalogue,
    reader: &mut FieldReader<'_>,
    held: &Entry,
    steps: Range<usize>,
    look: impl Fn(&FieldReader<'_>, usize) -> Result<()>,
    moments: &mut [ChannelMoments],
) -> Result<()> {
    let row = catalogue.schema.grid.cells() / catalogue.schema.grid.shape()[0];
    for slab in reader.slabs() {
        let empty = || vec![vec![X::default(); slab.rows.len() * row]; moments.len()];
        let (mut before, mut now) = (empty(), empty());
        for step in steps.start.saturating_sub(1)..steps.end {
            let mut planes: Vec<&mut [X]> = now.iter_mut().map(Vec::as_mut_slice).collect();
            let at = catalogue.step_of_file(step);
            reader.raw_planes(held.sample, at, &slab, &mut planes)?;
            if step >= steps.start {
                look(reader, step)?;
                let pairs = now.iter().zip(&before);
                for (moments, (now, before)) in moments.iter_mut().zip(pairs) {
                    moments.add(now, (step > 0).then_some(before.as_slice()));
                }
            }
            std::mem::swap(&mut before, &mut now);
        }
    }
    Ok(())
}

async fn constants(catalogue: &Arc<Catalogue>, split: Split) -> Result<Vec<ChannelMoments>> {
    let mut moments = vec![ChannelMoments::default(); catalogue.schema.constant_channels().len()];
    for index in 0..catalogue.splits[&split].len() {
        let read =
            |reader: &mut FieldReader<'_>, sample, slab: &Slab, _, planes: &mut [&mut [f64]]| {
                reader.raw_planes(sample, 0, slab, planes)
            };
        let frame = constant_frame(catalogue, EntryId { split, index }, read).await?;
        let cells = catalogue.schema.grid.cells();
        for (moments, values) in moments.iter_mut().zip(frame.values.chunks(cells)) {
            moments.add(values, None);
        }
    }
    Ok(moments)
}

/// The fields of a trajectory that do not vary in time.
pub(crate) struct ConstantFrame<X> {
    /// (C, *space).
    pub(crate) values: Vec<X>,
    /// Checksums of the stored values.
    pub(crate) sums: Vec<u64>,
    pub(crate) tracks: Vec<Track>,
}

/// Reads the fields of a trajectory that do not vary in time; `read` fills the planes of some channels
/// with a slab of a sample.
pub(crate) async fn constant_frame<X: Cell + Send + 'static>(
    catalogue: &Arc<Catalogue>,
    id: EntryId,
    read: impl Fn(&mut FieldReader<'_>, usize, &Slab, Range<usize>, &mut [&mut [X]]) -> Result<()>
    + Send
    + 'static,
) -> Result<ConstantFrame<X>> {
    let held = catalogue.entry(id);
    let (file, sample, file_index) = (catalogue.file(held.file).await?, held.sample, held.file);
    let catalogue = Arc::clone(catalogue);
    let work = tokio::task::spawn_blocking(move || {
        let cells = catalogue.schema.grid.cells();
        let row = cells / catalogue.schema.grid.shape()[0];
        let mut values = vec![X::default(); catalogue.schema.constant_channels().len() * cells];
        let (mut sums, mut watch) = (Vec::new(), Watch::new(&catalogue, id.split));
        for (field, mut reader) in catalogue.readers(&file, false)? {
            let channels = field.channels.clone();
            let (first, last) = (channels.start * cells, channels.end * cells);
            let fills = catalogue.fills(file_index, field);
            let mut seen: Option<Glance> = None;
            for slab in reader.slabs() {
                let place = slab.rows.start * row..slab.rows.end * row;
                let mut planes: Vec<&mut [X]> = values[first..last]
                    .chunks_mut(cells)
                    .map(|plane| &mut plane[place.clone()])
                    .collect();
                let channels = channels.clone();
                read(&mut reader, sample, &slab, channels, &mut planes)?;
                let glance = reader.glance(fills);
                sums.push(glance.checksum);
                seen = Some(seen.map_or(glance.clone(), |seen| seen.and(&glance)));
            }
            if let Some(glance) = seen {
                watch.look(id.index, field, 0, &glance)?;
            }
        }
        let tracks = watch.tracks();
        Ok(ConstantFrame {
            values,
            sums,
            tracks,
        })
    });
    work.await.map_err(Error::task)?
}

/// Statistics from the moments of all pieces, in order.
pub(crate) fn merged(
    catalogue: &Catalogue,
    pieces: &[Piece],
    moments: Vec<Vec<ChannelMoments>>,
) -> Statistics {
    let schema = &catalogue.schema;
    let mut frames = vec![ChannelMoments::default(); schema.channels().len()];
    let mut constants = vec![ChannelMoments::default(); schema.constant_channels().len()];
    for (piece, moments) in pieces.iter().zip(moments) {
        let all = match piece {
            Piece::Frames(..) => &mut frames,
            Piece::Constants(_) => &mut constants,
        };
        all.iter_mut()
            .zip(moments)
            .for_each(|(all, new)| *all = all.merge(new));
    }
    let mut statistics = named(schema.channels(), frames);
    statistics.extend(named(schema.constant_channels(), constants));
    Statistics(statistics)
}

fn named(
    channels: Vec<String>,
    moments: Vec<ChannelMoments>,
) -> BTreeMap<String, ChannelStatistics> {
    channels
        .into_iter()
        .zip(moments.into_iter().map(Into::into))
        .collect()
}
