//! `wellspring cluster`: runs a member of a cluster until a signal ends it. It writes only temporary files.

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
