//! One self-contained HTML page about results: figures, sortable tables, and under each the SQL that
//! gave it. It takes the reader's light or dark, prints, and needs no network.

mod sections;

use std::fmt::Write as _;

use crate::format::Cells;
use crate::{Result, Results};

/// What the page is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// Its heading.
    pub title: String,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            title: "Evaluation of surrogate models".into(),
        }
    }
}

/// The page.
///
/// # Errors
/// [`crate::Error::Sql`] for tables that cannot be read, [`crate::Error::Figure`].
pub async fn report(results: &Results, options: &ReportOptions) -> Result<String> {
    let mut page = Page::default();
    sections::all(results, &mut page).await?;
    Ok(include_str!("report/page.html")
        .replace("{{style}}", include_str!("report/page.css"))
        .replace("{{script}}", include_str!("report/page.js"))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{source}}", &escaped(&results.location().to_string()))
        .replace("{{title}}", &escaped(&options.title))
        .replace("{{body}}", &page.0))
}

/// The page's body as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escaped(text));
    }

    fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escaped(text));
    }

    fn table(&mut self, cells: &Cells, sql: &str) {
        let class = |column: usize| {
            if cells.numeric[column] {
                " class=\"number\""
            } else {
                ""
            }
        };
        self.0.push_str("<div class=\"wide\"><table><thead><tr>");
        for (column, name) in cells.header.iter().enumerate() {
            let _ = write!(
                self.0,
                "<th{}><button type=\"button\">{}</button></th>",
                class(column),
                escaped(name)
            );
        }
        self.0.push_str("</tr></thead><tbody>\n");
        for row in &cells.rows {
            self.0.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(self.0, "<td{}>{}</td>", class(column), escaped(cell));
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody></table></div>\n");
        self.sql(sql);
    }

    /// `content` is markup already.
    fn figure(&mut self, content: &str, caption: &str, sql: Option<&str>) {
        let _ = writeln!(
            self.0,
            "<figure>{content}<figcaption>{}</figcaption></figure>",
            escaped(caption)
        );
        if let Some(sql) = sql {
            self.sql(sql);
        }
    }

    fn sql(&mut self, sql: &str) {
        let _ = writeln!(
            self.0,
            "<details><summary>SQL</summary><pre>{}</pre></details>",
            escaped(sql.trim())
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
