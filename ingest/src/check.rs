//! Finds everything that is wrong or odd in a source or a data set, without writing anything.

mod dataset;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use wellspring_store::{Location, Reporter, Selection};
use xxhash_rust::xxh3::Xxh3;

use crate::catalogue::source::SourceFiles;
use crate::catalogue::{Catalogue, Entry, EntryId, TakenField};
use crate::findings::Finding;
use crate::findings::judge::Judge;
use crate::findings::track::Track;
use crate::findings::twins::{Member, twins};
use crate::well::glance::Glance;
use crate::well::{FieldReader, OpenFile};
use crate::{Error, Result};

pub use dataset::check_dataset;

/// Lists all findings in the selected part of a source, in the order of files, trajectories and fields;
/// duplicate trajectories come last. It reads every value that an ingest would, `threads` trajectories at
/// the same time.
///
/// # Errors
/// [`Error::NoFiles`], [`Error::Selection`]; [`Error::Store`] when the source cannot be listed. What is
/// wrong with a file is a finding.
pub async fn check(
    source: &Location,
    selection: &Selection,
    threads: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<Finding>> {
    hdf5::silence_errors(true);
    let judge = Judge::of(selection)?.going_on();
    let found = SourceFiles::list(source, &selection.exclude).await?;
    let notes = found.rest.notes();
    notes.iter().for_each(|note| reporter.note(note));
    found.holds_files(source)?;
    let mut findings = found.rest.findings();
    let opened = Catalogue::open(found, selection.clone(), judge, &mut findings, reporter).await;
    let catalogue = match opened {
        // Every file there is has a finding.
        Err(Error::NoFiles { .. }) => return Ok(findings),
        opened => Arc::new(opened?),
    };
    let seen = look_at_all(&catalogue, threads, reporter).await?;
    let members: Vec<Member> = seen.iter().filter_map(|seen| seen.member.clone()).collect();
    findings.extend(seen.into_iter().flat_map(|seen| seen.findings));
    // What is wrong with a file as a whole, each of its trajectories says.
    findings.dedup();
    findings.extend(twins(&members));
    Ok(findings)
}

/// What is seen of every trajectory, in order.
async fn look_at_all(
    catalogue: &Arc<Catalogue>,
    threads: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<TrajectoryCheck>> {
    let splits = catalogue.splits.iter();
    let ids = splits.flat_map(|(&split, entries)| {
        (0..entries.len()).map(move |index| EntryId { split, index })
    });
    let ids: Vec<EntryId> = ids.collect();
    let bytes_of =
        |&id: &EntryId| catalogue.entry(id).trajectory.frames as u64 * catalogue.frame_bytes();
    let total = ids.iter().map(bytes_of).sum();
    reporter.begin("checking", Some(total), "bytes");
    let looks = ids.iter().map(|id| {
        let (catalogue, bytes) = (Arc::clone(catalogue), bytes_of(id));
        async move {
            let seen = look(catalogue, *id).await?;
            reporter.advance(bytes);
            Ok::<_, Error>(seen)
        }
    });
    let looks = futures::stream::iter(looks).buffered(threads.max(1));
    let seen = looks.try_collect().await?;
    reporter.end();
    Ok(seen)
}

/// What was seen of a trajectory.
#[derive(Default)]
struct TrajectoryCheck {
    findings: Vec<Finding>,
    /// The trajectory for the search for twins, if all of it could be read.
    member: Option<Member>,
}

async fn look(catalogue: Arc<Catalogue>, id: EntryId) -> Result<TrajectoryCheck> {
    let held = catalogue.entry(id);
    let below = catalogue.files[held.file].below.clone();
    let file = match catalogue.file(held.file).await {
        Ok(file) => file,
        Err(error) => {
            let finding = catalogue.judge.unless_it_ends(&below, Err(error))?;
            return Ok(TrajectoryCheck {
                findings: finding.into_iter().collect(),
                member: None,
            });
        }
    };
    let work = tokio::task::spawn_blocking(move || trajectory(&catalogue, &file, id));
    work.await.map_err(Error::task)?
}

fn trajectory(catalogue: &Catalogue, file: &OpenFile, id: EntryId) -> Result<TrajectoryCheck> {
    let held = catalogue.entry(id);
    let below = &catalogue.files[held.file].below;
    let (mut findings, mut sum, mut whole) = (Vec::new(), Xxh3::new(), true);
    for time_varying in [true, false] {
        // What a file lacks was found when it was opened.
        for (field, mut reader) in catalogue.readers(file, time_varying)? {
            match glances(catalogue, held, field, &mut reader) {
                Ok(glances) => {
                    let named = catalogue.named(id, field.place);
                    let track = track(id, field, &glances, &mut sum);
                    let found = track.map(|track| track.findings(&named));
                    for finding in found.into_iter().flatten() {
                        findings.push(catalogue.judge.pass(finding)?);
                    }
                }
                Err(error) => {
                    whole = false;
                    findings.extend(catalogue.judge.unless_it_ends(below, Err(error))?);
                }
            }
        }
    }
    let member = whole.then(|| Member {
        split: id.split,
        file: below.clone(),
        sample: held.sample,
        digest: sum.digest(),
    });
    Ok(TrajectoryCheck { findings, member })
}

/// A glance at each frame of a field.
fn glances(
    catalogue: &Catalogue,
    held: &Entry,
    field: &TakenField,
    reader: &mut FieldReader<'_>,
) -> Result<Vec<Glance>> {
    let row = catalogue.schema.grid.cells() / catalogue.schema.grid.shape()[0];
    let fills = catalogue.fills(held.file, field);
    let frames = match field.time_varying {
        true => held.trajectory.frames,
        false => 1,
    };
    let mut glances: Vec<Glance> = Vec::new();
    for slab in reader.slabs() {
        let mut planes = vec![vec![0.0_f32; slab.rows.len() * row]; field.channels.len()];
        for step in 0..frames {
            let mut planes: Vec<&mut [f32]> = planes.iter_mut().map(Vec::as_mut_slice).collect();
            let at = catalogue.step_of_file(step);
            reader.raw_planes(held.sample, at, &slab, &mut planes)?;
            let glance = reader.glance(fills);
            match glances.get_mut(step) {
                Some(seen) => *seen = seen.clone().and(&glance),
                None => glances.push(glance),
            }
        }
    }
    Ok(glances)
}

fn track(id: EntryId, field: &TakenField, glances: &[Glance], sum: &mut Xxh3) -> Option<Track> {
    glances
        .iter()
        .for_each(|glance| sum.update(&glance.checksum.to_le_bytes()));
    let (first, rest) = glances.split_first()?;
    let mut track = Track::begin(id.index, field.place, 0, first);
    rest.iter().for_each(|glance| track.push(glance));
    Some(track)
}
