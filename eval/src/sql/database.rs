//! [`Database`]: the tables of a results folder, the frames of data sets, and our functions, in one session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::prelude::{SQLOptions, SessionContext};
use futures::TryStreamExt as _;
use tokio::sync::RwLock;
use url::Url;
use wellspring_store::{Dataset, Location, Reporter, Silent};

use crate::results::tables::{CommittedRuns, Table};
use crate::sql::RunFiles;
use crate::sql::depth;
use crate::sql::frames::FramesTable;
use crate::sql::meanings;
use crate::sql::memory;
use crate::sql::session;
use crate::sql::training::{TrainingFolders, TrainingTable};
use crate::{Error, Result, View};

/// Words of SQL that are worth completing.
const WORDS: [&str; 24] = [
    "AND", "AS", "ASC", "BETWEEN", "CASE", "CAST", "DESC", "DISTINCT", "EXPLAIN", "FILTER", "FROM",
    "GROUP BY", "HAVING", "IN", "JOIN", "LIKE", "LIMIT", "ON", "ORDER BY", "OVER", "SELECT",
    "UNION", "WHERE", "WITH",
];

/// Options of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SqlOptions {
    /// Bytes of memory that queries may have at a time, with their answers; half of the machine's if none. Sorts,
    /// joins and groups that need more go to temporary files.
    pub memory: Option<u64>,
}

/// Times that a question is asked again since what it reads was replaced meanwhile, at most.
const AGAIN: usize = 100;

/// A results folder as it was found.
struct ResultsFolder {
    root: Location,
    committed: CommittedRuns,
}

/// The results that a database held at some moment.
pub(crate) struct ResultsSnapshot(Option<Arc<ResultsFolder>>);

/// Time after which trainings are looked at again before a query: they may run.
const RENEWED: Duration = Duration::from_secs(10);

/// Trainings as they were found.
#[derive(Clone)]
struct AddedTrainings {
    places: Vec<Location>,
    folders: Arc<TrainingFolders>,
    at: Instant,
}

/// A SQL session over results, trainings and data sets.
pub struct Database {
    session: SessionContext,
    /// Bytes that a query may have, where it is answered by this process.
    memory: Option<u64>,
    /// Held by whoever replaces tables, and shared by queries while they find theirs: a query has all its tables
    /// from before a change, or all from after it.
    tables: RwLock<()>,
    /// The results that were added last.
    results: Mutex<Option<Arc<ResultsFolder>>>,
    /// The trainings that were added last.
    trainings: Mutex<Option<AddedTrainings>>,
    /// Whether queries leave this process, so that tables must be files.
    is_remote: bool,
}

impl Database {
    /// A database without tables, with our functions.
    ///
    /// # Errors
    /// [`Error::Sql`] when the engine cannot be started.
    pub fn new() -> Result<Self> {
        Self::with(SqlOptions::default())
    }

    /// A database without tables, with our functions.
    ///
    /// # Errors
    /// [`Error::Sql`] when the engine cannot be started.
    pub fn with(options: SqlOptions) -> Result<Self> {
        let memory = options.memory.unwrap_or_else(memory::default_bytes);
        let state = session::state_within(memory)?;
        Ok(Self {
            memory: Some(memory),
            session: SessionContext::new_with_state(state),
            tables: RwLock::default(),
            results: Mutex::default(),
            trainings: Mutex::default(),
            is_remote: false,
        })
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn over_cluster(session: SessionContext) -> Self {
        Self {
            session,
            memory: None,
            tables: RwLock::default(),
            results: Mutex::default(),
            trainings: Mutex::default(),
            is_remote: true,
        }
    }

    /// Adds the tables `runs`, `metrics`, `spectra` and `ensembles` of a results folder as it is now, and the named
    /// views; gives the names of the committed evaluations. Those with a damaged or missing file are left
    /// out; `reporter` hears of them. Results that were added before are replaced.
    ///
    /// # Errors
    /// [`Error::NoResults`] where there is none, [`Error::NewerTables`], [`Error::Malformed`].
    pub async fn add_results(
        &self,
        root: &Location,
        reporter: &dyn Reporter,
    ) -> Result<Vec<String>> {
        let _alone = self.tables.write().await;
        self.replace_results(root, reporter).await
    }

    async fn replace_results(
        &self,
        root: &Location,
        reporter: &dyn Reporter,
    ) -> Result<Vec<String>> {
        let committed = CommittedRuns::read(root, reporter).await?;
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
            self.session.deregister_table(Table::Runs.name())?;
            self.session
                .register_table(Table::Runs.name(), Arc::new(table))?;
        }
        for table in Table::OF_DATA {
            self.add_files(root, table, table.name(), &committed)?;
        }
        self.add_views(&View::OF_RESULTS).await?;
        let (runs, root) = (committed.runs(), root.clone());
        let opened = Arc::new(ResultsFolder { root, committed });
        *self.opened() = Some(opened);
        Ok(runs)
    }

    /// Adds the tables `training` and `training_folders` of all runs below some places as they are now, and the
    /// named views over them; gives the names of the runs. Those that were added before are replaced. A query that
    /// comes some seconds later looks at the places again, so that it sees what was trained meanwhile.
    ///
    /// # Errors
    /// [`Error::NoTrainings`] for a place without one, [`Error::RemoteLogs`], and what reading may give.
    pub async fn add_trainings(
        &self,
        places: &[Location],
        reporter: &dyn Reporter,
    ) -> Result<Vec<String>> {
        if self.is_remote {
            return Err(Error::RemoteLogs);
        }
        let folders = Arc::new(TrainingFolders::find(places, reporter).await?);
        let _alone = self.tables.write().await;
        for place in places {
            self.mount(place)?;
        }
        let records = &folders.records;
        let found = MemTable::try_new(records.schema(), vec![vec![records.clone()]])?;
        let events = TrainingTable::new(Arc::clone(&folders));
        let tables: [(&str, Arc<dyn TableProvider>); 2] = [
            ("training_folders", Arc::new(found)),
            ("training", Arc::new(events)),
        ];
        for (name, table) in tables {
            self.session.deregister_table(name)?;
            self.session.register_table(name, table)?;
        }
        self.add_views(&View::OF_TRAININGS).await?;
        let names = folders.trainings.iter().map(|run| run.name.clone());
        let names = names.collect();
        *self.trainings() = Some(AddedTrainings {
            places: places.to_vec(),
            folders,
            at: Instant::now(),
        });
        Ok(names)
    }

    /// Looks at the trainings again if that was some time ago. Where it fails, those that were found stay.
    async fn renew_trainings(&self) {
        let added = self.trainings().clone();
        if let Some(added) = added.filter(|added| added.at.elapsed() > RENEWED) {
            self.add_trainings(&added.places, &Silent).await.ok();
        }
    }

    async fn add_views(&self, views: &[View]) -> Result<()> {
        // Machines that read rows from files know no table that is none.
        let of_all = (!self.is_remote).then_some(&View::OF_ALL);
        if of_all.is_some() && !self.session.table_exist(meanings::NAME)? {
            let table = Arc::new(meanings::table()?);
            self.session.register_table(meanings::NAME, table)?;
        }
        for view in views.iter().chain(of_all) {
            let sql = format!("CREATE OR REPLACE VIEW {} AS {}", view.name, view.sql);
            self.session.sql(&sql).await?;
        }
        Ok(())
    }

    fn trainings(&self) -> MutexGuard<'_, Option<AddedTrainings>> {
        self.trainings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<ResultsFolder>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The results that queries read now.
    pub(crate) fn held(&self) -> ResultsSnapshot {
        ResultsSnapshot(self.opened().clone())
    }

    /// Opens the results again where one of them has been replaced; whether queries read others now than those that
    /// were `held`, since of several that find them replaced one opens them for all.
    ///
    /// # Errors
    /// As [`Database::add_results`].
    pub(crate) async fn renew(&self, held: &ResultsSnapshot) -> Result<bool> {
        let ResultsSnapshot(Some(held)) = held else {
            return Ok(false);
        };
        let _alone = self.tables.write().await;
        let is_held = |opened: &Arc<ResultsFolder>| Arc::ptr_eq(opened, held);
        if !self.opened().as_ref().is_some_and(is_held) {
            return Ok(true);
        }
        if held.committed.is_current(&held.root).await? {
            return Ok(false);
        }
        self.replace_results(&held.root, &Silent).await?;
        Ok(true)
    }

    /// `runs` as a view over files, for machines that read them.
    async fn add_runs_of_files(&self, root: &Location, committed: &CommittedRuns) -> Result<()> {
        let name = "run_files";
        self.add_files(root, Table::Runs, name, committed)?;
        let sql = committed.runs_sql(name);
        let view = format!("CREATE OR REPLACE VIEW {} AS {sql}", Table::Runs.name());
        self.session.sql(&view).await?;
        Ok(())
    }

    /// Registers the files that evaluations have of a table.
    fn add_files(
        &self,
        root: &Location,
        table: Table,
        name: &str,
        committed: &CommittedRuns,
    ) -> Result<()> {
        self.mount(root)?;
        let files = committed.files(table).to_vec();
        let files = RunFiles::new(table, root.clone(), files);
        self.session.deregister_table(name)?;
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

    /// Answers one query; statements that change anything are refused. Where an evaluation is replaced
    /// meanwhile, it is asked again of the new one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>> {
        depth::check(query)?;
        self.renew_trainings().await;
        for _ in 0..AGAIN {
            let held = self.held();
            let answer = self.collect(query).await;
            // Machines that read rows from files find whichever are there.
            let is_sure = answer.is_ok() && !self.is_remote;
            if is_sure || !self.renew(&held).await.unwrap_or(false) {
                return self.explained(answer).await;
            }
        }
        self.explained(self.collect(query).await).await
    }

    /// An answer, or what the engine's error is about: it does not name the file that it could not read.
    async fn explained(
        &self,
        answer: Result<Vec<RecordBatch>, DataFusionError>,
    ) -> Result<Vec<RecordBatch>> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_of_files = matches!(
            error.find_root(),
            DataFusionError::ParquetError(_)
                | DataFusionError::ArrowError(..)
                | DataFusionError::ObjectStore(_)
                | DataFusionError::External(_)
        );
        let trainings = self.trainings().clone().filter(|_| is_of_files);
        if let Some(trainings) = trainings
            && let Some(damage) = trainings.folders.damage().await
        {
            return Err(damage);
        }
        Err(self.named(error))
    }

    /// All batches of an answer, which are counted as memory of the query.
    async fn collect(&self, query: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
        let reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let frame = {
            let _shared = self.tables.read().await;
            self.session.sql_with_options(query, reading).await?
        };
        let schema = Arc::clone(frame.schema().inner());
        let answer = MemoryConsumer::new("the answer");
        let reserved = answer.register(frame.task_ctx().memory_pool());
        let mut stream = frame.execute_stream().await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            reserved.try_grow(batch.get_array_memory_size())?;
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        // An empty answer still has columns.
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    fn named(&self, error: DataFusionError) -> Error {
        match (error.find_root(), self.memory) {
            (DataFusionError::ResourcesExhausted(reason), Some(memory)) => Error::Memory {
                mib: memory >> 20,
                reason: reason.clone(),
            },
            _ => error.into(),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Queries at the greatest depth that is allowed are answered, on threads with the stack that the program's have.
    #[test]
    fn what_is_deep_is_answered_or_refused_and_ends_nothing() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let ask = |query: String| {
            let handle = runtime.handle().clone();
            let asked = move || handle.block_on(Database::new()?.sql(&query));
            let thread = std::thread::Builder::new().stack_size(2 << 20);
            thread.spawn(asked).unwrap().join().unwrap()
        };
        let sum = |terms: usize| vec!["value"; terms].join(" + ");
        let values = "(VALUES (1), (2)) t(value)";
        for terms in [10, 390] {
            let answer = ask(format!("SELECT {} AS n FROM {values}", sum(terms)));
            assert_eq!(answer.unwrap()[0].num_rows(), 2);
        }
        let unions = vec!["SELECT 1"; 390].join(" UNION ALL ");
        assert!(ask(unions).is_ok());
        let joins: String = (0..30)
            .map(|i| format!(" JOIN {values}{i} ON true"))
            .collect();
        let joins = joins.replace("t(value)", "t");
        assert!(ask(format!("SELECT 1 FROM (VALUES (1)) a{joins} LIMIT 1")).is_ok());
        for terms in [1800, 10_000] {
            let error = ask(format!("SELECT {} FROM {values}", sum(terms))).unwrap_err();
            assert!(matches!(error, Error::Deep { .. }), "{error}");
        }
        for (open, close) in [("(", ")"), ("(SELECT ", ")"), ("abs(", ")"), ("- ", "")] {
            for depth in [60, 10_000] {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                // The parser has a bound of its own.
                let _ = ask(format!("SELECT {open}1{close}"));
            }
        }
    }

    #[test]
    fn what_needs_more_memory_than_it_may_have_says_so_or_goes_to_files() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let within = |mib: u64, query: &str| {
            let memory = Some(mib << 20);
            let database = Database::with(SqlOptions { memory }).unwrap();
            runtime.block_on(database.sql(query))
        };
        let series = "SELECT value, repeat(chr(65 + CAST(value % 26 AS INT)), 100) AS text FROM range(1000000)";
        let sorted = format!(
            "SELECT sum(place * value % 7) AS n FROM (SELECT value, row_number() OVER (ORDER BY text DESC, value) \
             AS place FROM ({series}))"
        );
        let near = within(4096, &sorted).unwrap();
        let far = within(128, &sorted).unwrap();
        assert_eq!(near[0].column(0), far[0].column(0));
        let error = within(32, series).unwrap_err();
        assert!(matches!(error, Error::Memory { mib: 32, .. }), "{error}");
        assert!(error.to_string().contains("--memory"), "{error}");
    }
}
