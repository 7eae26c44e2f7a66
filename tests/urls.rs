//! URLs of buckets in all forms that people type, and buckets with all kinds of keys.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use wellspring_s3_testing::Server;

use crate::program::{Said, Workplace, options};

fn sound() -> Workplace {
    let place = Workplace::new();
    place.lay(&[("odd/sound.hdf5", "src/data/train/a.hdf5")]);
    place
}

/// Every name is a place of its own: a data set lies at each, and each is another.
#[test]
fn a_key_is_what_was_typed() {
    let server = Server::start().unwrap();
    let place = sound();
    let run = |server: &Server, words: &str, url: &str, more: &str| -> Said {
        let mut command = place.command(words);
        let more = format!("{more} {}", options(server.settings()));
        command.arg(url).args(more.split_whitespace());
        command.output().unwrap().into()
    };
    let names = [
        "ds", "ds#1", "ds#2", "ds?1", "ds?2", "ds%231", "ds%20", "ds 1", "ds+1", "dsü",
    ];
    let mut typed = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let (url, cells) = (format!("s3://bucket/{name}"), index + 2);
        let crop = format!("--crop 0..16,0..{cells}");
        if run(&server, "ingest src", &url, &crop).code == 0 {
            typed.push((url, cells));
        } else {
            // Refused for what was typed, and not for what lies there.
            let said = run(&Server::start().unwrap(), "ingest src", &url, &crop);
            assert!(
                said.code != 0 && said.err.contains(name),
                "{name}: {said:?}"
            );
        }
    }
    for (url, cells) in typed {
        let said = run(&server, "inspect", &url, "");
        assert!(
            said.out.contains(&format!("{cells} points")),
            "{url}: {said:?}"
        );
        assert_eq!(run(&server, "verify", &url, "").code, 0, "{url}");
    }
}

/// Results of two evaluations at two keys that differ after a `#` are two.
#[test]
fn results_go_to_the_key_that_was_typed() {
    let server = Server::start().unwrap();
    let settings = options(server.settings());
    let place = sound();
    place.do_it("ingest src ds");
    for context in [1, 2] {
        let said = place.run(&format!(
            "eval persistence ds --split train -r s3://bucket/res#{context} --context {context} {settings}"
        ));
        if said.code != 0 {
            assert!(said.err.contains("res#"), "{said:?}");
            return;
        }
    }
    for context in [1, 2] {
        let words = format!("sql -r s3://bucket/res#{context} --format csv {settings}");
        let mut asking = place.command(&words);
        let said = Said::from(asking.arg("SELECT context FROM runs").output().unwrap());
        assert_eq!(said.out, format!("context\n{context}\n"), "{said:?}");
    }
}

#[test]
fn an_http_endpoint_that_was_typed_is_meant() {
    let server = Server::start().unwrap();
    let place = sound();
    let settings = server.settings();
    let settings = settings
        .into_iter()
        .filter(|(key, _)| key != "aws_allow_http");
    let settings = options(settings.collect());
    place.do_it(&format!("ingest src s3://bucket/ds {settings}"));
    place.do_it(&format!("verify s3://bucket/ds {settings}"));
}

/// One key with `//` below a prefix is skipped with a note; the others are found.
#[test]
fn a_key_with_an_empty_part_does_not_break_a_list() {
    let server = Server::start().unwrap();
    let settings = options(server.settings());
    let place = sound();
    let bytes = std::fs::read(place.path("src/data/train/a.hdf5")).unwrap();
    put(&server, "/bucket/sims/data/train/a.hdf5", &bytes);
    put(&server, "/bucket/sims/data/train//b.hdf5", &bytes);
    let said = place.do_it(&format!("ingest s3://bucket/sims ds {settings}"));
    said.tells(&["//"]);
    let held = &place.manifest("ds")["splits"]["train"]["trajectories"];
    assert_eq!(held.as_array().unwrap().len(), 2);
}

/// Writes an object under a key that our own client does not write.
fn put(server: &Server, path: &str, bytes: &[u8]) {
    let address = server.endpoint();
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: bucket\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
