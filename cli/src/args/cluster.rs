//! Arguments of `cluster`, and those with which `sql` reaches a cluster.

#![cfg_attr(
    not(feature = "cluster"),
    allow(dead_code, reason = "what is typed is read with the feature only")
)]

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Run a scheduler or an executor of a cluster that answers SQL
#[derive(Debug, Args)]
#[command(after_help = "\
Every machine must reach results and data sets by the same URL or path. Scheduler and executors read only what
lies below the --read paths.

Examples:
  openssl rand -hex 32 > token                                            once; copy it to every machine
  wellspring cluster scheduler --bind 10.0.0.1:50050 --token-file token --read s3://bucket
  wellspring cluster executor 10.0.0.1:50050 --host 10.0.0.2 --token-file token --read s3://bucket
  wellspring sql --cluster 10.0.0.1:50050 --token-file token -r s3://bucket/results 'SELECT * FROM leaderboard'

Anyone who knows the token can read everything below --read, and can keep the machines busy. The token comes from
a file or from WELLSPRING_TOKEN. It is required for an address that other machines can reach.

Without TLS, anyone who sees the packets can read the token and all rows. With TLS, each server has a certificate
for the name or address at which others reach it (--tls-cert, --tls-key, PEM), and each client trusts only the
authority in --tls-ca:
  wellspring cluster scheduler ... --tls-cert cert.pem --tls-key key.pem
  wellspring cluster executor  ... --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem
  wellspring sql --cluster     ... --tls-ca ca.pem")]
pub struct Cluster {
    #[command(subcommand)]
    pub role: ClusterRole,
}

#[derive(Debug, Subcommand)]
pub enum ClusterRole {
    Scheduler(Scheduler),
    Executor(Executor),
}

/// Accept queries and distribute their parts to executors
#[derive(Debug, Args)]
pub struct Scheduler {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "IP:PORT")]
    pub bind: SocketAddr,

    #[command(flatten)]
    pub server: Server,
}

/// Execute parts of queries for a scheduler
#[derive(Debug, Args)]
pub struct Executor {
    /// Address of the scheduler
    #[arg(value_name = "HOST:PORT")]
    pub scheduler: String,

    /// Address of this machine: the executor listens on it, and other machines reach it there
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Parts of queries to execute at the same time; by default one per core
    #[arg(long)]
    pub slots: Option<usize>,

    /// Folder for intermediate results; each executor makes its own folder in it. By default the system's
    /// temporary folder
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,

    #[command(flatten)]
    pub server: Server,

    /// PEM file of the authorities that sign the certificates of the scheduler and of other executors
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
}

/// Arguments of every server of a cluster.
#[derive(Debug, Args)]
pub struct Server {
    /// Folder or URL below which queries may read: a data set, results, or a folder of them; may be given several
    /// times
    #[arg(long, value_name = "ROOT", required = true)]
    pub read: Vec<String>,

    /// File with the cluster's token, at least 16 characters; by default WELLSPRING_TOKEN, if it is set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// PEM file of this machine's certificate and those that lead to the authority; turns on TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file of the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Arguments of a client of a cluster.
#[derive(Debug, Args)]
pub struct Remote {
    /// Run queries on a Ballista cluster: the address of its scheduler (see `wellspring help cluster`)
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,

    /// File with the cluster's token; by default WELLSPRING_TOKEN, if it is set
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub token_file: Option<PathBuf>,

    /// PEM file of the authorities that sign the cluster's certificates; turns on TLS
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub tls_ca: Option<PathBuf>,

    /// Seconds to wait for an executor if the cluster has none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub cluster_wait: u64,
}
