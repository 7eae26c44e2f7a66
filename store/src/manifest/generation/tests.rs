#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod explorer;
mod orders;
mod script;
mod writers;

use super::*;
use crate::sample;

#[tokio::test]
async fn a_split_is_dropped_and_its_files_go_when_asked() {
    let root = Location::parse("memory:///ds").unwrap();
    let first = sample::write(&root, &[5, 4], sample::options(&[5, 4]))
        .await
        .unwrap();
    assert!(drop_split(&root, Split::Test).await.is_err());
    let next = drop_split(&root, Split::Train).await.unwrap();
    assert_eq!((next.generation, next.splits.len()), (1, 0));
    assert_eq!(Manifest::load(&root).await.unwrap(), next);
    let before = kept(&root, &first).get().await.unwrap();
    assert_eq!(Manifest::from_json(&before, "it").unwrap(), first);
    let shard = root.join("train/00000.arrow");
    assert!(shard.exists().await.unwrap());
    // A rerun of the drop, which may have been stopped after its end, is not misuse.
    assert_eq!(drop_split(&root, Split::Train).await.unwrap(), next);
    let found = litter(&root).await.unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(purge(&root).await.unwrap(), found);
    assert!(!shard.exists().await.unwrap());
    assert_eq!(purge(&root).await.unwrap(), []);
}

/// One of many writers succeeds: on a disk, in memory and in a bucket.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_wins() {
    let server = wellspring_s3_testing::Server::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for root in [
        Location::parse(folder.path().to_str().unwrap()).unwrap(),
        Location::parse("memory:///ds").unwrap(),
        Location::parse_with("s3://bucket/ds", &server.settings()).unwrap(),
    ] {
        let first = sample::write(&root, &[5], sample::options(&[5]))
            .await
            .unwrap();
        let head = Head::load(&root).await.unwrap();
        let attempts = (0..8).map(|writer| {
            let root = root.clone();
            let mut next = first.clone();
            next.generation = 1;
            next.schema.name = format!("writer {writer}");
            let head = head.clone();
            tokio::spawn(async move { publish(&root, Some(&head), &next).await.map(|()| next) })
        });
        let mut won = Vec::new();
        for attempt in futures::future::join_all(attempts).await {
            match attempt.unwrap() {
                Ok(next) => won.push(next),
                Err(Error::Overtaken { generation: 1, .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won, [Manifest::load(&root).await.unwrap()], "{root}");
    }
}

/// A store's client asks again when an answer is lost, and then hears that another manifest is there.
#[tokio::test]
async fn a_lost_answer_is_not_a_lost_change() {
    let root = Location::parse("memory:///ds").unwrap();
    let first = sample::write(&root, &[5], sample::options(&[5]))
        .await
        .unwrap();
    let mut next = first.clone();
    next.generation = 1;
    let head = Head::load(&root).await.unwrap();
    assert!(head.replace(&next).await.unwrap());
    assert!(!head.replace(&next).await.unwrap());
    assert!(is_committed(&root, &next).await.unwrap());
    drop_split(&root, Split::Train).await.unwrap();
    assert!(is_committed(&root, &next).await.unwrap());
    next.schema.name = "never written".into();
    assert!(!is_committed(&root, &next).await.unwrap());
}

/// Neither the manifests of an earlier data set nor a writer that began with it change one that was
/// written over it.
#[tokio::test]
async fn what_was_overwritten_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for root in ["memory:///ds", folder.path().to_str().unwrap()] {
        let root = Location::parse(root).unwrap();
        let old = sample::write(&root, &[5], sample::options(&[5]))
            .await
            .unwrap();
        let head = Head::load(&root).await.unwrap();
        drop_split(&root, Split::Train).await.unwrap();
        let mut options = sample::options(&[4]);
        options.overwrite = true;
        let new = sample::write(&root, &[4], options).await.unwrap();
        let stale = Change::extend(&root, head.clone(), "stale", false).await;
        assert!(stale.unwrap().is_none());
        let mut stale = old;
        stale.generation = 1;
        let stale = publish(&root, Some(&head), &stale).await;
        assert!(matches!(stale, Err(Error::Overtaken { .. })), "{stale:?}");
        assert_eq!(Manifest::load(&root).await.unwrap(), new);
        let next = drop_split(&root, Split::Train).await.unwrap();
        assert_eq!((next.generation, next.schema), (3, new.schema));
    }
}
