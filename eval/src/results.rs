//! Results as tables in SQL: `runs`, `metrics`, `spectra`, and the named views.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use serde::Deserialize;
use url::Url;
use wellspring_store::Location;

use crate::tables::{self, Table};
use crate::{Error, Result, View};

/// Where DataFusion finds the results' store.
const STORE: &str = "wellspring://results";

/// The committed evaluations of a results folder.
pub struct Results {
    root: Location,
    runs: Vec<String>,
    session: SessionContext,
}

impl Results {
    /// Opens a results folder as it is now; what is committed later is not seen.
    ///
    /// # Errors
    /// [`Error::NoResults`] where there is none.
    pub async fn open(root: &Location) -> Result<Self> {
        let runs = tables::committed(root).await?;
        if runs.is_empty() {
            return Err(Error::NoResults {
                root: root.to_string(),
            });
        }
        // Views join small tables; more partitions than cores only cost.
        let session =
            SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
        if let Ok(url) = Url::parse(STORE) {
            session.register_object_store(&url, Arc::clone(root.object_store()));
        }
        for table in Table::ALL {
            let files = runs.iter().map(|run| table.file(root, run));
            let urls: Result<Vec<_>, _> = files
                .map(|file| ListingTableUrl::parse(format!("{STORE}/{}", file.path())))
                .collect();
            let options = ListingOptions::new(Arc::new(ParquetFormat::default()));
            let config = ListingTableConfig::new_with_multi_paths(urls?)
                .with_listing_options(options)
                .with_schema(table.schema());
            session.register_table(table.name(), Arc::new(ListingTable::try_new(config)?))?;
        }
        for view in View::ALL {
            session
                .sql(&format!("CREATE VIEW {} AS {}", view.name, view.sql))
                .await?;
        }
        Ok(Self {
            root: root.clone(),
            runs,
            session,
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
        let reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false);
        let frame = self.session.sql_with_options(query, reading).await?;
        let schema = Arc::clone(frame.schema().inner());
        let batches = frame.collect().await?;
        // An empty answer still has columns.
        Ok(if batches.is_empty() {
            vec![RecordBatch::new_empty(schema)]
        } else {
            batches
        })
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
