//! [`Description`]: what a rank is about to train, which must be the same on all ranks of a job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wellspring_store::checksum;

use super::Trainer;
use crate::claim::host;
use crate::collective::exchange_json;
use crate::config::differences;
use crate::device::identity;
use crate::{Error, Result};

/// What a rank is about to train.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Its machine.
    host: String,
    /// Its GPU, if it computes on one.
    gpu: Option<String>,
    /// Facts by their names.
    facts: BTreeMap<String, String>,
}

impl Description {
    /// The first fact in which another rank differs.
    fn difference(&self, other: &Self) -> Option<String> {
        let differences = differences(&self.facts, &other.facts);
        let [name, own, others] = differences.first()?;
        Some(format!("{name} is {own}, and {others}"))
    }
}

/// Two ranks on one GPU take each other's memory and time.
fn refuse_shared_gpus(all: &[Description]) -> Result<()> {
    for (rank, own) in all.iter().enumerate() {
        let same = |other: &Description| own.gpu.is_some() && other.gpu == own.gpu;
        if let Some(other) = all[..rank].iter().position(same) {
            return Err(Error::Collective {
                what: format!(
                    "ranks {other} and {rank} have the same GPU of {}: start one rank for each GPU, or show each rank its \
                     own by CUDA_VISIBLE_DEVICES",
                    own.host
                ),
            });
        }
    }
    Ok(())
}

/// The program that runs, by its version and the checksum of its file.
#[allow(
    clippy::disallowed_methods,
    reason = "the program lies on this machine's disk"
)]
fn program() -> String {
    let file = std::env::current_exe().and_then(std::fs::read);
    let file = file.map_or_else(|_| "unread".to_owned(), |bytes| checksum(&bytes));
    format!("{} ({file})", env!("CARGO_PKG_VERSION"))
}

impl Trainer<'_> {
    /// Refuses to begin where ranks differ in what they would train, and takes up the clock of the first.
    pub(super) fn agree_to_begin(&mut self) -> Result<()> {
        if self.collective.is_alone() {
            return Ok(());
        }
        let all = exchange_json(self.collective, &self.description()?)?;
        for (rank, own) in all.iter().enumerate() {
            if let Some(difference) = all[0].difference(own) {
                return Err(Error::Collective {
                    what: format!(
                        "rank 0 on {} and rank {rank} on {} differ: {difference}; start all ranks with one program, one \
                         configuration and the same data",
                        all[0].host, own.host
                    ),
                });
            }
        }
        refuse_shared_gpus(&all)?;
        let agreement = self.agree(self.report())?;
        self.clock.follow(agreement.reports[0].used);
        Ok(())
    }

    /// What must be the same on all ranks.
    fn description(&self) -> Result<Description> {
        let mut facts = self.config.entries()?;
        facts.insert("the program".into(), program());
        facts.insert("the step to begin after".into(), self.step.to_string());
        for source in self.sources.iter() {
            let what = format!("the data set {}", source.domain.name);
            facts.insert(what, source.manifest_id());
        }
        Ok(Description {
            host: host(),
            // NCCL takes ranks that have this variable for ranks of several machines, and so lets them share a card:
            // that is how it is tested where there is one.
            gpu: identity(&self.model.device())
                .filter(|_| std::env::var_os("NCCL_HOSTID").is_none()),
            facts,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn description(host: &str, gpu: Option<&str>, lr: &str) -> Description {
        Description {
            host: host.into(),
            gpu: gpu.map(str::to_owned),
            facts: BTreeMap::from([("optim.lr".into(), lr.into())]),
        }
    }

    #[test]
    fn two_ranks_on_one_gpu_are_refused() {
        let on = |gpu| description("node1", gpu, "0.1");
        assert!(refuse_shared_gpus(&[on(Some("a")), on(Some("b"))]).is_ok());
        assert!(refuse_shared_gpus(&[on(None), on(None)]).is_ok());
        let shared = [on(Some("a")), on(Some("b")), on(Some("a"))];
        let error = refuse_shared_gpus(&shared).unwrap_err().to_string();
        assert!(
            error.contains("ranks 0 and 2") && error.contains("node1"),
            "{error}"
        );
    }

    #[test]
    fn the_first_fact_in_which_ranks_differ_is_named() {
        let [own, other] = ["0.1", "0.2"].map(|lr| description("node1", None, lr));
        assert_eq!(own.difference(&own), None);
        let difference = own.difference(&other);
        assert_eq!(difference.as_deref(), Some("optim.lr is 0.1, and 0.2"));
    }
}
