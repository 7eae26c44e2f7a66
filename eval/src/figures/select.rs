//! [`FigureSelection`]: the data sets, evaluations and fields that figures show.

use serde::Deserialize;

use crate::{Error, Result, Results};

/// Data sets, names of runs, and fields; where a list is empty, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FigureSelection {
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

impl FigureSelection {
    /// The selection with each data set by the name that tells it from others of its name.
    ///
    /// # Errors
    /// [`Error::Unknown`] for what the results do not hold, [`Error::Sql`].
    pub(super) async fn resolved(&self, results: &Results) -> Result<Self> {
        self.check(results).await?;
        let names = any("dataset", &self.datasets);
        let plain = any("dataset_name", &self.datasets);
        if names.is_empty() {
            return Ok(self.clone());
        }
        let sql = format!(
            "SELECT DISTINCT dataset AS value FROM runs WHERE {names} OR {plain} ORDER BY value"
        );
        let datasets: Vec<ResultValue> = results.rows(&sql).await?;
        Ok(Self {
            datasets: datasets.into_iter().map(|held| held.value).collect(),
            ..self.clone()
        })
    }

    /// That the results hold all that was asked for.
    async fn check(&self, results: &Results) -> Result<()> {
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

    /// Conditions on a view's columns `dataset` and `name`, each with its AND.
    pub(super) fn runs(&self) -> String {
        and(any("dataset", &self.datasets)) + &and(any("name", &self.names))
    }

    /// A condition on a view's column `field`, with its AND.
    pub(super) fn fields(&self) -> String {
        and(any("field", &self.fields))
    }

    pub(super) fn shows(&self, field: &str) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|shown| shown == field)
    }
}

/// Names of the fields that a selection has, in order.
///
/// # Errors
/// [`Error::Unknown`] for what the results do not hold, [`Error::Sql`].
pub async fn fields(results: &Results, selection: &FigureSelection) -> Result<Vec<String>> {
    let selection = selection.resolved(results).await?;
    let held: Vec<ResultValue> = results
        .rows(&format!(
            "SELECT DISTINCT field AS value FROM by_lead WHERE true{}{} ORDER BY value",
            selection.runs(),
            selection.fields()
        ))
        .await?;
    Ok(held.into_iter().map(|held| held.value).collect())
}

/// That a column is among the values; nothing for an empty list.
fn any(column: &str, values: &[String]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("{column} IN ({})", values.join(", "))
}

/// A condition with its AND; nothing for none.
fn and(condition: String) -> String {
    match condition.as_str() {
        "" => condition,
        _ => format!(" AND {condition}"),
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
        let selection = FigureSelection {
            names: vec!["ckm".into(), "it's".into()],
            ..FigureSelection::default()
        };
        assert_eq!(selection.runs(), " AND name IN ('ckm', 'it''s')");
        assert_eq!(selection.fields(), "");
        let selection = FigureSelection {
            datasets: vec!["nova".into()],
            ..FigureSelection::default()
        };
        assert_eq!(selection.runs(), " AND dataset IN ('nova')");
    }
}
