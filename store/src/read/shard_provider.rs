//! [`ShardProvider`]: makes the shards of a data set on demand, when they are first read.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Result, Shard, Split};

/// What makes the shards of a data set that is not written yet.
#[async_trait]
pub trait ShardProvider: Debug + Send + Sync {
    /// A shard of a split, or its constants where no index is given: written below the root by the
    /// time that this ends, whoever wrote it.
    ///
    /// # Errors
    /// [`crate::Error::ShardProvider`].
    async fn shard(&self, split: Split, index: Option<usize>) -> Result<Shard>;

    /// Shards that are still to be made, as far as it knows.
    fn missing(&self) -> usize;
}
