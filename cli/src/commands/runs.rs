//! `wellspring runs`: reads the logs of the runs in a folder or below it, and compares them. It writes nothing.

use anyhow::Result;
use wellspring_eval::{Database, Format};

use super::Session;
use super::sql::show;
use crate::args;

/// What people compare.
const TABLE: &str = "SELECT run, state,
  coalesce(step, 0) || ' of ' || coalesce(CAST(steps AS VARCHAR), '?') AS steps,
  loss, best, best_step AS \"at step\", rate AS \"steps/s\", round(100 * waited, 1) AS \"wait %\",
  substr(why, 1, 60) AS why
FROM training_runs
ORDER BY run";

const JSON: &str = "SELECT r.*, f.config
FROM training_runs r
JOIN training_folders f ON f.run = r.run
ORDER BY run";

pub fn run(session: &Session, args: &args::Runs) -> Result<()> {
    let root = session.locate(&args.root)?;
    let (query, format) = match args.json {
        true => (JSON, Format::Json),
        false => (TABLE, Format::Table),
    };
    let answer = session.wait(async {
        let database = Database::new()?;
        database.add_trainings(&[root], &session.reporter).await?;
        database.sql(query).await
    })?;
    show(format, &answer)
}
