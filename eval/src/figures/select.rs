//! [`Selection`]: the data sets, evaluations and fields that figures show.

use serde::Deserialize;

use crate::{Error, Result, Results};

/// Data sets, names of runs, and fields; where a list is empty, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of data sets, with or without what tells those of one name apart.
    pub datasets: Vec<String>,
    /// Names of what was evaluated.
    pub names: Vec<String>,
    /// Fields; charts show the mean over them.
    pub fields: Vec<String>,
}

#[derive(Deserialize)]
struct ResultValue {
    value: String,
}

impl Selection {
    /// That the results hold all that was asked for.
    pub(super) async fn check(&self, results: &Results) -> Result<()> {
        for (what, asked, sql) in [
            (
                "a data set",
                &self.datasets,
                "SELECT dataset AS value FROM runs UNION SELECT dataset_name FROM runs ORDER BY value",
            ),
            (
                "an evaluated run",
                &self.names,
                "SELECT DISTINCT name AS value FROM runs ORDER BY value",
            ),
            (
                "a field",
                &self.fields,
                "SELECT DISTINCT field AS value FROM metrics ORDER BY value",
            ),
        ] {
            if asked.is_empty() {
                continue;
            }
            let held: Vec<ResultValue> = results.rows(sql).await?;
            let held: Vec<String> = held.into_iter().map(|held| held.value).collect();
            if let Some(missing) = asked.iter().find(|&value| !held.contains(value)) {
                return Err(Error::Unknown {
                    text: missing.clone(),
                    what,
                    choices: held.join(", "),
                });
            }
        }
        Ok(())
    }

    /// Conditions on columns of `runs r`, each with its AND.
    pub(super) fn runs(&self) -> String {
        any(&["r.dataset", "r.dataset_name"], &self.datasets) + &any(&["r.name"], &self.names)
    }

    /// A condition on a column of fields, with its AND.
    pub(super) fn fields(&self, column: &str) -> String {
        any(&[column], &self.fields)
    }

    pub(super) fn shows(&self, field: &str) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|shown| shown == field)
    }
}

/// Names of the fields that a selection has, in order.
///
/// # Errors
/// [`Error::Unknown`] for what the results do not hold, [`Error::Sql`].
pub async fn fields(results: &Results, selection: &Selection) -> Result<Vec<String>> {
    selection.check(results).await?;
    let held: Vec<ResultValue> = results
        .rows(&format!(
            "SELECT DISTINCT m.field AS value FROM runs r JOIN metrics m ON m.run = r.run WHERE true{}{} \
             ORDER BY value",
            selection.runs(),
            selection.fields("m.field")
        ))
        .await?;
    Ok(held.into_iter().map(|held| held.value).collect())
}

/// That one of the columns is among the values; nothing for an empty list.
fn any(columns: &[&str], values: &[String]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    let values = values.join(", ");
    let columns = columns
        .iter()
        .map(|column| format!("{column} IN ({values})"));
    match columns.collect::<Vec<_>>().as_slice() {
        [one] => format!(" AND {one}"),
        several => format!(" AND ({})", several.join(" OR ")),
    }
}

/// A string in SQL.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_quote_what_they_hold() {
        let selection = Selection {
            names: vec!["ckm".into(), "it's".into()],
            ..Selection::default()
        };
        assert_eq!(selection.runs(), " AND r.name IN ('ckm', 'it''s')");
        assert_eq!(selection.fields("m.field"), "");
        let selection = Selection {
            datasets: vec!["nova".into()],
            ..Selection::default()
        };
        assert_eq!(
            selection.runs(),
            " AND (r.dataset IN ('nova') OR r.dataset_name IN ('nova'))"
        );
    }
}
