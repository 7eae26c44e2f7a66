//! [`Results`]: a results folder, opened for queries.

use arrow::array::RecordBatch;
use serde::Deserialize;
use wellspring_store::{Location, Reporter};

use crate::results::tables;
use crate::sql::database::ResultsSnapshot;
use crate::{Database, Error, Result};

/// The committed evaluations of a results folder.
pub struct Results {
    root: Location,
    runs: Vec<String>,
    trainings: Vec<String>,
    database: Database,
}

impl Results {
    /// Opens a results folder as it is now; what is committed later is not seen. Evaluations with a damaged
    /// or missing file are left out; `reporter` hears of them.
    ///
    /// # Errors
    /// [`Error::NoResults`] where there is none, [`Error::NewerTables`], [`Error::Malformed`].
    pub async fn open(root: &Location, reporter: &dyn Reporter) -> Result<Self> {
        let database = Database::new()?;
        Ok(Self {
            runs: database.add_results(root, reporter).await?,
            trainings: Vec::new(),
            root: root.clone(),
            database,
        })
    }

    /// Location of the results folder.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.root
    }

    /// Adds the logs of all runs below some places, for queries and for figures.
    ///
    /// # Errors
    /// As [`Database::add_trainings`].
    pub async fn add_trainings(
        &mut self,
        places: &[Location],
        reporter: &dyn Reporter,
    ) -> Result<()> {
        self.trainings = self.database.add_trainings(places, reporter).await?;
        Ok(())
    }

    /// Names of the trainings that were added.
    #[must_use]
    pub fn trainings(&self) -> &[String] {
        &self.trainings
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

    /// The results that queries read now.
    pub(crate) fn held(&self) -> ResultsSnapshot {
        self.database.held()
    }

    /// Whether queries read others now than those that were held, since an evaluation has been replaced.
    pub(crate) async fn renew(&self, held: &ResultsSnapshot) -> Result<bool> {
        self.database.renew(held).await
    }

    /// Answers one query in rows of a type, whose fields are the query's columns.
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
    use wellspring_store::Silent;

    use super::*;
    use crate::Format;

    /// Tables of older versions stay in `tests/data` and must always open.
    async fn asked(version: u32) -> (Results, String) {
        let place = format!("tests/data/results-v{version}");
        let results = Results::open(&Location::parse(&place).unwrap(), &Silent)
            .await
            .unwrap();
        let versions = ask(&results, "SELECT DISTINCT table_version FROM runs").await;
        assert_eq!(versions, format!("table_version\n{version}\n"));
        for view in crate::View::OF_RESULTS {
            ask(&results, &format!("SELECT * FROM {}", view.name)).await;
        }
        let new = ask(
            &results,
            "SELECT DISTINCT grid, fields, task = dataset_id FROM runs",
        )
        .await;
        assert!(new.ends_with("\n,,true\n"), "{new}");
        let leads = "SELECT lead, count(*) AS fields FROM by_lead GROUP BY lead ORDER BY lead";
        let leads = ask(&results, leads).await;
        (results, leads)
    }

    async fn ask(results: &Results, query: &str) -> String {
        let answer = results.sql(query).await.unwrap();
        String::from_utf8(Format::Csv.write(&answer).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn tables_of_version_1_open() {
        let (results, leads) = asked(1).await;
        let added = ask(&results, "SELECT weights, bands FROM runs").await;
        assert_eq!(added, "weights,bands\n,\n");
        assert_eq!(leads, "lead,fields\n1,4\n2,4\n");
    }

    /// Persistence on two data sets of one name, which version 2 did not tell apart.
    #[tokio::test]
    async fn tables_of_version_2_open_and_tell_data_sets_apart() {
        let (results, leads) = asked(2).await;
        assert_eq!(leads, "lead,fields\n1,2\n2,2\n");
        let sets = "SELECT DISTINCT dataset, dataset_name FROM runs ORDER BY dataset";
        let expected = "dataset,dataset_name\nshear_flow #9d0a1831,shear_flow\n\
            shear_flow #b5c8c3c5,shear_flow\n";
        assert_eq!(ask(&results, sets).await, expected);
        let alone = "SELECT count(DISTINCT vrmse) AS numbers FROM by_lead WHERE lead = 1";
        assert_eq!(ask(&results, alone).await, "numbers\n2\n");
    }
}
