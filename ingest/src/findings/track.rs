//! Findings about one field of a trajectory, from glances at its frames.
//!
//! A trajectory may lie in several shards: each records its own part, and parts are joined in order, so
//! findings do not depend on which process made which shard.

use serde::{Deserialize, Serialize};

use super::{Finding, FindingKind};
use crate::well::glance::Glance;

/// Steps as runs, each with its first step and one past its last.
type Runs = Vec<(usize, usize)>;

/// What was seen of one field along some steps of a trajectory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// Among the trajectories of its split.
    pub(crate) entry: usize,
    /// Among the fields that are taken.
    pub(crate) field: usize,
    steps: (usize, usize),
    /// Checksums of the first frame and of the last.
    ends: (u64, u64),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    zero: Runs,
    /// Steps that repeat the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    still: Runs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outliers: Vec<(usize, f64)>,
    /// The first that stands for a missing value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fill: Option<(usize, f64)>,
    /// Steps that were never written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unwritten: Runs,
    /// The first step with values that became zero, and how many there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<(usize, usize)>,
}

/// What findings call a track.
#[derive(Debug, Clone)]
pub(crate) struct TrackName<'a> {
    pub(crate) file: &'a str,
    pub(crate) field: &'a str,
    /// The sample in the file.
    pub(crate) trajectory: usize,
    /// Frames of the trajectory, as far as they are taken.
    pub(crate) frames: usize,
    /// Every how many frames of the file one is taken.
    pub(crate) every: usize,
    /// Whether it varies in time.
    pub(crate) time_varying: bool,
}

impl Track {
    /// One that begins with a frame.
    pub(crate) fn begin(entry: usize, field: usize, step: usize, glance: &Glance) -> Self {
        let once = |is: bool| {
            if is {
                vec![(step, step + 1)]
            } else {
                Vec::new()
            }
        };
        Self {
            entry,
            field,
            steps: (step, step + 1),
            ends: (glance.checksum, glance.checksum),
            zero: once(glance.is_zero()),
            still: Vec::new(),
            outliers: glance
                .outlier()
                .map(|value| (step, value))
                .into_iter()
                .collect(),
            fill: glance.fill.map(|value| (step, value)),
            unwritten: once(glance.is_unwritten),
            replaced: (glance.replaced > 0).then_some((step, glance.replaced)),
        }
    }

    /// Takes in the next frame.
    pub(crate) fn push(&mut self, glance: &Glance) {
        let next = Self::begin(self.entry, self.field, self.steps.1, glance);
        self.join(next);
    }

    /// Takes in what follows.
    pub(crate) fn join(&mut self, next: Self) {
        let step = next.steps.0;
        if self.steps.1 == step && self.ends.1 == next.ends.0 {
            extend(&mut self.still, vec![(step, step + 1)]);
        }
        extend(&mut self.zero, next.zero);
        extend(&mut self.still, next.still);
        self.outliers.extend(next.outliers);
        self.fill = self.fill.or(next.fill);
        extend(&mut self.unwritten, next.unwritten);
        self.replaced = match (self.replaced, next.replaced) {
            (Some((first, count)), Some((_, more))) => Some((first, count + more)),
            (seen, None) | (None, seen) => seen,
        };
        self.steps.1 = next.steps.1;
        self.ends.1 = next.ends.1;
    }

    /// Whether it is of a whole trajectory and nothing is to be said of it.
    pub(crate) fn is_silent(&self, frames: usize) -> bool {
        let odd = !(self.zero.is_empty() && self.still.is_empty() && self.outliers.is_empty());
        let broken = self.fill.is_some() || self.replaced.is_some() || !self.unwritten.is_empty();
        self.steps == (0, frames) && !odd && !broken
    }

    /// The findings of the track.
    pub(crate) fn findings(&self, named: &TrackName<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(named.unwritten(&self.unwritten));
        findings.extend(self.fill.map(|fill| named.fill(fill)));
        findings.extend(self.replaced.map(|replaced| named.replaced(replaced)));
        if named.time_varying {
            // Frames that were never written are all alike, and so are those that are zero.
            let written = |run: &&(usize, usize)| !self.unwritten.iter().any(|un| meet(run, un));
            let moves = |run: &&(usize, usize)| !self.zero.iter().any(|zero| meet(run, zero));
            let zero = self.zero.iter().filter(written);
            findings.extend(zero.filter_map(|&run| named.zero(run)));
            let still = self.still.iter().filter(written).filter(moves);
            findings.extend(still.map(|&run| named.still(run)));
        }
        let outliers = self.outliers.iter();
        findings.extend(outliers.map(|&outlier| named.outlier(outlier)));
        findings
    }
}

/// Whether two runs have a step in common.
fn meet(a: &(usize, usize), b: &(usize, usize)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

fn extend(runs: &mut Runs, more: Runs) {
    for (start, end) in more {
        match runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
}

impl TrackName<'_> {
    fn finding(&self, kind: FindingKind, step: usize, message: String) -> Finding {
        Finding {
            field: Some(self.field.to_owned()),
            trajectory: Some(self.trajectory),
            step: Some(step * self.every),
            ..Finding::new(kind, self.file, format!("{}: {message}", self.field))
        }
    }

    pub(crate) fn fill(&self, (step, value): (usize, f64)) -> Finding {
        let (trajectory, at) = (self.trajectory, step * self.every);
        let message = format!(
            "trajectory {trajectory} has the value {value:e} at step {at}, which stands for a missing one"
        );
        Finding {
            value: Some(value),
            ..self.finding(FindingKind::Fill, step, message)
        }
    }

    fn unwritten(&self, runs: &[(usize, usize)]) -> Option<Finding> {
        let (step, trajectory) = (runs.first()?.0, self.trajectory);
        let count: usize = runs.iter().map(|(start, end)| end - start).sum();
        let at = step * self.every;
        let message = format!(
            "{count} frames of trajectory {trajectory} were never written, the first at step {at}"
        );
        Some(self.finding(FindingKind::Unwritten, step, message))
    }

    fn replaced(&self, (step, count): (usize, usize)) -> Finding {
        let (trajectory, at) = (self.trajectory, step * self.every);
        let message = format!(
            "{count} values of trajectory {trajectory} are not finite, the first at step {at}; zero takes \
             their place with --nan zero"
        );
        self.finding(FindingKind::NotFinite, step, message)
    }

    /// Frames that are zero; at the beginning, a field may be.
    fn zero(&self, (start, end): (usize, usize)) -> Option<Finding> {
        let trajectory = self.trajectory;
        let message = match (start, end == self.frames, end - start) {
            (0, true, _) => format!("all frames of trajectory {trajectory} are zero"),
            (0, false, _) => return None,
            (_, true, 1) => format!("the last frame of trajectory {trajectory} is zero"),
            (_, true, count) => {
                format!("the last {count} frames of trajectory {trajectory} are zero")
            }
            (_, false, 1) => {
                format!(
                    "step {} of trajectory {trajectory} is zero",
                    start * self.every
                )
            }
            (_, false, _) => format!(
                "steps {} to {} of trajectory {trajectory} are zero",
                start * self.every,
                (end - 1) * self.every
            ),
        };
        Some(self.finding(FindingKind::Zero, start, message))
    }

    fn still(&self, (start, end): (usize, usize)) -> Finding {
        let (trajectory, from) = (self.trajectory, (start - 1) * self.every);
        let message = match end == self.frames {
            true => format!("trajectory {trajectory} stands still from step {from} on"),
            false => format!(
                "trajectory {trajectory} stands still from step {from} to step {}",
                (end - 1) * self.every
            ),
        };
        self.finding(FindingKind::Still, start - 1, message)
    }

    fn outlier(&self, (step, value): (usize, f64)) -> Finding {
        let (trajectory, at) = (self.trajectory, step * self.every);
        let message = format!(
            "trajectory {trajectory} has the value {value:e} at step {at}, a million times or more the rest \
             of the frame"
        );
        Finding {
            value: Some(value),
            ..self.finding(FindingKind::Outlier, step, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::well::glance::StoredSlice;

    fn named(frames: usize) -> TrackName<'static> {
        TrackName {
            file: "a.hdf5",
            field: "pressure",
            trajectory: 1,
            frames,
            every: 1,
            time_varying: true,
        }
    }

    /// A frame for each number: of that number in every cell.
    fn track(frames: &[u8], first: usize) -> Track {
        let glance = |&value: &u8| {
            let values = [f32::from(value); 20];
            Glance::at(StoredSlice::F32(&values), u64::from(value), 0, false, &[])
        };
        let mut track = Track::begin(1, 0, first, &glance(&frames[0]));
        frames[1..]
            .iter()
            .for_each(|frame| track.push(&glance(frame)));
        track
    }

    fn said(frames: &[u8]) -> Vec<String> {
        let findings = track(frames, 0).findings(&named(frames.len()));
        findings
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn frames_that_are_zero_or_stand_still_are_told() {
        let one = |frames: &[u8], expected: &str| {
            assert_eq!(
                said(frames),
                [format!("pressure: {expected}")],
                "{frames:?}"
            );
        };
        one(
            &[1, 2, 3, 0, 0, 0],
            "the last 3 frames of trajectory 1 are zero",
        );
        one(&[1, 2, 3, 0], "the last frame of trajectory 1 is zero");
        one(&[1, 0, 3, 4], "step 1 of trajectory 1 is zero");
        one(&[1, 0, 0, 4], "steps 1 to 2 of trajectory 1 are zero");
        one(&[0, 0, 0], "all frames of trajectory 1 are zero");
        one(&[1, 2, 3, 3, 3], "trajectory 1 stands still from step 2 on");
        one(
            &[1, 2, 2, 4],
            "trajectory 1 stands still from step 1 to step 2",
        );
        for sound in [&[0, 1, 2][..], &[0, 0, 1, 2], &[1, 2, 1, 2], &[1]] {
            assert_eq!(said(sound), Vec::<String>::new(), "{sound:?}");
        }
        let mut track = track(&[1, 1], 0);
        assert!(!track.is_silent(2));
        track.still.clear();
        assert!(track.is_silent(2) && !track.is_silent(3));
    }

    proptest! {
        #[test]
        fn parts_of_a_track_make_the_whole(frames in prop::collection::vec(0..3_u8, 2..20), cut in 1..19_usize) {
            let cut = cut.min(frames.len() - 1);
            let mut joined = track(&frames[..cut], 0);
            joined.join(track(&frames[cut..], cut));
            prop_assert_eq!(joined, track(&frames, 0));
        }
    }
}
