//! `wellspring cluster`: runs a part of a cluster until it is told to end; writes nothing that lasts.

use anyhow::Result;

use super::Session;
use crate::args;

#[cfg(feature = "cluster")]
pub fn run(session: &Session, args: &args::Cluster) -> Result<()> {
    use crate::args::ClusterRole;
    use crate::commands::print;

    match &args.role {
        ClusterRole::Scheduler { bind } => {
            let ready = |address| {
                // Nobody need listen to the announcement.
                let _ = print(format!("scheduler listening on {address}\n"));
            };
            session.wait(wellspring_eval::serve_scheduler(
                *bind,
                session.storage(),
                ready,
            ))?;
        }
        ClusterRole::Executor {
            scheduler,
            host,
            slots,
            work,
        } => {
            let executor = wellspring_eval::Executor {
                scheduler: scheduler.clone(),
                host: host.clone(),
                slots: *slots,
                work: work.clone(),
                storage: session.storage().to_vec(),
            };
            session.wait(wellspring_eval::serve_executor(&executor))?;
        }
    }
    Ok(())
}

#[cfg(not(feature = "cluster"))]
pub fn run(_: &Session, _: &args::Cluster) -> Result<()> {
    crate::failure::misuse!(
        "this wellspring was built without the feature cluster; build it with --features cluster"
    )
}
