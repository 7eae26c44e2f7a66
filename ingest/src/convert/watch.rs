//! Looks for findings in frames while they are read for statistics or shards.

use std::collections::BTreeMap;

use wellspring_store::Split;

use crate::Result;
use crate::catalogue::{Catalogue, EntryId, TakenField};
use crate::findings::FindingKind;
use crate::findings::track::Track;
use crate::well::glance::Glance;

/// The tracks of a split's trajectories, for the frames that were read.
pub(crate) struct Watch<'a> {
    catalogue: &'a Catalogue,
    split: Split,
    /// Tracks by trajectory and field.
    tracks: BTreeMap<(usize, usize), Track>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(catalogue: &'a Catalogue, split: Split) -> Self {
        Self {
            catalogue,
            split,
            tracks: BTreeMap::new(),
        }
    }

    /// Takes a glance in at the next frame of a field of a trajectory.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] for a value that stands for a missing one.
    pub(crate) fn look(
        &mut self,
        entry: usize,
        field: &TakenField,
        step: usize,
        glance: &Glance,
    ) -> Result<()> {
        let id = EntryId {
            split: self.split,
            index: entry,
        };
        refuse_fill(self.catalogue, id, field, step, glance.fill)?;
        let key = (entry, field.place);
        match self.tracks.get_mut(&key) {
            Some(track) => track.push(glance),
            None => {
                let track = Track::begin(entry, field.place, step, glance);
                self.tracks.insert(key, track);
            }
        }
        Ok(())
    }

    /// The tracks that have something to say, alone or with what other shards hold.
    pub(crate) fn tracks(self) -> Vec<Track> {
        let entries = &self.catalogue.splits[&self.split];
        let fields = &self.catalogue.fields;
        let frames = |track: &Track| match fields[track.field].time_varying {
            true => entries[track.entry].trajectory.frames,
            false => 1,
        };
        let tracks = self.tracks.into_values();
        tracks
            .filter(|track| !track.is_silent(frames(track)))
            .collect()
    }
}

/// Refuses a value that stands for a missing one, unless such values are let through.
///
/// # Errors
/// [`crate::Error::Refused`].
pub(crate) fn refuse_fill(
    catalogue: &Catalogue,
    id: EntryId,
    field: &TakenField,
    step: usize,
    fill: Option<f64>,
) -> Result<()> {
    let Some(value) = fill.filter(|_| !catalogue.judge.allows(FindingKind::Fill)) else {
        return Ok(());
    };
    let named = catalogue.named(id, field.place);
    catalogue.judge.pass(named.fill((step, value))).map(drop)
}
