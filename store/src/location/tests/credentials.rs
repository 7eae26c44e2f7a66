//! Credentials: with whose authority requests are made.

use std::time::{Duration, Instant};

use wellspring_s3_testing::Server;

use super::*;

fn option(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}

/// Settings without keys, and without what the machine may have in `~/.aws`.
fn without_keys(server: &Server) -> Vec<(String, String)> {
    vec![
        option("aws_endpoint", server.endpoint()),
        option("aws_config_file", "/none"),
        option("aws_shared_credentials_file", "/none"),
        // Nobody is there.
        option("aws_metadata_endpoint", "http://127.0.0.1:9"),
    ]
}

/// Writes an object, and gives the ids of the keys that the requests were signed with.
async fn signed(server: &Server, options: &[(String, String)]) -> Vec<String> {
    let place = Location::parse_with("s3://bucket/object", options).unwrap();
    place.put("x").await.unwrap();
    assert_eq!(place.get().await.unwrap(), "x");
    server.key_ids().into_iter().collect()
}

#[tokio::test]
async fn without_credentials_an_error_says_at_once_which_ways_there_are() {
    let server = Server::start().unwrap();
    let place = Location::parse_with("s3://bucket/object", &without_keys(&server)).unwrap();
    let began = Instant::now();
    let error = with_causes(&place.get().await.unwrap_err());
    assert!(began.elapsed() < Duration::from_secs(60), "{error}");
    for way in [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "aws_skip_signature=true",
        "aws_request_payer=true",
    ] {
        assert!(error.contains(way), "{error}");
    }

    let mut public = without_keys(&server);
    public.push(option("aws_skip_signature", "true"));
    assert!(signed(&server, &public).await.is_empty());
}

#[tokio::test]
async fn a_profile_gives_keys_and_region() {
    let folder = tempfile::tempdir().unwrap();
    let write = async |name: &str, text: &str| {
        let path = folder.path().join(name);
        tokio::fs::write(&path, text).await.unwrap();
        path.to_str().unwrap().to_owned()
    };
    let process = r#"{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2999-01-01T00:00:00Z"}"#;
    let process = write("process", &format!("#!/bin/sh\necho '{process}'\n")).await;
    let config = format!(
        "[default]\nregion = eu-north-7\n\n[profile lab]\nregion = eu-west-9\n\n\
         [profile made]\ncredential_process = /bin/sh {process}\n\n[profile bare]\nregion = any\n"
    );
    let config = write("config", &config).await;
    let keys = "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = s\n\n\
                [lab]\naws_access_key_id = LAB\naws_secret_access_key = s\n";
    let keys = write("credentials", keys).await;
    let options = |server: &Server, profile: Option<&str>| {
        let mut options = without_keys(server);
        options.push(option("aws_config_file", &config));
        options.push(option("aws_shared_credentials_file", &keys));
        options.extend(profile.map(|profile| option("AWS_PROFILE", profile)));
        options
    };

    for (profile, id, region) in [
        (None, "DEFAULT", "eu-north-7"),
        (Some("lab"), "LAB", "eu-west-9"),
        (Some("made"), "PROCESS", "us-east-1"),
    ] {
        let server = Server::start().unwrap();
        let options = options(&server, profile);
        assert_eq!(signed(&server, &options).await, [id]);
        let scope = format!("/{region}/s3/");
        assert!(
            server
                .authorizations()
                .iter()
                .all(|header| header.contains(&scope))
        );
    }

    // Keys that were typed win.
    let server = Server::start().unwrap();
    let mut typed = options(&server, Some("lab"));
    typed.push(option("aws_access_key_id", "TYPED"));
    typed.push(option("aws_secret_access_key", "s"));
    assert_eq!(signed(&server, &typed).await, ["TYPED"]);

    for profile in ["bare", "none"] {
        let place = Location::parse_with("s3://bucket/object", &options(&server, Some(profile)));
        let error = with_causes(&place.unwrap().get().await.unwrap_err());
        assert!(error.contains(&format!("profile {profile}")), "{error}");
    }
}

#[test]
fn settings_of_other_kinds_of_places_are_passed_over() {
    let options = [
        option("aws_region", "eu-west-1"),
        option("hf_token", "secret"),
    ];
    for place in [
        "gs://bucket/a",
        "https://host/a",
        "hf://datasets/a/b/c",
        "s3://bucket/a",
    ] {
        let options = [&options[..], &[option("google_skip_signature", "true")]].concat();
        assert!(Location::parse_with(place, &options).is_ok(), "{place}");
    }
    let wrong = [option("hf_tokem", "secret")];
    for place in [
        "gs://bucket/a",
        "https://host/a",
        "hf://datasets/a/b/c",
        "s3://bucket/a",
    ] {
        let error = Location::parse_with(place, &wrong).unwrap_err();
        assert!(error.to_string().contains("hf_tokem"), "{error}");
    }
}
