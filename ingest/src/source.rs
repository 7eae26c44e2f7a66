//! Where HDF5 lies and how it is read: on a disk, or by ranges from a bucket or a web server.

mod access;
pub(crate) mod extents;
pub(crate) mod remote;

pub(crate) use access::Access;
