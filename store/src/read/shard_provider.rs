//! [`ShardProvider`]: makes the shards of a data set on demand, when they are first read.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Result, Shard, ShardId};

/// Makes the shards of a data set that is not written yet.
#[async_trait]
pub trait ShardProvider: Debug + Send + Sync {
    /// A file of the data set: written below the root by the time that this ends, whoever wrote it.
    ///
    /// # Errors
    /// [`crate::Error::ShardProvider`].
    async fn shard(&self, id: ShardId) -> Result<Shard>;

    /// Number of shards that are still to be made, as far as it knows.
    fn missing(&self) -> usize;
}
