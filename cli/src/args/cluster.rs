//! Machines that answer SQL together.

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
Results and data sets must lie where every machine reaches them by the same URL or path. Scheduler and executors
read only what --read names and what lies below.

Examples:
  openssl rand -hex 32 > token                                            once, then copied to every machine
  wellspring cluster scheduler --bind 10.0.0.1:50050 --token-file token --read s3://bucket
  wellspring cluster executor 10.0.0.1:50050 --host 10.0.0.2 --token-file token --read s3://bucket
  wellspring sql --cluster 10.0.0.1:50050 --token-file token -r s3://bucket/results 'SELECT * FROM leaderboard'

Whoever knows the token can read all that --read names, and can keep the machines busy. The token is read from a
file or from WELLSPRING_TOKEN. An address that other machines reach is refused without one.

Without TLS the token and all rows can be read by whoever sees the packets. With it, each server shows a
certificate for the name or address that others reach it at (--tls-cert, --tls-key, PEM), and each client trusts
the authority of --tls-ca and no other:
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

/// Take queries and hand out their parts
#[derive(Debug, Args)]
pub struct Scheduler {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "IP:PORT")]
    pub bind: SocketAddr,

    #[command(flatten)]
    pub server: Server,
}

/// Work for a scheduler
#[derive(Debug, Args)]
pub struct Executor {
    /// Address of the scheduler
    #[arg(value_name = "HOST:PORT")]
    pub scheduler: String,

    /// Address of this machine, on which it listens and at which the others reach it
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Parts of queries at the same time; by default one per core
    #[arg(long)]
    pub slots: Option<usize>,

    /// Folder for what parts hand on, in which each executor makes one of its own; by default the system's
    /// temporary folder
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,

    #[command(flatten)]
    pub server: Server,

    /// Authorities, as a PEM file, that sign the certificates of the scheduler and of other executors
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
}

/// What every server of a cluster needs.
#[derive(Debug, Args)]
pub struct Server {
    /// What queries may read, with all below: a data set, results, or a folder of them; may be repeated
    #[arg(long, value_name = "ROOT", required = true)]
    pub read: Vec<String>,

    /// File of the cluster's token, of 16 or more characters; without it WELLSPRING_TOKEN is used, if it is set
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificate of this machine, as a PEM file with those that lead to the authority: connections use TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Key of the certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Who asks a cluster.
#[derive(Debug, Args)]
pub struct Remote {
    /// Let a Ballista cluster answer: the address of its scheduler (see `wellspring help cluster`)
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,

    /// File of the cluster's token; without it WELLSPRING_TOKEN is used, if it is set
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub token_file: Option<PathBuf>,

    /// Authorities, as a PEM file, that sign the cluster's certificates: connections use TLS
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub tls_ca: Option<PathBuf>,

    /// Seconds to wait for an executor while the cluster has none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub cluster_wait: u64,
}
