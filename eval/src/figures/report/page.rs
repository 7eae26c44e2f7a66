//! Builds the body of the report's page.

use std::fmt::Write as _;

use crate::Result;
use crate::figures::{Figure, escaped};
use crate::sql::format::Cells;

#[derive(Default)]
pub(super) struct Page {
    body: String,
    heading: String,
}

impl Page {
    /// Adds a heading, unless it is equal to the last one.
    pub(super) fn heading(&mut self, text: &str) {
        if self.heading == text {
            return;
        }
        text.clone_into(&mut self.heading);
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// A sortable table, whose numbers lead to its SQL. They are too many to stop at each with the
    /// keyboard; the SQL below the table is one stop.
    pub(super) fn table(&mut self, id: &str, cells: &Cells, sql: &str) {
        self.body.push_str("<div class=\"wide\"><table><thead><tr>");
        for (name, &numeric) in cells.header.iter().zip(&cells.numeric) {
            let class = if numeric { " class=\"number\"" } else { "" };
            let name = escaped(name);
            let _ = write!(
                self.body,
                "<th{class}><button type=\"button\">{name}</button></th>"
            );
        }
        self.body.push_str("</tr></thead><tbody>\n");
        for row in &cells.rows {
            self.body.push_str("<tr>");
            for (cell, &numeric) in row.iter().zip(&cells.numeric) {
                let cell = escaped(cell);
                let _ = match (numeric, cell.as_str()) {
                    (true, "") => write!(self.body, "<td class=\"number\"></td>"),
                    (true, _) => write!(
                        self.body,
                        "<td class=\"number\"><a href=\"#sql-{id}\" tabindex=\"-1\">{cell}</a></td>"
                    ),
                    (false, _) => write!(self.body, "<td>{cell}</td>"),
                };
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
        self.sql(id, sql);
    }

    /// A figure that leads to its SQL.
    pub(super) fn figure(&mut self, figure: &Figure) -> Result<()> {
        self.heading(figure.heading());
        let (id, caption) = (figure.name(), escaped(figure.caption()));
        let _ = writeln!(
            self.body,
            "<figure><a href=\"#sql-{id}\">{}</a><figcaption>{caption}</figcaption></figure>",
            figure.element()?
        );
        self.sql(id, figure.sql());
        Ok(())
    }

    pub(super) fn into_body(self) -> String {
        self.body
    }

    fn sql(&mut self, id: &str, sql: &str) {
        let _ = writeln!(
            self.body,
            "<details><summary>SQL</summary><pre id=\"sql-{id}\" tabindex=\"-1\">{}</pre></details>",
            escaped(sql.trim())
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_to_the_sql() {
        let cells = Cells {
            header: vec!["name".into(), "vrmse".into()],
            rows: vec![
                vec!["<ckm>".into(), "0.5".into()],
                vec!["csm".into(), String::new()],
            ],
            numeric: vec![false, true],
        };
        let mut page = Page::default();
        page.table("scores", &cells, "SELECT 1 < 2");
        let body = page.into_body();
        assert_eq!(body.matches("href=\"#sql-scores\"").count(), 1);
        assert_eq!(body.matches("id=\"sql-scores\"").count(), 1);
        assert!(
            body.contains("&lt;ckm&gt;") && body.contains("SELECT 1 &lt; 2"),
            "{body}"
        );
    }
}
