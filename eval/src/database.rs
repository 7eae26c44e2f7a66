//! One place to ask: the tables of a results folder, the frames of data sets, our functions.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SQLOptions, SessionContext};
use url::Url;
use wellspring_store::{Dataset, Location, Reporter};

use crate::frames::FramesTable;
use crate::session::{self, StorageOptions};
use crate::tables::{Committed, RunFiles, Table};
use crate::{Error, Result, View};

/// Words of SQL that are worth completing.
const WORDS: [&str; 24] = [
    "AND", "AS", "ASC", "BETWEEN", "CASE", "CAST", "DESC", "DISTINCT", "EXPLAIN", "FILTER", "FROM",
    "GROUP BY", "HAVING", "IN", "JOIN", "LIKE", "LIMIT", "ON", "ORDER BY", "OVER", "SELECT",
    "UNION", "WHERE", "WITH",
];

/// A SQL session over results and data sets.
pub struct Database {
    session: SessionContext,
    /// Whether queries leave this process, so that tables must be files.
    is_remote: bool,
}

impl Database {
    /// Without tables; with our functions.
    ///
    /// # Errors
    /// [`Error::Sql`] when the engine cannot be started.
    pub fn new() -> Result<Self> {
        let state = session::state(session::config(), &StorageOptions::default())?;
        Ok(Self {
            session: SessionContext::new_with_state(state),
            is_remote: false,
        })
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn over_cluster(session: SessionContext) -> Self {
        Self {
            session,
            is_remote: true,
        }
    }

    /// Adds the tables `runs`, `metrics` and `spectra` of a results folder as it is now, and the named
    /// views; gives the names of the committed evaluations. Those with a damaged or missing file are left
    /// out; `reporter` hears of them.
    ///
    /// # Errors
    /// [`Error::NoResults`] where there is none, [`Error::NewerTables`], [`Error::Malformed`].
    pub async fn add_results(
        &self,
        root: &Location,
        reporter: &dyn Reporter,
    ) -> Result<Vec<String>> {
        let committed = Committed::read(root, reporter).await?;
        let records = &committed.records;
        if records.num_rows() == 0 {
            return Err(Error::NoResults {
                root: root.to_string(),
            });
        }
        if self.is_remote {
            self.add_runs_of_files(root, &committed).await?;
        } else {
            let table = MemTable::try_new(records.schema(), vec![vec![records.clone()]])?;
            self.session
                .register_table(Table::Runs.name(), Arc::new(table))?;
        }
        for table in [Table::Metrics, Table::Spectra] {
            self.add_files(root, table, table.name(), &committed)?;
        }
        for view in View::ALL {
            self.session
                .sql(&format!("CREATE VIEW {} AS {}", view.name, view.sql))
                .await?;
        }
        Ok(committed.runs())
    }

    /// `runs` as a view over files, for machines that read them.
    async fn add_runs_of_files(&self, root: &Location, committed: &Committed) -> Result<()> {
        let name = "run_files";
        self.add_files(root, Table::Runs, name, committed)?;
        let sql = committed.runs_sql(name);
        let view = format!("CREATE VIEW {} AS {sql}", Table::Runs.name());
        self.session.sql(&view).await?;
        Ok(())
    }

    /// Registers the files that evaluations have of a table.
    fn add_files(
        &self,
        root: &Location,
        table: Table,
        name: &str,
        committed: &Committed,
    ) -> Result<()> {
        self.mount(root)?;
        let files = committed.files(table).to_vec();
        let files = RunFiles::new(table, root.clone(), files);
        self.session.register_table(name, Arc::new(files))?;
        Ok(())
    }

    /// Adds the frames of a data set as `NAME.frames`, and of the first one as `frames` too; gives the
    /// name: the data set's own unless one is given.
    ///
    /// # Errors
    /// [`Error::Sql`] for a name that is taken.
    pub fn add_dataset(&self, name: Option<&str>, dataset: Dataset) -> Result<String> {
        let name = name.unwrap_or(&dataset.schema().name).to_owned();
        let table = Arc::new(FramesTable::new(Arc::new(dataset)));
        let state = self.session.state();
        let defaults = &state.config_options().catalog;
        let catalog = self.session.catalog(&defaults.default_catalog);
        let taken = || Error::Taken { name: name.clone() };
        let catalog = catalog.ok_or_else(taken)?;
        if catalog.schema(&name).is_some() {
            return Err(taken());
        }
        let own: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        own.register_table("frames".into(), table.clone())?;
        catalog.register_schema(&name, own)?;
        if !self.session.table_exist("frames")? {
            self.session.register_table("frames", table)?;
        }
        Ok(name)
    }

    /// Names that a query may hold: words of SQL, tables, columns and functions, ascending.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn names(&self) -> Result<Vec<String>> {
        let columns = self
            .session
            .sql(
                "SELECT table_name FROM information_schema.tables \
                 UNION SELECT column_name FROM information_schema.columns",
            )
            .await?
            .collect()
            .await?;
        let mut names = Vec::new();
        for batch in &columns {
            let column = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
            names.extend(
                column
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .map(str::to_owned),
            );
        }
        let state = self.session.state();
        names.extend(state.scalar_functions().keys().cloned());
        names.extend(state.aggregate_functions().keys().cloned());
        names.extend(WORDS.map(str::to_owned));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Answers one query; statements that change anything are refused.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        let reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
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

    /// Lets the engine find a place's store by its URL.
    fn mount(&self, root: &Location) -> Result<()> {
        let url = Url::parse(&root.store_url()).map_err(|error| Error::Malformed {
            object: root.to_string(),
            reason: error.to_string(),
        })?;
        let store = Arc::clone(root.object_store());
        self.session.register_object_store(&url, store);
        Ok(())
    }
}
