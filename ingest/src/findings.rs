//! Findings: what is wrong or odd in a source of simulations. The table lists every kind and its consequence.
//!
//! | kind          | what                                                            | becomes |
//! |---------------|-----------------------------------------------------------------|---------|
//! | `unreadable`  | a file that is empty, truncated, or not in The Well's layout    | refused; leave the file out |
//! | `mixed`       | a file that does not belong with the first one                  | refused; leave the file out |
//! | `unwritten`   | chunks that were never written                                  | refused, may be allowed |
//! | `fill`        | a value that stands for a missing one, as NetCDF has            | refused, may be allowed |
//! | `not-finite`  | NaN or infinity in a field                                      | refused, or replaced by zero |
//! | `time`        | a time axis that goes back, stands, or is not finite            | refused, may be allowed |
//! | `zero`        | frames that are all zero after one that is not, or a field that always is | told |
//! | `still`       | a frame that repeats the one before it, value by value          | told |
//! | `outlier`     | a few cells that are a million times as large as all others     | told |
//! | `coordinates` | a trajectory that lies on other coordinates than the first      | told; kept for each trajectory |
//! | `leak`        | a trajectory that is in two splits                              | told |
//! | `duplicate`   | a trajectory that is in a split twice                           | told |
//! | `left-out`    | an HDF5 file that is of no split                                | told |
//! | `remark`      | something beside the values that is left out or read in another way | told |
//!
//! An ingest ends at the first finding that is refused; [`check`](crate::check) continues and lists all.
//! [`glance`] looks at one frame, [`track`] at a trajectory, [`watch`] at all frames that are read; [`twins`]
//! looks for equal trajectories, [`axes`] at times and coordinates, [`remarks`] collects what is true of
//! many files, and [`judge`] decides the consequence.

pub(crate) mod axes;
pub(crate) mod judge;
pub(crate) mod remarks;
pub(crate) mod track;
pub(crate) mod twins;

use std::fmt;
use std::str::FromStr;

use wellspring_store::with_causes;

use crate::{Error, Result};

/// What can be wrong or odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// A file that cannot be read, or is not in The Well's layout.
    Unreadable,
    /// A file that does not belong with the first one.
    Mixed,
    /// Chunks that were never written.
    Unwritten,
    /// A value that stands for a missing one.
    Fill,
    /// A value that is NaN or infinite.
    NotFinite,
    /// A time axis that goes back, stands, or is not finite.
    Time,
    /// Frames that are all zero.
    Zero,
    /// A frame that repeats the one before it.
    Still,
    /// A few cells that are a million times as large as all others.
    Outlier,
    /// Coordinates that differ from those of the first trajectory.
    Coordinates,
    /// A trajectory that is in two splits.
    Leak,
    /// A trajectory that is in a split twice.
    Duplicate,
    /// An HDF5 file that is of no split.
    LeftOut,
    /// Something beside the values that is left out or read in another way.
    Remark,
}

/// The consequence of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// An ingest fails with it.
    Refused,
    /// An ingest reports it and continues.
    Told,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Unreadable,
        Self::Mixed,
        Self::Unwritten,
        Self::Fill,
        Self::NotFinite,
        Self::Time,
        Self::Zero,
        Self::Still,
        Self::Outlier,
        Self::Coordinates,
        Self::Leak,
        Self::Duplicate,
        Self::LeftOut,
        Self::Remark,
    ];

    /// The consequence by default.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Unreadable
            | Self::Mixed
            | Self::Unwritten
            | Self::Fill
            | Self::NotFinite
            | Self::Time => Severity::Refused,
            _ => Severity::Told,
        }
    }

    /// Whether the option `allow` can accept it.
    #[must_use]
    pub fn may_be_allowed(self) -> bool {
        matches!(self, Self::Unwritten | Self::Fill | Self::Time)
    }

    /// What to do about one that is refused.
    fn remedy(self) -> String {
        match self {
            Self::Mixed => "exclude the file, or ingest it as a data set of its own".into(),
            Self::NotFinite => "exclude the trajectory, or let zero take the place of such values \
                                (--nan zero)"
                .into(),
            kind if kind.may_be_allowed() => {
                format!("exclude the trajectory, or let it through (--allow {kind})")
            }
            _ => "exclude the file (--exclude)".into(),
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreadable => "unreadable",
            Self::Mixed => "mixed",
            Self::Unwritten => "unwritten",
            Self::Fill => "fill",
            Self::NotFinite => "not-finite",
            Self::Time => "time",
            Self::Zero => "zero",
            Self::Still => "still",
            Self::Outlier => "outlier",
            Self::Coordinates => "coordinates",
            Self::Leak => "leak",
            Self::Duplicate => "duplicate",
            Self::LeftOut => "left-out",
            Self::Remark => "remark",
        })
    }
}

impl FromStr for FindingKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        named.ok_or_else(|| {
            let kinds: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            let reason = format!(
                "there is no kind of finding {text}; there are {}",
                kinds.join(", ")
            );
            Error::Selection { reason }
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Told => "told",
        })
    }
}

/// Something that is wrong or odd, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The kind of finding.
    pub kind: FindingKind,
    /// The consequence, given what was allowed.
    pub severity: Severity,
    /// The file's path below the source; of a data set, its split.
    pub file: String,
    /// The field, or another object of the file.
    pub field: Option<String>,
    /// The sample in the file; of a data set, the trajectory in the split.
    pub trajectory: Option<usize>,
    /// The first frame that it is about.
    pub step: Option<usize>,
    /// The value that is odd.
    pub value: Option<f64>,
    /// The whole finding in words, except for the file.
    pub message: String,
}

impl Finding {
    /// A finding about a whole file.
    pub(crate) fn new(kind: FindingKind, file: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            severity: kind.severity(),
            file: file.to_owned(),
            field: None,
            trajectory: None,
            step: None,
            value: None,
            message: message.into(),
        }
    }

    /// An error that ends the work on a file, with its causes.
    pub(crate) fn unreadable(file: &str, error: &Error) -> Self {
        let kind = match error {
            Error::Mixed { .. } => FindingKind::Mixed,
            Error::NotFinite { .. } => FindingKind::NotFinite,
            Error::Unwritten { .. } => FindingKind::Unwritten,
            _ => FindingKind::Unreadable,
        };
        let message = with_causes(error);
        match error {
            Error::NotFinite {
                object,
                trajectory,
                step,
                ..
            }
            | Error::TooLarge {
                object,
                trajectory,
                step,
                ..
            }
            | Error::Unwritten {
                object,
                trajectory,
                step,
                ..
            } => Self {
                field: Some(object.clone()),
                trajectory: Some(*trajectory),
                step: Some(*step),
                ..Self::new(kind, file, message)
            },
            _ => Self::new(kind, file, message),
        }
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        self.kind.remedy()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Errors of files name them already.
        match self.message.contains(&self.file) {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_word() {
        for kind in FindingKind::ALL {
            assert_eq!(kind.to_string().parse::<FindingKind>().unwrap(), kind);
            let refused = kind.severity() == Severity::Refused;
            assert!(refused || !kind.may_be_allowed(), "{kind}");
        }
        let error = "nan".parse::<FindingKind>().unwrap_err().to_string();
        assert!(error.contains("not-finite"), "{error}");
    }

    #[test]
    fn a_value_that_ends_the_work_is_found_at_its_place() {
        let error = Error::TooLarge {
            file: "a.hdf5".into(),
            object: "t0_fields/p".into(),
            value: 1e39,
            trajectory: 1,
            step: 2,
        };
        let finding = Finding::unreadable("a.hdf5", &error);
        assert_eq!((finding.trajectory, finding.step), (Some(1), Some(2)));
        assert_eq!(finding.severity, Severity::Refused);
    }
}
