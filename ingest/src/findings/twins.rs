//! Finds trajectories that are in a source more than once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wellspring_store::Split;

use super::{Finding, FindingKind};

/// A trajectory, and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) split: Split,
    /// Path of the file below the source.
    pub(crate) file: String,
    /// Index of the trajectory in the file.
    pub(crate) sample: usize,
    /// A checksum of all its values.
    pub(crate) digest: u64,
}

impl Member {
    fn named(&self) -> String {
        format!("trajectory {} of {}", self.sample, self.file)
    }
}

/// Finds every trajectory whose values are those of an earlier one.
pub(crate) fn twins(members: &[Member]) -> Vec<Finding> {
    let mut known: BTreeMap<u64, &Member> = BTreeMap::new();
    let mut findings = Vec::new();
    for member in members {
        match known.entry(member.digest) {
            Entry::Vacant(place) => {
                place.insert(member);
            }
            Entry::Occupied(first) => findings.push(twin(first.get(), member)),
        }
    }
    findings
}

fn twin(first: &Member, again: &Member) -> Finding {
    let kind = match first.split == again.split {
        true => FindingKind::Duplicate,
        false => FindingKind::Leak,
    };
    let message = format!(
        "{} has the values of {}: {}",
        again.named(),
        first.named(),
        match kind {
            FindingKind::Leak => format!(
                "the same trajectory is in {} and {}",
                first.split, again.split
            ),
            _ => format!("the same trajectory is in {} twice", first.split),
        }
    );
    Finding {
        trajectory: Some(again.sample),
        ..Finding::new(kind, &again.file, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_values_twice_are_told() {
        let member = |split, file: &str, digest| Member {
            split,
            file: file.into(),
            sample: 0,
            digest,
        };
        let members = [
            member(Split::Train, "train/a.hdf5", 1),
            member(Split::Train, "train/b.hdf5", 2),
            member(Split::Train, "train/c.hdf5", 1),
            member(Split::Test, "test/a.hdf5", 2),
        ];
        let kinds: Vec<_> = twins(&members).iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [FindingKind::Duplicate, FindingKind::Leak]);
        let said = twins(&members)[1].to_string();
        assert_eq!(
            said,
            "trajectory 0 of test/a.hdf5 has the values of trajectory 0 of train/b.hdf5: the same trajectory \
             is in train and test"
        );
    }
}
