//! A unit: members that depend on one another, such as the windows of a trajectory.

use smallvec::SmallVec;

/// Sum and number of a unit's members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) id: i64,
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// The units of a group, ascending; few need no memory of their own.
pub(super) type Units = SmallVec<[Unit; 6]>;
