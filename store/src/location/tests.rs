//! What holds of every kind of place.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

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
