//! Data sets of the Hugging Face hub as sources.

use wellspring_s3_testing::Hub;
use wellspring_store::{CacheOptions, Location, Silent, Split};

use super::pieces::{objects, options, sources};
use crate::catalogue::inspect;
use crate::{Packing, ingest, open, promise};

/// A hub with the files of a folder, and the place they are at.
async fn hub(folder: &std::path::Path) -> Hub {
    let (hub, from) = (Hub::start().unwrap(), super::place(folder));
    for file in from.list().await.unwrap() {
        let bytes = file.get().await.unwrap();
        hub.commit("lab/flow", &[(&file.below(&from).unwrap(), &bytes)]);
    }
    hub.gate("lab/flow", "secret");
    hub
}

fn place(hub: &Hub, text: &str) -> wellspring_store::Result<Location> {
    Location::parse_with(text, &hub.settings(Some("secret")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_gives_what_the_disk_gives() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Chunked);
    let hub = hub(folder.path()).await;
    let (near, far) = ["memory:///near", "memory:///far"]
        .map(|root| Location::parse(root).unwrap())
        .into();
    let source = place(&hub, "hf://datasets/lab/flow").unwrap();
    ingest(&super::place(folder.path()), &near, &options(), &Silent)
        .await
        .unwrap();
    ingest(&source, &far, &options(), &Silent).await.unwrap();
    assert_eq!(objects(&far).await, objects(&near).await);
    let file = source.list().await.unwrap().remove(0);
    assert!(inspect(&file).await.is_ok());
    let told = hub.elsewhere().authorizations();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [""]);
}

/// What is promised stays what it was, though the branch moves on.
#[tokio::test(flavor = "multi_thread")]
async fn a_promise_holds_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    sources(folder.path(), Packing::Chunked);
    let hub = hub(folder.path()).await;
    let root = super::place(folder.path()).join("made");
    let source = place(&hub, "hf://datasets/lab/flow").unwrap();
    let promised = promise(&source, &root, &options(), &Silent).await;
    assert_eq!(promised.unwrap(), None);
    for file in source.list().await.unwrap() {
        hub.commit("lab/flow", &[(file.path().as_ref(), b"no HDF5 any more")]);
    }
    let locate = |text: &str| place(&hub, text);
    let dataset = open(&root, CacheOptions::default(), locate, &Silent).await;
    let window = dataset.unwrap().read(Split::Train, 0, 0..1).await;
    assert!(window.is_ok(), "{window:?}");
}
