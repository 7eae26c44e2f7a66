//! Data sets of the hub, in a stand-in for it.

use std::time::{Duration, Instant};

use wellspring_s3_testing::{Fault, Hub, Trouble};

use super::*;

/// Ten files, of which every other lies on another server.
fn hub() -> Hub {
    let hub = Hub::start().unwrap();
    for i in 0..10 {
        let bytes = file(i);
        hub.commit("lab/flow", &[(&format!("data/train/a {i}.hdf5"), &bytes)]);
    }
    hub.commit("lab/flow", &[("README.md", b"read me")]);
    hub
}

fn file(i: usize) -> Vec<u8> {
    let size = if i.is_multiple_of(2) { 5000 } else { 500 };
    (0..size).map(|at| (at * (i + 1) % 251) as u8).collect()
}

fn place(hub: &Hub, path: &str) -> Location {
    let text = format!("hf://datasets/lab/flow{path}");
    Location::parse_with(&text, &hub.settings(Some("secret"))).unwrap()
}

#[tokio::test]
async fn files_are_listed_in_pages_and_read_by_ranges() {
    let hub = hub();
    let root = place(&hub, "/data");
    let listed = root.list_objects().await.unwrap();
    assert_eq!(listed.len(), 10);
    assert_eq!((listed[0].size, listed[1].size), (5000, 500));
    assert_eq!(place(&hub, "").list().await.unwrap().len(), 11);
    assert_eq!(place(&hub, "/none").list().await.unwrap().len(), 0);
    for (i, object) in root.list().await.unwrap().iter().enumerate() {
        assert_eq!(
            object.to_string(),
            format!("hf://datasets/lab/flow/data/train/a {i}.hdf5")
        );
        assert_eq!(object.get().await.unwrap(), file(i));
        assert_eq!(object.size().await.unwrap(), file(i).len() as u64);
        assert_eq!(object.get_range(100..400).await.unwrap(), file(i)[100..400]);
        assert!(object.get_range(400..9000).await.is_err());
    }
    assert_eq!(place(&hub, "/none").get_opt().await.unwrap(), None);
    // The token is not for others.
    assert_eq!(
        hub.elsewhere()
            .authorizations()
            .into_iter()
            .collect::<Vec<_>>(),
        [""]
    );
}

#[tokio::test]
async fn what_was_found_is_not_looked_up_again_until_its_link_is_old() {
    let hub = hub();
    let object = place(&hub, "/data/train/a 0.hdf5");
    object.get_range(0..10).await.unwrap();
    let before = hub.gets();
    object.get_range(10..20).await.unwrap();
    assert_eq!(hub.gets(), before);
    hub.forget_links("lab/flow");
    assert_eq!(object.get_range(20..30).await.unwrap(), file(0)[20..30]);
    assert_eq!(hub.gets(), before + 1);
}

#[tokio::test]
async fn a_branch_that_moves_does_not_mix_files() {
    let hub = hub();
    let early = place(&hub, "/README.md");
    assert_eq!(early.get().await.unwrap(), "read me");
    hub.commit("lab/flow", &[("README.md", b"something else")]);
    assert_eq!(early.get().await.unwrap(), "read me");
    assert_eq!(
        place(&hub, "/README.md").get().await.unwrap(),
        "something else"
    );
    let pinned = early.pinned().await.unwrap().to_string();
    assert_eq!(
        pinned,
        format!("hf://datasets/lab/flow@{:040x}/README.md", 10)
    );
    let commit = format!("@{:040x}/README.md", 10);
    assert_eq!(place(&hub, &commit).get().await.unwrap(), "read me");
}

#[tokio::test]
async fn gated_moved_and_missing_data_sets_are_told_apart() {
    let hub = hub();
    hub.gate("lab/flow", "secret");
    assert_eq!(place(&hub, "/README.md").get().await.unwrap(), "read me");
    let text = "hf://datasets/lab/flow/README.md";
    let closed = Location::parse_with(text, &hub.settings(None)).unwrap();
    let error = with_causes(&closed.get().await.unwrap_err());
    for word in [
        "restricted",
        "accept its terms",
        "HF_TOKEN",
        "/datasets/lab/flow)",
    ] {
        assert!(error.contains(word), "{error}");
    }

    hub.rename("lab/flow", "lab/shear-flow");
    assert_eq!(place(&hub, "/README.md").get().await.unwrap(), "read me");
    assert_eq!(place(&hub, "/data").list().await.unwrap().len(), 10);

    let missing = Location::parse_with("hf://datasets/lab/none", &hub.settings(None)).unwrap();
    let error = with_causes(&missing.list().await.unwrap_err());
    assert!(
        error.contains("401") && error.contains("HF_TOKEN"),
        "{error}"
    );
    let error = place(&hub, "@v9/README.md").get().await.unwrap_err();
    assert!(with_causes(&error).contains("RevisionNotFound"), "{error}");
}

#[tokio::test]
async fn a_busy_hub_and_broken_connections_are_met_with_patience() {
    let hub = hub();
    let trouble = |fault, times| Trouble {
        method: "GET",
        fault,
        every: 1,
        times,
    };
    hub.trouble(trouble(Fault::Status(429), 1));
    let began = Instant::now();
    let object = place(&hub, "/data/train/a 0.hdf5");
    assert_eq!(object.get().await.unwrap(), file(0));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "it did not wait as it was asked to"
    );

    hub.trouble(trouble(Fault::Status(503), 3));
    assert_eq!(
        place(&hub, "/data/train/a 1.hdf5").get().await.unwrap(),
        file(1)
    );
    hub.elsewhere()
        .trouble(trouble(Fault::Reset { after: 700 }, 4));
    assert_eq!(object.get().await.unwrap(), file(0));
    assert_eq!(hub.elsewhere().seen().faults, 4);
}

#[tokio::test]
async fn the_hub_is_only_read() {
    let hub = hub();
    let object = place(&hub, "/new");
    for done in [
        object.put("x").await,
        object.put_new("x").await.map(drop),
        object.delete().await,
        object.rename(&object.join("other")).await,
    ] {
        let error = done.unwrap_err();
        let is_refusal = |source: &object_store::Error| {
            matches!(source, object_store::Error::NotSupported { .. })
        };
        assert!(
            matches!(&error, Error::Io { source, .. } if is_refusal(source)),
            "{error:?}"
        );
    }
}
