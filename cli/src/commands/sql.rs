//! `wellspring sql`: reads result tables and answers queries; writes nothing but the answer.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use wellspring_eval::{Format, Results, View};

use super::{Session, print};
use crate::args;
use crate::failure::misuse;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Sql) -> Result<()> {
    let format: Format = match args.format.parse() {
        Ok(format) => format,
        Err(error) => misuse!("--format: {error}"),
    };
    if args.explain_views {
        return print(views());
    }
    let root = session.locate(&args.results)?;
    let results = session.wait(Results::open(&root))?;
    match (&args.query, &args.file) {
        (Some(query), _) => answer(session, &results, query, format),
        (None, Some(file)) => batch(session, &results, &read(file)?, format),
        (None, None) if std::io::stdin().is_terminal() => prompt(session, &results, format),
        (None, None) => batch(session, &results, &read(Path::new("-"))?, format),
    }
}

fn views() -> String {
    View::ALL
        .iter()
        .map(|view| format!("-- {}\n{}\n", view.name, view.sql))
        .collect()
}

fn answer(session: &Session, results: &Results, query: &str, format: Format) -> Result<()> {
    let batches = session
        .wait(results.sql(query))
        .with_context(|| "the query failed".to_owned())?;
    print(format.write(&batches)?)
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
fn batch(session: &Session, results: &Results, text: &str, format: Format) -> Result<()> {
    let queries: Vec<String> = statements(text);
    if queries.is_empty() {
        misuse!("no query given");
    }
    queries
        .iter()
        .try_for_each(|query| answer(session, results, query, format))
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

/// Reads queries that may span lines, each ended by a semicolon.
fn prompt(session: &Session, results: &Results, format: Format) -> Result<()> {
    line(&format!(
        "{} evaluations; \\v lists the views, \\q leaves",
        results.runs().len()
    ));
    let mut editor = DefaultEditor::new().context("cannot open the terminal")?;
    let mut query = String::new();
    loop {
        let shown = if query.is_empty() {
            "wellspring> "
        } else {
            "        ... "
        };
        let typed = match editor.readline(shown) {
            Ok(typed) => typed,
            Err(ReadlineError::Interrupted) => {
                query.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        match typed.trim() {
            "\\q" | "exit" | "quit" => return Ok(()),
            "\\v" => View::ALL
                .iter()
                .for_each(|view| line(&format!("{:<18} {}", view.name, view.question()))),
            typed => {
                query += typed;
                query.push('\n');
                if typed.ends_with(';') {
                    let _ = editor.add_history_entry(query.trim());
                    let began = Instant::now();
                    match batch(session, results, &query, format) {
                        Ok(()) => line(&format!("{:.3} s", began.elapsed().as_secs_f64())),
                        Err(error) => line(&format!("error: {error:#}")),
                    }
                    query.clear();
                }
            }
        }
    }
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
