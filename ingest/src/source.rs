//! Reads HDF5 files: from a disk, or by ranges from a bucket or a web server.

mod access;
pub(crate) mod extents;
pub(crate) mod remote;

pub(crate) use access::Access;
