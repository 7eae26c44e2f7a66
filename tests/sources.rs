//! Sources in a bucket and behind a web server, read by ranges.

use wellspring_s3_testing::{Fault, Server, Trouble};
use wellspring_store::Location;

use crate::program::{SMALL, Workplace, options};

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
    let settings = options(server.settings());
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

/// The shards, without what their names say of who wrote them.
fn shards(objects: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let shards = objects
        .into_iter()
        .filter(|(name, _)| name.ends_with(".arrow"));
    let stem = |name: String| name.split('.').next().unwrap_or_default().to_owned();
    shards.map(|(name, bytes)| (stem(name), bytes)).collect()
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

/// A store whose lists are out of date loses nothing, and nothing is taken for another work's.
#[test]
fn lists_that_know_of_nothing_new_do_no_harm() {
    let (server, place, settings) = simulated();
    let objects = |root: &str| -> Vec<(String, Vec<u8>)> {
        let root = Location::parse_with(root, &server.settings()).unwrap();
        let read = async {
            let mut objects = Vec::new();
            for object in root.list().await.unwrap() {
                let below = object.below(&root).unwrap();
                if !below.starts_with("ingest/") {
                    objects.push((below, object.get().await.unwrap().to_vec()));
                }
            }
            objects
        };
        tokio::runtime::Runtime::new().unwrap().block_on(read)
    };
    place.do_it("ingest sims near --shard-mib 1");
    place.do_it("ingest sims near_f16 --shard-mib 1 --dtype f16");
    let far = |root: &str, more: &str| {
        place.do_it(&format!(
            "ingest sims s3://bucket/{root} --shard-mib 1 {settings} {more}"
        ));
    };
    server.freeze_lists(true);
    far("alone", "");
    for part in [
        "--part 0/2 --statistics",
        "--part 1/2 --statistics",
        "--part 0/2",
        "--part 1/2",
    ] {
        far("parts", part);
    }
    far("parts", "--finish");
    // It could not tidy up; what it left is not what the next one counts on.
    far("alone", "--dtype f16 --overwrite");
    server.freeze_lists(false);
    assert!(objects("s3://bucket/parts") == data_set(&place, "near"));
    place.do_it(&format!("drop s3://bucket/alone --purge {settings}"));
    assert!(shards(objects("s3://bucket/alone")) == shards(data_set(&place, "near_f16")));
}

/// The first epoch of a training makes what it reads of a data set that is only promised.
#[test]
fn a_training_converts_its_source_as_it_reads_it() {
    let (server, place, settings) = simulated();
    place.do_it("ingest sims ds --shard-mib 1");
    std::fs::copy(place.path("ds/stats.yaml"), place.path("stats.yaml")).unwrap();
    // A normalization that was given is another data set than one that was gathered.
    std::fs::remove_dir_all(place.path("ds")).unwrap();
    place.do_it("ingest sims ds --shard-mib 1 --stats stats.yaml");
    let whole: usize = place
        .files("sims")
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();

    let promised =
        format!("ingest s3://bucket/sims far --shard-mib 1 --stats stats.yaml {settings}");
    let said = place.do_it(&format!("{promised} --on-demand"));
    assert!(said.err.contains("far is promised"), "{said:?}");
    let looked = server.seen().bytes;
    assert!(looked < whole as u64 / 4, "{looked} of {whole}");
    let said = place.run("verify far");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("holds no data set"), "{said:?}");

    let said = place.do_it(&format!("inspect far {settings}"));
    assert!(said.out.contains("promised: 15 shards"), "{said:?}");
    let far =
        format!("{SMALL} --set data.root=far --set data.lanes=2 --set train.batch=4 {settings}");
    let said = place.do_it(&format!("plan {far}"));
    assert!(said.out.contains("promised: 15 of its shards"), "{said:?}");
    assert!(!place.path("far/train").exists(), "a plan writes nothing");

    let said = place.do_it(&format!("train --out run {far} --set train.epochs=2"));
    assert!(
        said.err.contains("far: 6 shards are still promised"),
        "{said:?}"
    );
    assert_eq!(place.files("far/train").len(), 9);
    let near = far.replace("data.root=far", "data.root=ds");
    place.do_it(&format!("train --out near {near} --set train.epochs=2"));
    assert!(place.weights("run", 56) == place.weights("near", 56));
    // Each of three processes has looked at the files, and no byte of a field came twice.
    let seen = server.seen().bytes;
    assert!(
        seen < whole as u64 + 3 * looked + (8 << 20),
        "{seen} of {whole}"
    );

    // What no training reads is made by an ingest; then a run goes on as on any data set.
    place.do_it(&promised);
    assert!(data_set(&place, "far") == data_set(&place, "ds"));
    let said = place.do_it(&format!(
        "train --out run {far} --resume --set train.epochs=3"
    ));
    assert!(said.err.contains("84 steps"), "{said:?}");
}
