//! Machines that answer SQL together.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Run a scheduler or an executor of a cluster that answers SQL
#[derive(Debug, Args)]
#[command(after_help = "\
Results and data sets must lie where every machine reaches them by the same URL or path.

Examples:
  wellspring cluster scheduler --bind 10.0.0.1:50050                          on one machine
  wellspring cluster executor 10.0.0.1:50050 --host 10.0.0.2                  on each of the others
  wellspring sql --cluster 10.0.0.1:50050 -r s3://bucket/results 'SELECT * FROM leaderboard'

Neither asks who is there: let only machines that you trust reach their ports.")]
pub struct Cluster {
    #[command(subcommand)]
    pub role: ClusterRole,
}

#[derive(Debug, Subcommand)]
pub enum ClusterRole {
    /// Take queries and hand out their parts
    Scheduler {
        /// Address to listen on; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:50050", value_name = "IP:PORT")]
        bind: SocketAddr,
    },
    /// Work for a scheduler
    Executor {
        /// Address of the scheduler
        #[arg(value_name = "HOST:PORT")]
        scheduler: String,

        /// Address of this machine at which the others reach it
        #[arg(long, default_value = "127.0.0.1")]
        host: String,

        /// Parts of queries at the same time; by default one per core
        #[arg(long)]
        slots: Option<usize>,

        /// Folder for what parts hand on; by default a temporary one
        #[arg(long, value_name = "DIR")]
        work: Option<PathBuf>,
    },
}
