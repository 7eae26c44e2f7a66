//! Access to a cluster: who may send queries, and what they may read.

use super::{Cluster, QUERIES, SHUFFLED, with_results};
use crate::program::Workplace;

const TOKEN: &str = "correct-horse-battery-staple";

fn lay_token(place: &Workplace) {
    std::fs::write(place.path("token"), format!("{TOKEN}\n")).unwrap();
    std::fs::write(place.path("wrong"), "correct-horse-battery-stable\n").unwrap();
    std::fs::write(place.path("short"), "horse\n").unwrap();
}

#[test]
fn whoever_does_not_know_the_token_is_not_let_in() {
    let place = with_results();
    lay_token(&place);
    let cluster = Cluster::begin(&place, 2, "--token-file token", "");
    let said = cluster.ask(&place, "--token-file token", SHUFFLED);
    assert_eq!(said.code, 0, "{said:?}");
    for words in ["", "--token-file wrong"] {
        let said = cluster.ask(&place, words, SHUFFLED);
        assert_eq!(said.code, 1, "{said:?}");
        let told = "the token is missing or wrong; give it with --token-file or WELLSPRING_TOKEN";
        assert!(said.err.contains(told), "{}", said.err);
        let executor = format!("cluster executor {} --read . {words}", cluster.address);
        let said = place.run(&executor);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.err.contains(told) && !said.err.contains(TOKEN),
            "{}",
            said.err
        );
    }
    // The environment does as well as a file, and no log has the token.
    let words = format!("sql -r results --cluster {}", cluster.address);
    let mut asking = place.command(&words);
    let asking = asking
        .env("WELLSPRING_TOKEN", TOKEN)
        .env("RUST_LOG", "trace");
    let output = asking.arg("SELECT count(*) FROM runs").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("TRACE") && !log.contains(TOKEN));
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let place = Workplace::new();
    lay_token(&place);
    for words in ["", "--token-file short", "--token-file absent"] {
        let words = format!("cluster scheduler --bind 0.0.0.0:0 --read . {words}");
        let said = place.run(&words);
        assert_eq!(said.code, 2, "{words}: {said:?}");
        assert!(
            said.err.contains("token") && !said.err.contains("horse"),
            "{}",
            said.err
        );
    }
    let words = "cluster scheduler --bind 127.0.0.1:0 --read . --tls-cert token --tls-key token";
    assert_eq!(place.run(words).code, 2);
    let said = place.run("cluster executor 127.0.0.1:1 --host 0.0.0.0 --read .");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("needs a token"), "{}", said.err);
    let said = place.run("cluster scheduler --bind 127.0.0.1:0");
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("--read"), "{}", said.err);
}

#[test]
fn tls_is_asked_for_on_every_way() {
    let place = with_results();
    lay_token(&place);
    place.lay(&[("tls", "tls")]);
    let all = "--token-file token --tls-cert tls/cert.pem --tls-key tls/key.pem";
    let cluster = Cluster::begin(&place, 2, all, "--tls-ca tls/ca.pem");
    for query in [SHUFFLED, QUERIES[0]] {
        let said = cluster.ask(&place, "--token-file token --tls-ca tls/ca.pem", query);
        assert_eq!(said.code, 0, "{said:?}");
        let one = super::ask(&place, "", query);
        let rows = |said: &str| -> Vec<serde_json::Value> { serde_json::from_str(said).unwrap() };
        super::same(&rows(&one.out), &rows(&said.out), query);
    }
    for words in ["", "--tls-ca tls/other.pem"] {
        let said = cluster.ask(&place, &format!("--token-file token {words}"), SHUFFLED);
        assert_eq!(said.code, 1, "{words}: {said:?}");
    }
    let said = cluster.ask(&place, "--tls-ca tls/ca.pem", SHUFFLED);
    assert!(
        said.err.contains("the token is missing or wrong"),
        "{said:?}"
    );
    let said = cluster.ask(&place, "--token-file token --tls-ca token", SHUFFLED);
    assert_eq!(said.code, 2, "{said:?}");
    let executor = format!(
        "cluster executor {} --read . --token-file token",
        cluster.address
    );
    assert_eq!(place.run(&executor).code, 1);
    assert_eq!(
        place.run(&format!("{executor} --tls-ca tls/ca.pem")).code,
        2
    );
}

#[test]
fn only_what_was_named_is_read() {
    let place = with_results();
    std::fs::rename(place.path("ds"), place.path("other")).unwrap();
    std::fs::create_dir(place.path("named")).unwrap();
    std::fs::rename(place.path("results"), place.path("named/results")).unwrap();
    let (_scheduler, address) =
        super::Running::begin(&place, "cluster scheduler --bind 127.0.0.1:0 --read named");
    let words = format!("cluster executor {address} --slots 1 --read named");
    let _executor = super::Running::begin(&place, &words);
    let ask = |more: &str, query: &str| {
        let words = format!("sql --cluster {address} {more}");
        crate::program::Said::from(place.command(&words).arg(query).output().unwrap())
    };
    let said = ask("-r named/results", "SELECT count(*) FROM leaderboard");
    assert_eq!(said.code, 0, "{said:?}");
    let said = ask("--data other", "SELECT count(*) FROM frames WHERE step > 2");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("may not read") && said.err.contains("/other"),
        "{said:?}"
    );
}

#[test]
fn a_sum_too_long_is_an_error_and_others_go_on() {
    let place = with_results();
    let cluster = Cluster::begin(&place, 1, "", "");
    let sum = |terms: usize| {
        let terms = vec!["step"; terms].join(" + ");
        format!("SELECT sum({terms}) AS total FROM frames")
    };
    for terms in [450, 1_800] {
        let said = cluster.ask(&place, "", &sum(terms));
        assert_eq!(said.code, 1, "{said:?}");
    }
    let said = cluster.ask(&place, "", &sum(350));
    assert_eq!(said.code, 0, "{said:?}");
    let one = super::ask(&place, "", &sum(350));
    assert_eq!(said.out, one.out);
}
