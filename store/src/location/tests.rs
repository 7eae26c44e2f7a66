//! Properties that every kind of location has.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod credentials;
mod hub;
mod outages;

use proptest::prelude::*;
use url::Url;

use super::*;

#[test]
fn a_path_need_not_exist() {
    let place = Location::parse("/no/such/../folder/ds").unwrap();
    assert_eq!(place.to_string(), "/no/folder/ds");
    assert_eq!(place.local_path().unwrap(), PathBuf::from("/no/folder/ds"));
    assert_eq!(
        place.join("train/0.arrow").to_string(),
        "/no/folder/ds/train/0.arrow"
    );
}

#[test]
fn a_bucket_keeps_its_url() {
    let place = Location::parse("s3://bucket/some/ds").unwrap();
    assert_eq!(place.to_string(), "s3://bucket/some/ds");
    assert_eq!(
        place.join("manifest.json").to_string(),
        "s3://bucket/some/ds/manifest.json"
    );
    assert_eq!(place.local_path(), None);
}

#[test]
fn settings_by_hand_are_known_or_refused() {
    let option = |key: &str| vec![(key.to_owned(), "http://127.0.0.1:9".to_owned())];
    assert!(Location::parse_with("s3://bucket/ds", &option("aws_endpoint")).is_ok());
    let error = Location::parse_with("s3://bucket/ds", &option("aws_endpiont")).unwrap_err();
    assert!(error.to_string().contains("aws_endpiont"), "{error}");
}

/// Places are written to manifests, tables and logs, and errors to terminals.
#[test]
fn a_url_with_a_secret_is_refused_without_repeating_it() {
    for text in [
        "https://user:hunter2@host/ds",
        "s3://AKIA:hunter2@bucket/ds",
        "gs://hunter2@bucket",
        "file://hunter2@host/ds",
        "https://host/ds?X-Amz-Signature=hunter2",
        "https://host/ds?a=b&sig=hunter2#x",
        "ftp://user:hunter2@host/ds",
    ] {
        let error = with_causes(&Location::parse(text).unwrap_err());
        assert!(
            !error.contains("hunter2") && error.contains("***"),
            "{error}"
        );
    }
    // A key may have an @, and so may a revision of the hub.
    Location::parse("s3://bucket/user@host").unwrap();
    Location::parse("hf://datasets/lab/flow@main/x").unwrap();
    let azure = "abfss://container@account.dfs.core.windows.net/ds";
    let error = Location::parse(azure).map(|place| place.to_string());
    assert!(
        !format!("{error:?}").contains("user or a password"),
        "{error:?}"
    );
}

#[test]
fn an_unknown_scheme_is_refused() {
    assert!(Location::parse("gopher://host/path").is_err());
    assert!(Location::parse("").is_err());
}

/// What holds of every kind of place.
async fn conforms(place: &Location) {
    let object = place.join("a/b");
    assert_eq!(object.get_opt().await.unwrap(), None);
    assert!(object.put_new("one").await.unwrap());
    assert!(!object.put_new("two").await.unwrap());
    assert_eq!(object.get().await.unwrap(), "one");
    assert_eq!(place.list().await.unwrap()[0].below(place).unwrap(), "a/b");

    object.put("abcdefgh").await.unwrap();
    assert_eq!(object.size().await.unwrap(), 8);
    assert_eq!(object.get_range(2..5).await.unwrap(), "cde");
    assert_eq!(object.get_ranges(&[6..8, 0..1]).await.unwrap(), ["gh", "a"]);
    assert!(object.get_range(6..9).await.is_err());
    let mut room = [0; 3];
    object.read_range(1, &mut room).await.unwrap();
    assert_eq!(&room, b"bcd");
    assert!(place.join("none").size().await.is_err());

    object.rename(&place.join("c & d")).await.unwrap();
    assert!(!object.exists().await.unwrap());
    assert_eq!(place.join("c & d").get().await.unwrap(), "abcdefgh");
    place.join("c & d").delete().await.unwrap();
    place.join("c & d").delete().await.unwrap();

    let racing = (0..16).map(|i| {
        let object = place.join("race");
        tokio::spawn(async move { object.put_new(format!("{i}")).await.unwrap() })
    });
    let won = futures::future::join_all(racing).await;
    assert_eq!(
        won.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
        1
    );
    place.join("race").delete().await.unwrap();

    // More than one page of a list.
    for i in 0..230 {
        place.join(&format!("many/{i:03}")).put("x").await.unwrap();
    }
    let many = place.join("many").list().await.unwrap();
    assert_eq!((many.len(), many[229].name()), (230, Some("229")));

    // More than goes to a bucket in one request.
    let (large, bytes) = (
        place.join("large one"),
        bytes::Bytes::from(vec![7; 129 << 20]),
    );
    large.put(bytes.clone()).await.unwrap();
    assert!(large.get().await.unwrap() == bytes);
}

#[tokio::test]
async fn a_disk_memory_and_buckets_conform() {
    let folder = tempfile::tempdir().unwrap();
    let server = wellspring_s3_testing::Server::start().unwrap();
    conforms(&Location::parse(folder.path().to_str().unwrap()).unwrap()).await;
    conforms(&Location::parse("memory://").unwrap()).await;
    conforms(&Location::parse_with("s3://bucket/below", &server.settings()).unwrap()).await;
    let google = Location::parse_with("gs://other/below", &server.google_settings());
    conforms(&google.unwrap()).await;
}

/// Keys as people have them, and as they have not.
fn keys() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z]{1,3}",
        "[ #?%+&=~*'\"<>|{}^`\\\\\\[\\]:;,@!$().a-c0-9ü日-]{1,6}",
        Just("%20".to_owned()),
        Just("..".to_owned()),
        Just("a\n".to_owned()),
        Just(String::new()),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

/// What a key names: one slash at its end changes nothing.
fn named(key: &str) -> &str {
    key.strip_suffix('/').unwrap_or(key)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_what_was_typed_and_its_text_is_read_back(key in keys(), other in keys()) {
        for root in [
            "s3://bucket", "gs://bucket", "az://container", "memory://", "hf://datasets/owner/name@v1",
            "abfss://files@account.dfs.core.windows.net",
        ] {
            let parse = |key: &str| Address::parse(&format!("{root}/{key}"));
            let Ok(place) = parse(&key) else {
                // Only what cannot be held is refused.
                let odd = |part: &str| {
                    part.is_empty() || part == "." || part == ".." || part.contains(char::is_control)
                };
                prop_assert!(named(&key).split('/').any(odd), "{root}/{key} is refused");
                continue;
            };
            prop_assert_eq!(place.key.as_ref(), named(&key));
            prop_assert_eq!(&Address::parse(&place.to_string()), &Ok(place.clone()));
            if let Ok(second) = parse(&other) {
                prop_assert_eq!(place == second, named(&key) == named(&other));
                prop_assert_eq!(place.to_string() == second.to_string(), place == second);
            }
        }
    }

    #[test]
    fn paths_and_urls_are_read_back(key in keys()) {
        let disk = Address::parse(&format!("/folder/{key}"));
        if let Ok(place) = disk {
            prop_assert_eq!(&Address::parse(&place.to_string()), &Ok(place.clone()));
        }
        // What a server would get for this key.
        let mut url = Url::parse("https://host:8080/").unwrap();
        url.path_segments_mut().unwrap().pop_if_empty().extend(key.split('/'));
        if let Ok(place) = Address::parse(url.as_str()) {
            prop_assert_eq!(&Address::parse(&place.to_string()), &Ok(place.clone()));
            if address::parse_key(&key).is_ok() {
                prop_assert_eq!(place.key.as_ref(), named(&key));
            }
        }
    }
}

#[test]
fn what_would_be_lost_is_refused() {
    for text in [
        "s3://bucket/a//b",
        "s3://bucket//a",
        "s3://bucket/a/../b",
        "s3://bucket/a\nb",
        "s3://bucket?x/a",
        "s3://",
        "s3:/bucket/a",
        "https://host/a?signature=b",
        "https://host/a#b",
        "https://host/a%2Fb",
        "https://host/a%FF",
        "file:///a#b",
        "file:///a?b",
        "file://elsewhere/a",
        "hf://models/a/b",
        "hf://datasets/a",
        "hf://datasets/a/b@/c",
        "hf://datasets/../b/c",
        "/a\u{7}b",
    ] {
        assert!(Location::parse(text).is_err(), "{text} is accepted");
    }
}

#[test]
fn urls_of_servers_and_files_are_decoded_and_others_are_not() {
    let key = |text: &str| Location::parse(text).unwrap().path().to_string();
    assert_eq!(key("https://host/a%20b%23c"), "a b#c");
    assert_eq!(key("file:///a%20b%23c"), "a b#c");
    assert_eq!(key("s3://bucket/a%20b%23c"), "a%20b%23c");
    assert_eq!(key("/a%20b%23c"), "a%20b%23c");
    assert_eq!(key("memory:///ü?+#"), "ü?+#");
    assert_eq!(key("hf://datasets/o/n@refs/convert/parquet/a#b"), "a#b");
    assert_eq!(
        key("https://account.blob.core.windows.net/container/a%20b"),
        "a b"
    );
    let text = "https://account.blob.core.windows.net/container/a%20b";
    assert_eq!(Location::parse(text).unwrap().to_string(), text);
    let joined = Location::parse("s3://bucket/a").unwrap().join("b~#/../c");
    assert_eq!(joined.to_string(), "s3://bucket/a/b~#/%2E%2E/c");
}

/// Odd and different keys are different objects, under their own names, in every kind of store.
async fn names_are_kept(place: &Location) {
    let names = [
        "res#1x",
        "res#2x",
        "a b",
        "a%20b",
        "a+b",
        "ü",
        "x?y",
        "x",
        "50%",
        "~[a]{b}",
        "a\\b",
        "q'\"<&>",
        " a ",
        "a;b=c&d",
        "日本/語",
    ];
    for name in names {
        assert!(place.join(name).put_new(name).await.unwrap(), "{name}");
    }
    let mut found: Vec<_> = place.list().await.unwrap();
    let mut below: Vec<_> = found
        .iter()
        .map(|found| found.below(place).unwrap())
        .collect();
    below.sort();
    let mut expected = names.to_vec();
    expected.sort_unstable();
    assert_eq!(below, expected);
    for object in found.drain(..) {
        let name = object.below(place).unwrap();
        assert_eq!(object.get().await.unwrap(), name.as_str(), "{object}");
        if let Some(path) = object.local_path() {
            assert_eq!(tokio::fs::read_to_string(path).await.unwrap(), name);
        }
        object.delete().await.unwrap();
        assert!(!object.exists().await.unwrap(), "{object}");
    }
}

#[tokio::test]
async fn odd_names_are_kept_on_a_disk_in_memory_and_in_buckets() {
    let folder = tempfile::tempdir().unwrap();
    let server = wellspring_s3_testing::Server::start().unwrap();
    let below = folder.path().join("50% #1 ü");
    names_are_kept(&Location::parse(below.to_str().unwrap()).unwrap()).await;
    names_are_kept(&Location::parse("memory://").unwrap()).await;
    let place = Location::parse_with("s3://bucket/be#low", &server.settings()).unwrap();
    names_are_kept(&place).await;
    let google = Location::parse_with("gs://other/be?low", &server.google_settings());
    names_are_kept(&google.unwrap()).await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_do_not_break_a_list() {
    let server = wellspring_s3_testing::Server::start().unwrap();
    for i in 0..250 {
        server.put(&format!("/bucket/ds/{i:03}"), "x");
    }
    for key in [
        "ds/",
        "ds/001//odd",
        "ds//",
        "ds/a/../b",
        "ds/200/",
        "/first",
    ] {
        server.put(&format!("/bucket/{key}"), "x");
    }
    let place = Location::parse_with("s3://bucket/ds", &server.settings()).unwrap();
    let listing = place.listing().await.unwrap();
    assert_eq!(listing.objects.len(), 250);
    assert_eq!(listing.left_out, ["ds//", "ds/001//odd", "ds/a/../b"]);
    assert_eq!(place.list().await.unwrap().len(), 250);
}

#[cfg(unix)]
#[tokio::test]
async fn names_that_are_not_text_do_not_break_a_list_of_a_disk() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    for name in [&b"a"[..], b"b\xff", b"c\n", b"d#12"] {
        let path = folder.path().join(std::ffi::OsStr::from_bytes(name));
        tokio::fs::write(path, "x").await.unwrap();
    }
    let place = Location::parse(folder.path().to_str().unwrap()).unwrap();
    let listing = place.listing().await.unwrap();
    let names: Vec<_> = listing
        .objects
        .iter()
        .map(|(object, _)| object.name())
        .collect();
    assert_eq!((names, listing.left_out.len()), (vec![Some("a")], 2));
}

/// An object under a key as it was typed, in a store of each kind.
async fn holds_key(root: &str, options: &[(String, String)], key: &str) {
    let Ok(place) = Location::parse_with(&format!("{root}/{key}"), options) else {
        return;
    };
    let folder = Location::parse_with(root, options).unwrap();
    // On a disk `.` is the folder itself, and no object.
    if place.path() == folder.path() {
        return;
    }
    let text = place.to_string();
    match place.put(key.to_owned()).await {
        Ok(()) => {}
        // The local store writes `a` as `a#1` first, and so takes no file of such a name.
        Err(error) if with_causes(&error).contains("trailing") => return,
        // `a/.` is the folder `a` on a disk.
        Err(error) if with_causes(&error).contains("name of a folder") => return,
        Err(error) => panic!("{text}: {}", with_causes(&error)),
    }
    assert_eq!(place.get().await.unwrap(), key, "{text}");
    let folder = Location {
        store: Arc::clone(&place.store),
        ..folder
    };
    let listed = folder.list().await.unwrap();
    assert_eq!(listed.len(), 1, "{text}");
    assert_eq!(listed[0].path(), place.path(), "{text}");
    place.delete().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stores_hold_every_key(keys in prop::collection::vec(keys(), 8)) {
        let server = wellspring_s3_testing::Server::start().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for key in keys.iter().filter(|key| !key.is_empty() && !key.contains("..")) {
                let folder = tempfile::tempdir().unwrap();
                holds_key(folder.path().to_str().unwrap(), &[], key).await;
                holds_key("memory://", &[], key).await;
                holds_key("s3://bucket", &server.settings(), key).await;
                holds_key("gs://bucket", &server.google_settings(), key).await;
            }
        });
    }
}
