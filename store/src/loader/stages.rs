//! Leases of the shards that a plan's stages need, taken in advance if there is room.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::manifest::ShardId;
use crate::plan::rows::WindowRows;
use crate::read::cache::ledger::WhenFull;
use crate::read::cache::{Lease, ShardCache};
use crate::{Dataset, Plan, Result};

/// Stages leased ahead at most; room is often short before that.
pub(crate) const AHEAD: usize = 8;

/// How long a batch waits for room. Its own reader has given all back long before; what another holds
/// that rests must not stop it for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// The leases of a plan, one stage after another.
pub(super) struct Stages {
    cache: Arc<ShardCache>,
    plan: Plan,
    /// Stages of the last batch.
    open: Vec<(usize, Arc<Lease>)>,
    ahead: mpsc::Receiver<Result<(usize, Lease)>>,
    /// The stage that a batch waits for.
    due: watch::Sender<usize>,
}

impl Stages {
    pub(super) fn spawn(dataset: &Dataset, plan: &Plan, runtime: &Handle) -> Self {
        let (leased, ahead) = mpsc::channel(AHEAD);
        let (due, waited_for) = watch::channel(0);
        let cache = Arc::clone(dataset.cache());
        if let Some(stages) = plan.stages(0, 0) {
            let leaser = Leaser {
                cache: Arc::clone(&cache),
                plan: plan.clone(),
                leased,
                due: waited_for,
            };
            runtime.spawn(leaser.run(*stages.start()));
        }
        Self {
            cache,
            plan: plan.clone(),
            open: Vec::new(),
            ahead,
            due,
        }
    }

    /// Leases for the pieces of a batch, which is at some places of the plan.
    pub(super) async fn leases(
        &mut self,
        first: usize,
        last: usize,
        pieces: &[Vec<WindowRows>],
    ) -> Result<Vec<Arc<Lease>>> {
        let Some(stages) = self.plan.stages(first, last) else {
            return Ok(vec![Arc::new(self.own(pieces).await?)]);
        };
        self.open.retain(|(stage, _)| stages.contains(stage));
        self.due.send_replace(*stages.end());
        while self
            .open
            .last()
            .is_none_or(|(stage, _)| stage < stages.end())
        {
            let Some(next) = self.ahead.recv().await else {
                break;
            };
            let (stage, lease) = next?;
            if stages.contains(&stage) {
                self.open.push((stage, Arc::new(lease)));
            }
        }
        Ok(self
            .open
            .iter()
            .map(|(_, lease)| Arc::clone(lease))
            .collect())
    }

    /// A lease for one batch of an order that has no stages. What other batches hold is given back
    /// when they are gathered, which waits for nothing.
    async fn own(&self, pieces: &[Vec<WindowRows>]) -> Result<Lease> {
        let pieces = pieces.iter().flatten();
        let mut ids: Vec<ShardId> = pieces.map(|piece| piece.shard).collect();
        ids.sort_unstable();
        ids.dedup();
        let lease = self.cache.lease(&ids, WhenFull::Wait).await?;
        lease.prefetch();
        Ok(lease)
    }
}

/// Takes leases ahead.
struct Leaser {
    cache: Arc<ShardCache>,
    plan: Plan,
    leased: mpsc::Sender<Result<(usize, Lease)>>,
    due: watch::Receiver<usize>,
}

impl Leaser {
    async fn run(mut self, first: usize) {
        for stage in first..self.plan.stage_count() {
            let leased = self.leased.clone();
            let lease = tokio::select! {
                lease = self.lease(stage) => lease,
                () = leased.closed() => return,
            };
            let over = lease.is_err();
            let next = lease.map(|lease| (stage, lease));
            if self.leased.send(next).await.is_err() || over {
                return;
            }
        }
    }

    async fn lease(&mut self, stage: usize) -> Result<Lease> {
        // A batch may lie in this stage and the one before.
        let both = stage.saturating_sub(1)..stage + 1;
        self.cache.costs(&self.plan.shards(both))?;
        let ids = self.plan.shards(stage..stage + 1);
        let cache = &self.cache;
        let stuck = async {
            drop(self.due.wait_for(|&due| due >= stage).await);
            tokio::time::sleep(PATIENCE).await;
        };
        let lease = tokio::select! {
            lease = cache.lease(&ids, WhenFull::Wait) => Some(lease?),
            () = stuck => None,
        };
        let lease = match lease {
            Some(lease) => lease,
            None => cache.lease(&ids, WhenFull::Take).await?,
        };
        lease.prefetch();
        Ok(lease)
    }
}
