//! Records of an ingest: one that cannot be read is not taken for absent.

use wellspring_s3_testing::{Fault, Server, Trouble};
use wellspring_store::{Change, ChangeStart, Error as StoreError, Location, Shard, ShardId, Split};

use crate::Error;
use crate::convert::ledger::{Ledger, ShardRecord};

async fn begun(root: &Location, overwrite: bool) -> Result<Change, StoreError> {
    match Change::renew(root, "ours", overwrite).await? {
        ChangeStart::Work(change) => Ok(*change),
        ChangeStart::Done(_) => panic!("there is nothing"),
    }
}

#[tokio::test]
async fn a_claim_that_says_nothing_is_not_removed_unasked() {
    let root = Location::parse("memory:///ds").unwrap();
    let place = root.join("ingest/claim.json");
    place.put("{\"of\": \"another version\"}").await.unwrap();
    let refused = begun(&root, false).await;
    assert!(matches!(refused.err(), Some(StoreError::Claim { .. })));
    assert!(place.exists().await.unwrap());
    begun(&root, true).await.unwrap();
    begun(&root, false).await.unwrap();
}

#[tokio::test]
async fn a_shard_is_missing_only_where_the_store_says_so() {
    let server = Server::start().unwrap();
    let root = Location::parse_with("s3://bucket/ds", &server.settings()).unwrap();
    let change = begun(&root, false).await.unwrap();
    let ledger = Ledger::of(&change).await.unwrap();
    let id = ShardId {
        split: Split::Train,
        index: Some(0),
    };
    let record = ShardRecord {
        shard: Shard::of("train/00000.arrow".into(), 1, b"bytes"),
        digests: Vec::new(),
        tracks: Vec::new(),
    };
    ledger.put("train/00000", &record).await.unwrap();
    assert_eq!(ledger.found(id).await.unwrap(), None);
    let shard = root.join("train/00000.arrow");
    shard.put("bytes").await.unwrap();
    assert_eq!(ledger.found(id).await.unwrap(), Some(record));
    server.trouble(Trouble {
        method: "HEAD",
        fault: Fault::Status(403),
        every: 1,
        times: u64::MAX,
    });
    let refused = ledger.found(id).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
}
