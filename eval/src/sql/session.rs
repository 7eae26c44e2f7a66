//! Makes SQL sessions: with our functions, and with object stores found by their URLs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;
use url::Url;
use wellspring_store::Location;

use crate::sql::engine::external;
use crate::sql::functions;
use crate::sql::memory;

/// Settings of buckets, as [`Location::parse_with`] takes them.
pub(crate) type StorageOptions = Arc<[(String, String)]>;

/// Bytes of Parquet footers that are kept: 50 KB for each of some thousand evaluations.
const FOOTERS: usize = 512 << 20;

/// The state of a session with default settings but `config`'s, over stores with these options.
#[cfg(any(test, feature = "cluster"))]
pub(crate) fn state(
    config: SessionConfig,
    options: &StorageOptions,
) -> Result<SessionState, DataFusionError> {
    state_over(config, runtime(options)?)
}

/// The state of a session on this machine whose queries have `memory` bytes, and temporary files.
pub(crate) fn state_within(memory: u64) -> Result<SessionState, DataFusionError> {
    let runtime = builder(&StorageOptions::default()).with_memory_pool(memory::pool(memory));
    let config = config();
    // Each partition of a sort keeps this much back for its merge.
    let share = memory as usize / (8 * config.target_partitions());
    let kept = share.min(config.options().execution.sort_spill_reservation_bytes);
    let config = config.with_sort_spill_reservation_bytes(kept);
    state_over(config, runtime.build_arc()?)
}

fn state_over(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
) -> Result<SessionState, DataFusionError> {
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    functions::register(&mut state)?;
    Ok(state)
}

/// Settings that our queries gain from.
pub(crate) fn config() -> SessionConfig {
    SessionConfig::new()
        .with_information_schema(true)
        // Rows of a metric lie among those of others: to decode all is faster than to skip that many
        // times, by a tenth to a third over thousands of runs.
        .set_bool("datafusion.execution.parquet.pushdown_filters", false)
        // Nothing that we read has such filters.
        .set_bool("datafusion.execution.parquet.bloom_filter_on_read", false)
        // Tables of results come with whole runs in each partition, however few there are.
        .set_usize("datafusion.optimizer.subset_repartition_threshold", 1)
}

#[cfg(any(test, feature = "cluster"))]
pub(crate) fn runtime(options: &StorageOptions) -> Result<Arc<RuntimeEnv>, DataFusionError> {
    builder(options).build_arc()
}

fn builder(options: &StorageOptions) -> RuntimeEnvBuilder {
    let stores = Stores {
        options: Arc::clone(options),
        ..Stores::default()
    };
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(stores))
        .with_metadata_cache_limit(FOOTERS)
}

/// Object stores by scheme and host; those not met before are opened as [`Location`] opens them.
#[derive(Debug, Default)]
struct Stores {
    options: StorageOptions,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl ObjectStoreRegistry for Stores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        stores.insert(origin(url), store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        let origin = origin(url);
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&origin) {
            return Ok(Arc::clone(store));
        }
        let place = Location::parse_with(&format!("{origin}/"), &self.options).map_err(external)?;
        let store = Arc::clone(place.object_store());
        stores.insert(origin, Arc::clone(&store));
        Ok(store)
    }
}

/// What comes before the path of a URL.
fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.authority())
}
