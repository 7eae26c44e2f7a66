//! The interactive prompt. Queries may span lines and end with a semicolon; their history is kept between
//! sessions, and the tab key completes names.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};
use wellspring_eval::{Format, View};

use super::engine::Engine;
use super::{batch, statements};
use crate::commands::Session;
use crate::failure;
use crate::plain::plain;
use crate::progress::line;

const HELP: &str = "\
\\v    the named views
\\d    every table with its columns
\\?    this help
\\q    quit
A query ends with a semicolon. EXPLAIN ANALYZE before it shows where its time goes.";

const TABLES: &str =
    "SELECT table_schema || '.' || table_name AS \"table\", string_agg(column_name, ' ') AS columns
FROM information_schema.columns
WHERE table_schema <> 'information_schema'
GROUP BY table_schema, table_name
ORDER BY 1";

pub fn run(session: &Session, engine: &Engine, format: Format) -> Result<()> {
    let config = Config::builder().auto_add_history(false).build();
    let mut editor: Editor<Names, DefaultHistory> =
        Editor::with_config(config).context("cannot open the terminal")?;
    let mut names = session.wait(engine.database.names())?;
    // What the terminal may not have cannot be typed there either.
    names.retain(|name| plain(name) == *name);
    editor.set_helper(Some(Names(names)));
    let history = history();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    line("\\? says what can be typed");
    loop {
        let typed = match editor.readline("wellspring> ") {
            Ok(typed) => typed,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("cannot read the terminal"),
        };
        match typed.trim() {
            "" => {}
            "\\q" | "exit" | "quit" => return Ok(()),
            "\\?" | "help" => line(HELP),
            "\\v" => {
                View::all().for_each(|view| line(&format!("{:<18} {}", view.name, view.question())))
            }
            "\\d" => timed(session, engine, TABLES, format),
            query => {
                let _ = editor.add_history_entry(query);
                if let Some(path) = &history {
                    // A history that cannot be kept is not a reason to stop.
                    let _ = editor.save_history(path);
                }
                timed(session, engine, query, format);
            }
        }
    }
}

fn timed(session: &Session, engine: &Engine, query: &str, format: Format) {
    let began = Instant::now();
    match batch(session, engine, query, format) {
        Ok(()) => line(&format!("{:.3} s", began.elapsed().as_secs_f64())),
        Err(error) => line(&format!("error: {}", failure::chain(error.as_ref()))),
    }
}

/// The file in which queries are remembered.
fn history() -> Option<PathBuf> {
    let folder = match std::env::var_os("XDG_STATE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    let folder = folder.join("wellspring");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql_history"))
}

/// Names that can be completed, ascending.
struct Names(Vec<String>);

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        typed: &str,
        cursor: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = typed[..cursor]
            .char_indices()
            .rev()
            .find(|(_, c)| !c.is_alphanumeric() && *c != '_')
            .map_or(0, |(at, c)| at + c.len_utf8());
        let begun = typed[start..cursor].to_lowercase();
        let fits = |name: &&String| name.to_lowercase().starts_with(&begun);
        let fitting = self.0.iter().filter(fits).cloned().collect();
        Ok((start, fitting))
    }
}

impl Validator for Names {
    /// A query goes on until its semicolon; what begins with a backslash is a line of its own.
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = typed.input().trim();
        let is_whole = text.is_empty()
            || text.starts_with('\\')
            || ["exit", "quit", "help"].contains(&text)
            || (text.ends_with(';') && !statements(text).is_empty());
        Ok(if is_whole {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Helper for Names {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_word_under_the_cursor_is_completed() {
        let names = Names(
            ["leaderboard", "lead", "vrmse", "SELECT"]
                .map(str::to_owned)
                .into(),
        );
        let history = DefaultHistory::new();
        let context = rustyline::Context::new(&history);
        let typed = "SELECT avg(r.le FROM";
        let found = names.complete(typed, 15, &context).unwrap();
        assert_eq!(found, (13, vec!["leaderboard".into(), "lead".into()]));
        let (start, found) = names.complete("sel", 3, &context).unwrap();
        assert_eq!((start, found), (0, vec!["SELECT".to_owned()]));
    }
}
