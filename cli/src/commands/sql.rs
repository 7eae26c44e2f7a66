//! `wellspring sql`: reads results and data sets and answers queries. It writes only the answer, and the
//! history of the prompt.

mod engine;
mod prompt;

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use wellspring_eval::{Database, Error, Format, View};
use wellspring_store::Dataset;

use self::engine::Engine;
use super::{Session, print, print_data};
use crate::args;
use crate::failure::misuse;

pub fn run(session: &Session, args: &args::Sql) -> Result<()> {
    if args.explain_views {
        return print(views());
    }
    let engine = open(session, args)?;
    match (&args.query, &args.file) {
        (Some(query), _) => answer(session, &engine, query, args.format),
        (None, Some(file)) => batch(session, &engine, &read(file)?, args.format),
        (None, None) if std::io::stdin().is_terminal() => {
            prompt::run(session, &engine, args.format)
        }
        (None, None) => batch(session, &engine, &read(Path::new("-"))?, args.format),
    }
}

/// Least memory of a query: with less, the engine's exchanges between threads may block one another.
const LEAST_MEMORY: u64 = 64 << 20;

fn open(session: &Session, args: &args::Sql) -> Result<Engine> {
    if args.memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        misuse!("--memory: queries need 64MiB at least");
    }
    let engine = Engine::new(session, args)?;
    let database = &engine.database;
    for text in &args.data {
        let (name, root) = match text.split_once('=') {
            Some((name, root)) if !name.contains(['/', ':']) => (Some(name), root),
            _ => (None, text.as_str()),
        };
        let root = session.locate(root)?;
        database.add_dataset(name, session.wait(Dataset::open(&root))?)?;
    }
    let absent = add_results(session, args, database)?;
    add_trainings(session, args, database, absent)?;
    Ok(engine)
}

/// Adds the results; gives the error of a place without any, which may hold trainings instead.
fn add_results(session: &Session, args: &args::Sql, database: &Database) -> Result<Option<Error>> {
    let root = session.locate(args.results())?;
    match session.wait(database.add_results(&root, &session.reporter)) {
        // A question about data sets or trainings needs no results.
        Err(Error::NoResults { .. })
            if args.results.is_none() && !(args.data.is_empty() && args.runs.is_empty()) =>
        {
            Ok(None)
        }
        Err(error @ Error::NoResults { .. }) => Ok(Some(error)),
        added => added.map(|_| None).map_err(Into::into),
    }
}

fn add_trainings(
    session: &Session,
    args: &args::Sql,
    database: &Database,
    absent: Option<Error>,
) -> Result<()> {
    let mut places = Vec::new();
    for root in &args.runs {
        places.push(session.locate(root)?);
    }
    if absent.is_some() {
        places.push(session.locate(args.results())?);
    }
    if places.is_empty() {
        return Ok(());
    }
    let added = session.wait(database.add_trainings(&places, &session.reporter));
    match (added, absent) {
        (Err(Error::NoTrainings { .. } | Error::RemoteLogs), Some(absent)) => Err(absent.into()),
        (added, _) => Ok(added.map(drop)?),
    }
}

fn views() -> String {
    View::all()
        .map(|view| format!("-- {}\n{}\n", view.name, view.sql))
        .collect()
}

fn answer(session: &Session, engine: &Engine, query: &str, format: Format) -> Result<()> {
    let batches = engine
        .ask(session, query)
        .with_context(|| "the query failed".to_owned())?;
    show(format, &batches)
}

/// Writes a table to standard output.
pub fn show(format: Format, batches: &[RecordBatch]) -> Result<()> {
    let bytes = format.write(batches)?;
    match format {
        Format::Table | Format::Md => print(bytes),
        Format::Csv | Format::Json | Format::Parquet => print_data(&bytes),
    }
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Queries one after another; the first failure ends it.
fn batch(session: &Session, engine: &Engine, text: &str, format: Format) -> Result<()> {
    let queries: Vec<String> = statements(text);
    if queries.is_empty() {
        misuse!("no query given");
    }
    queries
        .iter()
        .try_for_each(|query| answer(session, engine, query, format))
}

/// Splits at semicolons outside of quotes and comments.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut quote, mut comment) = (None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        comment = match (comment, c) {
            (true, '\n') => false,
            (false, '-') if quote.is_none() => chars.peek() == Some(&'-'),
            (comment, _) => comment,
        };
        quote = match quote {
            _ if comment => quote,
            Some(open) if open == c => None,
            None if c == '\'' || c == '"' => Some(c),
            quote => quote,
        };
        if c == ';' && quote.is_none() && !comment {
            found.push(String::new());
        } else if let Some(last) = found.last_mut() {
            last.push(c);
        }
    }
    let is_query = |text: &String| {
        text.lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    };
    found.into_iter().filter(is_query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_mean_it() {
        let text = "SELECT ';' AS a; -- one; two\nSELECT \"b;\" FROM t;\n-- done; indeed\n";
        let found = statements(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0], "SELECT ';' AS a");
    }
}
