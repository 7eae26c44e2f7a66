//! The servers of a cluster.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use wellspring_eval::{Credentials, STACK_BYTES, serve_executor, serve_scheduler};
use wellspring_store::{Location, Reporter as _};

use super::access::{as_misuse, authorities, identity, token};
use super::work::WorkFolder;
use crate::args::{self, ClusterRole};
use crate::commands::{Session, print, runtime};
use crate::failure::misuse;

/// Time that a server has to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

pub fn run(session: &Session, args: &args::Cluster) -> Result<()> {
    match &args.role {
        ClusterRole::Scheduler(args) => scheduler(session, args),
        ClusterRole::Executor(args) => {
            let folder = WorkFolder::new(args.work.as_deref())?;
            let ended = executor(session, args, &folder);
            // Not before: now nobody writes there any longer.
            drop(folder);
            ended
        }
    }
}

fn scheduler(session: &Session, args: &args::Scheduler) -> Result<()> {
    let scheduler = wellspring_eval::Scheduler {
        bind: args.bind,
        reads: places(session, &args.server)?,
        token: token(args.server.token_file.as_deref())?,
        tls: identity(&args.server)?,
        storage: session.storage().to_vec(),
    };
    if !args.bind.ip().is_loopback() && scheduler.token.is_some() && scheduler.tls.is_none() {
        let plain = "without TLS, anyone who sees the packets can read the token and all rows";
        session.reporter.note(plain);
    }
    serve(serve_scheduler(scheduler, announce("scheduler")))
}

fn executor(session: &Session, args: &args::Executor, folder: &WorkFolder) -> Result<()> {
    let tls = identity(&args.server)?;
    if tls.is_some() != args.tls_ca.is_some() {
        misuse!("an executor needs all of --tls-cert, --tls-key and --tls-ca, or none");
    }
    let trusted = args.tls_ca.as_deref();
    let trusted = trusted.map(|file| authorities(file, folder)).transpose()?;
    let executor = wellspring_eval::Executor {
        scheduler: args.scheduler.clone(),
        host: args.host.clone(),
        slots: args.slots,
        work: folder.below("parts")?,
        reads: places(session, &args.server)?,
        credentials: Credentials {
            token: token(args.server.token_file.as_deref())?,
            tls: trusted,
        },
        tls,
        storage: session.storage().to_vec(),
    };
    serve(serve_executor(executor, announce("executor")))
}

fn places(session: &Session, server: &args::Server) -> Result<Vec<Location>> {
    let places = server.read.iter().map(|text| session.locate(text));
    Ok(places.collect::<Result<_, _>>()?)
}

fn announce(who: &'static str) -> impl FnOnce(SocketAddr) + Send {
    move |address| {
        // The announcement may fail if standard output is closed.
        let _ = print(format!("{who} listening on {address}\n"));
    }
}

/// Runs a server, on threads with much stack, until it ends or the process is told to end.
fn serve(work: impl Future<Output = wellspring_eval::Result<()>> + Send + 'static) -> Result<()> {
    let runtime = runtime(Builder::new_multi_thread().thread_stack_size(STACK_BYTES))?;
    let entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut work = runtime.spawn(work);
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = &mut work => return Some(ended),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // An executor tells its scheduler; a scheduler has nothing to tell.
        tokio::time::timeout(GRACE, &mut work).await.ok()
    });
    drop(entered);
    runtime.shutdown_timeout(GRACE);
    match ended {
        Some(ended) => ended.context("the server failed")?.map_err(as_misuse),
        None => Ok(()),
    }
}
