//! The engine that answers queries: this process, or a cluster.

use anyhow::Result;
use arrow::array::RecordBatch;
use wellspring_eval::{Database, SqlOptions};

use crate::args;
use crate::commands::Session;

#[cfg(feature = "cluster")]
use crate::commands::cluster::{Connection, connect};

/// A database, and the cluster that it asks, if it asks one.
pub struct Engine {
    pub database: Database,
    #[cfg(feature = "cluster")]
    connection: Option<Connection>,
}

/// A database of this process.
fn local(args: &args::Sql) -> wellspring_eval::Result<Database> {
    Database::with(SqlOptions {
        memory: args.memory,
    })
}

#[cfg(feature = "cluster")]
impl Engine {
    pub fn new(session: &Session, args: &args::Sql) -> Result<Self> {
        let connection = connect(session, &args.remote)?;
        let database = match &connection {
            Some(connection) => session.wait(Database::on_cluster(&connection.cluster))?,
            None => local(args)?,
        };
        Ok(Self {
            database,
            connection,
        })
    }

    /// Answers one query. It fails if the cluster has no executors.
    pub fn ask(&self, session: &Session, query: &str) -> wellspring_eval::Result<Vec<RecordBatch>> {
        let answer = self.database.sql(query);
        let Some(connection) = &self.connection else {
            return session.wait(answer);
        };
        session.wait(async {
            tokio::select! {
                answer = answer => answer,
                error = connection.watch(&session.reporter) => Err(error),
            }
        })
    }
}

#[cfg(not(feature = "cluster"))]
impl Engine {
    pub fn new(_: &Session, args: &args::Sql) -> Result<Self> {
        if args.remote.cluster.is_some() {
            crate::failure::misuse!(
                "--cluster: this wellspring was built without the feature cluster"
            );
        }
        let database = local(args)?;
        Ok(Self { database })
    }

    /// Answers one query.
    pub fn ask(&self, session: &Session, query: &str) -> wellspring_eval::Result<Vec<RecordBatch>> {
        session.wait(self.database.sql(query))
    }
}
