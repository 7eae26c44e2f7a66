//! The pages of the reference, which are made from the program.

use super::{root, text_of};
use crate::program::{Said, Workplace};

/// Pages that are made from the program. `WELLSPRING_WRITE_DOCS=1` writes them anew.
#[test]
#[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
fn the_reference_is_of_this_program() {
    let place = Workplace::new();
    let made = [
        ("docs/reference/commands.md", all_commands(&place)),
        ("docs/reference/configuration.md", configuration(&place)),
        ("docs/reference/tables.md", tables(&place.with_data_set())),
    ];
    for (page, text) in made {
        if std::env::var_os("WELLSPRING_WRITE_DOCS").is_some() {
            std::fs::write(root().join(page), &text).unwrap();
        }
        let advice = "write it anew: WELLSPRING_WRITE_DOCS=1 cargo test --release -p wellspring --features cluster --test program docs::reference";
        assert!(
            text_of(page) == text,
            "{page} is not of this program; {advice}"
        );
    }
}

/// The help of the program and of each command.
fn all_commands(place: &Workplace) -> String {
    let help = place.do_it("help").out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Words that go on with what is above them stand further in.
    let names = listed.filter_map(|line| {
        line.strip_prefix("  ")
            .filter(|line| !line.starts_with(' '))
    });
    let names = names.filter_map(|line| line.split_whitespace().next());
    let mut text = format!("# Commands\n\nWhat `wellspring help` says.\n\n```text\n{help}```\n");
    for name in names.filter(|name| *name != "help") {
        let help = place.do_it(&format!("help {name}")).out;
        text += &format!("\n## {name}\n\n```text\n{help}```\n");
    }
    text
}

fn configuration(place: &Workplace) -> String {
    let keys = place.do_it("keys").out;
    format!(
        "# Configuration of a training\n\nWhat `wellspring keys` prints: every key with its default, a file to begin \
         with. `wellspring train config.toml --set KEY=VALUE` changes one.\n\n```toml\n{keys}```\n"
    )
}

/// The columns of every table and view, with what they hold.
fn tables(place: &Workplace) -> String {
    place.train_and_evaluate("ds", "");
    let query = r#"SELECT "table", "column", type, meaning FROM columns ORDER BY "table", place"#;
    let sql = "sql -r ds-results --runs . --format json";
    let said = Said::from(place.command(sql).arg(query).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    let columns: Vec<Column> = serde_json::from_str(&said.out).unwrap();
    check_meanings(&columns);
    let mut text = "# Tables and views\n\nWhat `SELECT * FROM columns` says in `wellspring sql -r results --runs runs`. `runs`, \
        `metrics`, `spectra`, `ensembles`, `training` and `training_folders` are tables; the others are views, whose SQL is in \
        `wellspring sql --explain-views`.\n"
        .to_owned();
    let views = place.do_it("sql --explain-views").out;
    for (place, column) in columns.iter().enumerate() {
        if place == 0 || columns[place - 1].table != column.table {
            let about = question(&views, &column.table).unwrap_or_default();
            text += &format!(
                "\n## {}\n\n{about}| column | type | |\n|---|---|---|\n",
                column.table
            );
        }
        let kind = column.kind.split('(').next().unwrap_or_default();
        text += &format!("| `{}` | {kind} | {} |\n", column.column, column.meaning());
    }
    text
}

#[derive(serde::Deserialize)]
struct Column {
    table: String,
    column: String,
    #[serde(rename = "type")]
    kind: String,
    meaning: Option<String>,
}

impl Column {
    fn meaning(&self) -> &str {
        self.meaning.as_deref().unwrap_or_default()
    }
}

/// That each column has a meaning, and each meaning a column.
fn check_meanings(columns: &[Column]) {
    for column in columns {
        assert!(
            !column.meaning().is_empty(),
            "{}.{} has no meaning",
            column.table,
            column.column
        );
    }
    for line in text_of("eval/src/sql/meanings.tsv").lines() {
        let used = columns.iter().any(|of| {
            let [own, any] =
                [&*of.table, ""].map(|table| format!("{table}\t{}\t{}", of.column, of.meaning()));
            line == own || line == any
        });
        assert!(used, "eval/src/sql/meanings.tsv: no column has: {line}");
    }
}

/// What a view answers: the line below its name in `--explain-views`.
fn question(views: &str, name: &str) -> Option<String> {
    let mut lines = views.lines();
    lines.find(|line| *line == format!("-- {name}"))?;
    let question = lines.next()?.trim_start_matches("-- ");
    Some(format!("{question}.\n\n"))
}
