//! Sources in buckets: they give the same data sets, are read in part only, and errors name them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use wellspring_s3_testing::{Fault, Server, Trouble};
use wellspring_store::{
    Boundary, Contents, Location, Manifest, Reporter, Selection, Silent, TensorOrder, with_causes,
};

use super::damage::mutants;
use super::everything_file;
use super::pieces::{objects, options, sources};
use super::quirks::write_file;
use crate::catalogue::inspect;
use crate::convert::work::catalogue;
use crate::source::Access;
use crate::source::remote::Remote;
use crate::well::OpenFile;
use crate::{Error, IngestOptions, Packing, WaveField, Waves, ingest};

/// A file of 28 MB in three fields: 4 trajectories of 60 frames of 64 × 64 cells and 7 channels.
fn write_waves(path: &Path, packing: Packing) {
    let waves = Waves {
        name: "waves".into(),
        axes: ["x", "y"]
            .map(|axis| (axis.into(), 64, [Boundary::Periodic; 2]))
            .into(),
        fields: vec![
            WaveField::new("pressure", TensorOrder::Scalar),
            WaveField::new("velocity", TensorOrder::Vector),
            WaveField::new("D", TensorOrder::Tensor),
        ],
        parameters: Default::default(),
        trajectories: 4,
        frames: 60,
        packing,
    };
    waves.write(path, 3).unwrap();
}

/// Bytes of a channel in that file.
const CHANNEL: u64 = 4 * 60 * 64 * 64 * 4;

/// A file that begins with a block of its user's, so that only the HDF5 library knows its way in it.
fn write_shifted(path: &Path) {
    write_waves(path, Packing::Contiguous);
    let mut bytes = vec![b'u'; 512];
    bytes.extend(std::fs::read(path).unwrap());
    std::fs::write(path, bytes).unwrap();
}

async fn upload(folder: &Path, to: &Location) {
    let from = super::place(folder);
    for file in from.list().await.unwrap() {
        let below = file.below(&from).unwrap();
        to.join(&below)
            .put(file.get().await.unwrap())
            .await
            .unwrap();
    }
}

async fn converted(source: &Location, options: &IngestOptions) -> Result<Location, Error> {
    let root = Location::parse("memory:///ds").unwrap();
    ingest(source, &root, options, &Silent).await?;
    Ok(root)
}

fn bucket(server: &Server) -> Location {
    Location::parse_with("s3://bucket/source", &server.settings()).unwrap()
}

/// A bucket with one file, and its bytes.
async fn with_file(write: impl Fn(&Path)) -> (Server, Location, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    write(&path);
    let server = Server::start().unwrap();
    upload(folder.path(), &bucket(&server)).await;
    let place = bucket(&server).join("a.hdf5");
    (server, place, path.metadata().unwrap().len())
}

#[tokio::test]
async fn a_bucket_gives_what_the_disk_gives() {
    type Write = fn(&Path);
    let cases: [Write; 6] = [
        |folder| sources(folder, Packing::Contiguous),
        |folder| sources(folder, Packing::Chunked),
        |folder| sources(folder, Packing::Gzip(4)),
        |folder| write_file(&folder.join("a.hdf5")),
        |folder| {
            std::fs::copy(everything_file(), folder.join("a.hdf5")).unwrap();
        },
        |folder| write_shifted(&folder.join("a.hdf5")),
    ];
    let server = Server::start().unwrap();
    for (case, write) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let near = converted(&super::place(folder.path()), &options()).await;
        let near = objects(&near.unwrap()).await;
        let memory = Location::parse("memory:///source").unwrap();
        for far in [memory, bucket(&server).join(&case.to_string())] {
            upload(folder.path(), &far).await;
            let root = converted(&far, &options()).await.unwrap();
            assert!(objects(&root).await == near, "{far} of {case}");
        }
    }
}

#[tokio::test]
async fn a_look_at_a_file_fetches_little_of_it() {
    for packing in [Packing::Contiguous, Packing::Chunked, Packing::Gzip(1)] {
        let (server, place, size) = with_file(|path| write_waves(path, packing)).await;
        let opened = catalogue(&place, &Selection::default(), &Silent).await;
        assert_eq!(opened.unwrap().described[0].0, size);
        let seen = server.seen();
        assert!(
            seen.gets <= 4 && seen.bytes <= 1 << 20,
            "{seen:?} of {size}"
        );
        let said = inspect(&place).await.unwrap().to_string();
        assert!(
            said.contains("trajectories  4") && said.contains("pressure"),
            "{said}"
        );
        // How many bytes its chunks have is found in the index of each field.
        let bytes = server.seen().bytes - seen.bytes;
        assert!(bytes < size / 4, "{bytes} of {size}");
    }
}

#[tokio::test]
async fn what_is_selected_is_fetched_once() {
    let (server, place, size) = with_file(|path| write_waves(path, Packing::Contiguous)).await;
    let select = |fields: &[&str], trajectories| IngestOptions {
        selection: Selection {
            fields: fields.iter().map(|&name| name.to_owned()).collect(),
            trajectories,
            ..Selection::default()
        },
        ..IngestOptions::default()
    };
    for (options, own) in [
        (select(&[], None), 7 * CHANNEL),
        (select(&["pressure"], None), CHANNEL),
        (select(&["velocity"], Some((2, 3))), 2 * CHANNEL / 4),
        (select(&[], Some((1, 2))), 7 * CHANNEL / 4),
    ] {
        let before = server.seen();
        converted(&place, &options).await.unwrap();
        let seen = server.seen();
        let (gets, bytes) = (seen.gets - before.gets, seen.bytes - before.bytes);
        // The file's structure; and of each field a block at either end and what is fetched ahead,
        // which is never more than the field.
        let most = (1 << 20) + own.min(size) + (own / 2).min(3 * (8 << 20));
        assert!(bytes >= own && bytes <= most.min(size), "{bytes} for {own}");
        assert!(
            gets <= 8 + own / (256 << 10),
            "{gets} requests for {own} bytes"
        );
    }
}

#[tokio::test]
async fn a_server_that_fails_is_named_with_the_file() {
    type Write = fn(&Path);
    let by_offset: Write = |path| write_waves(path, Packing::Gzip(1));
    let by_library: Write = write_shifted;
    for write in [by_offset, by_library] {
        let (server, place, _) = with_file(write).await;
        let whole = objects(&converted(&place, &options()).await.unwrap()).await;
        let mut settings = server.settings();
        settings.push(("retry_for".into(), "0s".into()));
        let once = Location::parse_with("s3://bucket/source/a.hdf5", &settings).unwrap();
        for (fault, reason) in [
            (Fault::Status(403), "403"),
            (Fault::Short { by: 9 }, "bytes"),
        ] {
            for every in [1, 2, 5] {
                server.trouble(Trouble {
                    method: "GET",
                    fault,
                    every,
                    times: 1,
                });
                let error = converted(&once, &options()).await.unwrap_err();
                let told = with_causes(&error);
                assert!(told.contains("s3://bucket/source/a.hdf5"), "{told}");
                assert!(
                    told.contains(reason) && !told.contains("truncated"),
                    "{told}"
                );
            }
        }
        // What breaks off is asked for again.
        let fault = Fault::Reset { after: 1000 };
        server.trouble(Trouble {
            method: "GET",
            fault,
            every: 2,
            times: u64::MAX,
        });
        let again = converted(&place, &options()).await.unwrap();
        assert!(objects(&again).await == whole);
    }
}

/// Puts another object in a file's place once the statistics begin.
struct Meddler {
    place: Location,
    with: Mutex<Option<Vec<u8>>>,
}

impl Reporter for Meddler {
    fn begin(&self, stage: &str, _: Option<u64>, _: &str) {
        if stage == "statistics" {
            let bytes = self.with.lock().unwrap().take().unwrap();
            // In memory, nothing has to be waited for.
            futures::executor::block_on(self.place.put(bytes)).unwrap();
        }
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {}

    fn note(&self, _: &str) {}
}

#[tokio::test]
async fn an_object_that_changes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    type Write = fn(&Path);
    let cases: [Write; 2] = [|path| write_waves(path, Packing::Chunked), write_shifted];
    for write in cases {
        write(&path);
        let bytes = std::fs::read(&path).unwrap();
        for with in [bytes.clone(), bytes[..bytes.len() / 2].to_vec()] {
            let place = Location::parse("memory:///a.hdf5").unwrap();
            place.put(bytes.clone()).await.unwrap();
            let meddler = Meddler {
                place: place.clone(),
                with: Mutex::new(Some(with)),
            };
            let root = Location::parse("memory:///ds").unwrap();
            let error = ingest(&place, &root, &options(), &meddler)
                .await
                .unwrap_err();
            let told = with_causes(&error);
            assert!(told.contains("a.hdf5 changed while it was read"), "{told}");
        }
    }
}

/// Whatever becomes of a file's bytes, it is the same from a bucket as from the disk.
#[tokio::test]
async fn hostile_files_are_read_like_those_on_the_disk() {
    let whole = std::fs::read(everything_file()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let far = Location::parse("memory:///a.hdf5").unwrap();
    let mut refused = 0;
    let everywhere = 0..whole.len();
    for (round, (bytes, _)) in mutants(whole, everywhere.collect(), 8)
        .take(100)
        .enumerate()
    {
        // The library takes a file of the same name for one that it may still have open.
        let path = folder.path().join(format!("{round}.hdf5"));
        std::fs::write(&path, &bytes).unwrap();
        far.put(bytes).await.unwrap();
        let near = converted(&super::place(&path), &options()).await.map(drop);
        let far = converted(&far, &options()).await.map(drop);
        assert_eq!(near.is_err(), far.is_err(), "{round}: {near:?} {far:?}");
        refused += usize::from(far.is_err());
    }
    assert!(refused > 10, "{refused}");
}

/// What a remote file says of others is not followed.
#[tokio::test]
async fn a_link_to_another_file_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("a.hdf5"), folder.path().join("b.hdf5"));
    write_file(&path);
    std::fs::rename(&path, &other).unwrap();
    write_file(&path);
    let file = hdf5::File::open_rw(&path).unwrap();
    let (other, data) = (other.to_str().unwrap(), "dimensions/x");
    file.link_external(other, data, "elsewhere").unwrap();
    assert_eq!(file.dataset("elsewhere").unwrap().shape(), [4]);
    drop(file);
    let far = Location::parse("memory:///a.hdf5").unwrap();
    far.put(std::fs::read(&path).unwrap()).await.unwrap();
    let root = converted(&far, &options()).await.unwrap();
    let manifest = Manifest::load(&root).await.unwrap();
    let source = &manifest.provenance.as_ref().unwrap().sources[0];
    let held = source.structure.fetch(&root).await.unwrap();
    let held: Contents = serde_json::from_slice(&held).unwrap();
    assert_eq!(held.left_out["/elsewhere"], "it leads to another file");
}

/// Nothing is held of a file that is closed, or could not be opened.
#[tokio::test]
async fn a_closed_file_is_forgotten() {
    let far = Location::parse("memory:///a.hdf5").unwrap();
    let whole = std::fs::read(everything_file()).unwrap();
    for (bytes, good) in [(whole.clone(), true), (whole[..3000].to_vec(), false)] {
        far.put(bytes).await.unwrap();
        let remote = Arc::new(Remote::open(&far).await.unwrap());
        let file = OpenFile::open(&Access::Remote(Arc::clone(&remote)), "a.hdf5");
        assert_eq!(file.is_ok(), good);
        drop(file);
        assert_eq!(Arc::strong_count(&remote), 1);
    }
}

#[tokio::test]
async fn a_file_that_ends_early_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hdf5");
    write_waves(&path, Packing::Contiguous);
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 1, 100, 4096, 300_000, bytes.len() - 1] {
        let place = Location::parse("memory:///a.hdf5").unwrap();
        place.put(bytes[..length].to_vec()).await.unwrap();
        let error = converted(&place, &options()).await.unwrap_err();
        assert!(with_causes(&error).contains("a.hdf5"), "{error}");
    }
}

/// A web server that sends its visitors on to another one.
#[tokio::test]
async fn a_url_behind_a_redirect_is_read_by_ranges() {
    let (server, near, size) = with_file(|path| write_waves(path, Packing::Contiguous)).await;
    let door = Server::start().unwrap();
    let there = format!("{}/bucket/source/a.hdf5", server.endpoint());
    door.redirect("/some/waves.hdf5", &there);
    let url = format!("{}/some/waves.hdf5", door.endpoint());
    let far = Location::parse(&url).unwrap();

    let said = inspect(&far).await.unwrap();
    assert_eq!(said, inspect(&near).await.unwrap());
    let before = server.seen();
    let root = converted(&far, &options()).await.unwrap();
    let (gets, bytes) = (
        server.seen().gets - before.gets,
        server.seen().bytes - before.bytes,
    );
    assert_eq!(bytes, size);
    assert_eq!(gets, door.seen().gets - 2);
    let shards = |objects: Vec<(String, Vec<u8>)>| {
        let shards = objects
            .into_iter()
            .filter(|(name, _)| name.ends_with(".arrow"));
        // The source has another name, and so have the shards.
        let stem = |name: String| name.split('.').next().map(String::from);
        shards
            .map(|(name, bytes)| (stem(name), bytes))
            .collect::<Vec<_>>()
    };
    let by_bucket = objects(&converted(&near, &options()).await.unwrap()).await;
    assert!(shards(objects(&root).await) == shards(by_bucket));

    door.redirect(
        "/some/waves.hdf5",
        &format!("{}/none.hdf5", server.endpoint()),
    );
    let error = converted(&far, &options()).await.unwrap_err();
    assert!(
        with_causes(&error).contains("/some/waves.hdf5"),
        "{}",
        with_causes(&error)
    );
}
