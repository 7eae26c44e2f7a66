//! [`ShardProvider`]: makes the shards of a data set on demand, when they are first read.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Result, Shard, Split};

/// Makes the shards of a data set that is not written yet.
#[async_trait]
pub trait ShardProvider: Debug + Send + Sync {
    /// Provides a shard of a split, or its constants if no index is given. When this returns, the file is
    /// written below the root, by this process or another.
    ///
    /// # Errors
    /// [`crate::Error::ShardProvider`].
    async fn shard(&self, split: Split, index: Option<usize>) -> Result<Shard>;

    /// Number of shards that are still to be made, as far as it knows.
    fn missing(&self) -> usize;
}
