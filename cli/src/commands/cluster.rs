//! `wellspring cluster`: runs a part of a cluster until it is told to end; writes nothing that lasts.

#[cfg(feature = "cluster")]
mod access;
#[cfg(feature = "cluster")]
mod serve;
#[cfg(feature = "cluster")]
mod work;

#[cfg(feature = "cluster")]
pub use self::access::{Connection, connect};
#[cfg(feature = "cluster")]
pub use self::serve::run;

#[cfg(not(feature = "cluster"))]
pub fn run(_: &super::Session, _: &crate::args::Cluster) -> anyhow::Result<()> {
    crate::failure::misuse!(
        "this wellspring was built without the feature cluster; build it with --features cluster"
    )
}
