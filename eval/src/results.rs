//! A results folder, opened to be asked.

use arrow::array::RecordBatch;
use serde::Deserialize;
use wellspring_store::Location;

use crate::{Database, Error, Result, tables};

/// The committed evaluations of a results folder.
pub struct Results {
    root: Location,
    runs: Vec<String>,
    database: Database,
}

impl Results {
    /// Opens a results folder as it is now; what is committed later is not seen.
    ///
    /// # Errors
    /// [`Error::NoResults`] where there is none, [`Error::NewerTables`], [`Error::Malformed`].
    pub async fn open(root: &Location) -> Result<Self> {
        let database = Database::new()?;
        Ok(Self {
            runs: database.add_results(root).await?,
            root: root.clone(),
            database,
        })
    }

    /// Where they are.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.root
    }

    /// Names of the committed evaluations' files.
    #[must_use]
    pub fn runs(&self) -> &[String] {
        &self.runs
    }

    /// Answers one query; statements that change anything are refused.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        self.database.sql(query).await
    }

    /// Answers one query in rows of a type; what is not finite is none.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Malformed`] when the columns are not the type's.
    pub(crate) async fn rows<T: for<'a> Deserialize<'a>>(&self, query: &str) -> Result<Vec<T>> {
        tables::typed(&self.sql(query).await?).map_err(|reason| Error::Malformed {
            object: self.root.to_string(),
            reason,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::Format;

    /// Tables as version 1 wrote them lie in `tests/data` for ever and must open.
    #[tokio::test]
    async fn older_tables_open() {
        let results = Results::open(&Location::parse("tests/data/results-v1").unwrap())
            .await
            .unwrap();
        let ask = async |query: &str| {
            let answer = results.sql(query).await.unwrap();
            String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
        };
        let versions = ask("SELECT table_version, weights, bands FROM runs").await;
        assert_eq!(versions, "table_version,weights,bands\n1,,\n");
        let leads =
            ask("SELECT lead, count(*) AS fields FROM by_lead GROUP BY lead ORDER BY lead").await;
        assert_eq!(leads, "lead,fields\n1,4\n2,4\n");
        for view in crate::View::ALL {
            ask(&format!("SELECT * FROM {}", view.name)).await;
        }
    }
}
