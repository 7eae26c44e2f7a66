//! Sources in a bucket and behind a web server: read by ranges.

use wellspring_s3_testing::{Fault, Server, Trouble};
use wellspring_store::Location;

use crate::program::Workplace;

/// Simulations on the disk, and the same in a bucket.
fn simulated() -> (Server, Workplace, String) {
    let server = Server::start().unwrap();
    let place = Workplace::new();
    place.do_it(
        "simulate shear-flow sims --shape 64x64 --frames 40 --train 3 --valid 1 --test 1 --seed 5",
    );
    let bucket = Location::parse_with("s3://bucket/sims", &server.settings()).unwrap();
    let upload = async {
        for (path, bytes) in place.files("sims") {
            let below = path.strip_prefix(place.path("sims")).unwrap();
            bucket
                .join(below.to_str().unwrap())
                .put(bytes)
                .await
                .unwrap();
        }
    };
    tokio::runtime::Runtime::new().unwrap().block_on(upload);
    let settings = server.settings().into_iter();
    let settings = settings.map(|(key, value)| format!("--storage-option {key}={value}"));
    let settings = settings.collect::<Vec<_>>().join(" ");
    (server, place, settings)
}

/// What a data set consists of.
fn data_set(place: &Workplace, root: &str) -> Vec<(String, Vec<u8>)> {
    let folder = place.path(root);
    let files = place.files(root).into_iter();
    let below =
        |path: std::path::PathBuf| path.strip_prefix(&folder).unwrap().display().to_string();
    files.map(|(path, bytes)| (below(path), bytes)).collect()
}

#[test]
fn a_source_in_a_bucket_gives_what_one_on_the_disk_gives() {
    let (server, place, settings) = simulated();
    place.do_it("ingest sims near");
    place.do_it(&format!("ingest s3://bucket/sims far {settings}"));
    assert!(data_set(&place, "far") == data_set(&place, "near"));
    // Twice read, once fetched.
    let whole: usize = place
        .files("sims")
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(
        server.seen().bytes <= whole as u64,
        "{:?} of {whole}",
        server.seen()
    );

    server.trouble(Trouble {
        method: "GET",
        fault: Fault::Status(403),
        every: 6,
        times: u64::MAX,
    });
    let said = place.run(&format!("ingest s3://bucket/sims ill {settings}"));
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("s3://bucket/sims/") && said.err.contains("403"),
        "{said:?}"
    );
    assert!(!place.path("ill/manifest.json").exists());
}

#[test]
fn a_file_behind_a_redirect_is_a_source() {
    let (server, place, _) = simulated();
    let (path, _) = place.files("sims/data/train").remove(0);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let door = Server::start().unwrap();
    let there = format!("{}/bucket/sims/data/train/{name}", server.endpoint());
    door.redirect(&format!("/resolve/{name}"), &there);
    let url = format!("{}/resolve/{name}", door.endpoint());
    place.do_it(&format!("ingest {url} far"));
    place.do_it(&format!("ingest sims/data/train/{name} near"));
    assert!(data_set(&place, "far") == data_set(&place, "near"));
}
