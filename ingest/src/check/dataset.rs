//! The findings of a data set: those of its source, as far as the stored values show them.

use wellspring_store::{Dataset, Dtype, Frames, Reporter, Split};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::Result;
use crate::findings::track::{Track, TrackName};
use crate::findings::twins::{Member, twins};
use crate::findings::{Finding, axes};
use crate::well::glance::{Glance, StoredSlice};

/// Frames that are read together.
const TOGETHER: usize = 16;

/// All findings of a data set, by split and trajectory; the files of findings are its splits. A value that
/// is not finite, and a time axis that goes back, are refused as in a source, though nothing ends here.
///
/// # Errors
/// [`crate::Error::Store`] when it cannot be read.
pub async fn check_dataset(dataset: &Dataset, reporter: &dyn Reporter) -> Result<Vec<Finding>> {
    let (mut findings, mut members) = (Vec::new(), Vec::new());
    let splits = &dataset.manifest().splits;
    let frames: usize = splits.values().map(|held| held.frames()).sum();
    reporter.begin("checking", Some(frames as u64), "frames");
    for (&split, held) in splits {
        for (trajectory, what) in held.trajectories.iter().enumerate() {
            let checking = TrajectoryCheck {
                dataset,
                split,
                trajectory,
                frames: what.frames,
            };
            checking.times(&mut findings).await?;
            if !what.coordinates.is_empty() {
                let split = split.to_string();
                findings.push(axes::coordinates(&split, trajectory, &what.coordinates));
            }
            members.push(checking.values(&mut findings, reporter).await?);
        }
    }
    reporter.end();
    findings.extend(twins(&members));
    Ok(findings)
}

/// A trajectory of a data set.
struct TrajectoryCheck<'a> {
    dataset: &'a Dataset,
    split: Split,
    trajectory: usize,
    frames: usize,
}

impl TrajectoryCheck<'_> {
    async fn times(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let times = self
            .dataset
            .times(self.split, self.trajectory, 0..self.frames);
        let split = self.split.to_string();
        findings.extend(axes::time(&split, self.trajectory, 1, &times.await?));
        Ok(())
    }

    async fn values(&self, findings: &mut Vec<Finding>, reporter: &dyn Reporter) -> Result<Member> {
        let channels = self.dataset.schema().channels();
        let mut tracks: Vec<Option<Track>> = vec![None; channels.len()];
        let mut sum = Xxh3::new();
        for start in (0..self.frames).step_by(TOGETHER) {
            let steps = start..(start + TOGETHER).min(self.frames);
            let frames = self
                .dataset
                .read(self.split, self.trajectory, steps.clone());
            let frames = frames.await?;
            for step in steps {
                for (channel, track) in tracks.iter_mut().enumerate() {
                    let glance = self.glance(&frames, step - start, channel);
                    sum.update(&glance.checksum.to_le_bytes());
                    match track {
                        Some(track) => track.push(&glance),
                        None => {
                            *track = Some(Track::begin(self.trajectory, channel, step, &glance))
                        }
                    }
                }
                reporter.advance(1);
            }
        }
        let split = self.split.to_string();
        for (field, track) in channels.iter().zip(tracks.iter().flatten()) {
            let named = TrackName {
                file: &split,
                field,
                trajectory: self.trajectory,
                frames: self.frames,
                every: 1,
                time_varying: true,
            };
            findings.extend(track.findings(&named));
        }
        Ok(Member {
            split: self.split,
            file: split,
            sample: self.trajectory,
            digest: sum.digest(),
        })
    }

    /// Looks at a frame in field units; the checksum is of the stored values.
    fn glance(&self, frames: &Frames, step: usize, channel: usize) -> Glance {
        let stored = frames.channel(step, 0, channel);
        let map = self.dataset.normalizer().channels()[channel];
        let mut values = stored.to_vec();
        map.denormalize(&mut values);
        if self.is_zero(stored, map.stored(0.0)) {
            values.fill(0.0);
        }
        let odd = values.iter_mut().filter(|value| !value.is_finite());
        let zeroed = odd.map(|value| *value = 0.0).count();
        let checksum = xxh3_64(bytemuck::cast_slice(stored));
        Glance::at(StoredSlice::F32(&values), checksum, zeroed, false, &[])
    }

    /// Whether stored values are all what zero is stored as, to the precision that they have.
    fn is_zero(&self, stored: &[f32], zero: f32) -> bool {
        let precision = match self.dataset.manifest().dtype {
            Dtype::F32 => 0.0,
            Dtype::F16 => 1e-3,
        };
        let first = stored.first().copied().unwrap_or_default();
        // A logarithm is never that of zero.
        zero.is_finite()
            && (first - zero).abs() <= precision * zero.abs()
            && stored.iter().all(|&x| x == first)
    }
}
