//! Hostile bytes: however a manifest or a shard is damaged, reading it gives data or an error.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::FRAMES;
use crate::read::scan::{FrameColumns, Scanner};
use crate::{
    Compression, Dataset, Dtype, Error, Location, Manifest, Order, Plan, Share, Split, WindowSpec,
    sample,
};

/// How many damaged copies a test reads; `MUTANTS=100000 cargo test --release hostile` takes minutes.
fn mutants() -> usize {
    let asked = std::env::var("MUTANTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 20) as usize % end.max(1)
    }

    /// A copy with some bits turned over, a number in it replaced, or its end cut off.
    fn damage(&mut self, whole: &[u8]) -> Vec<u8> {
        const NUMBERS: [u64; 6] = [0, 1, u64::MAX, 1 << 31, 1 << 40, i64::MAX as u64];
        let mut bytes = whole.to_vec();
        match self.below(4) {
            0 => bytes.truncate(self.below(whole.len())),
            1 => {
                let width = [4, 8][self.below(2)];
                let at = self.below(whole.len() - width);
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            _ => {
                for _ in 0..1 + self.below(8) {
                    let at = self.below(whole.len());
                    bytes[at] ^= 1 << self.below(8);
                }
            }
        }
        bytes
    }

    /// A copy of some JSON with one of its numbers replaced.
    fn renumber(&mut self, json: &str) -> String {
        const NUMBERS: [&str; 8] = [
            "0",
            "-1",
            "1e300",
            "4294967296",
            "18446744073709551615",
            "0.5",
            "null",
            "[]",
        ];
        let starts: Vec<usize> = json
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(at, _)| at)
            .collect();
        let at = starts[self.below(starts.len())];
        let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let before = json[..at].trim_end_matches(number);
        let after = json[at..].trim_start_matches(number);
        format!("{before}{}{after}", NUMBERS[self.below(NUMBERS.len())])
    }
}

async fn written(place: &str, compression: Compression) -> Location {
    let root = Location::parse(place).unwrap();
    let mut options = sample::options(&FRAMES);
    options.compression = compression;
    sample::write(&root, &FRAMES, options).await.unwrap();
    root
}

#[tokio::test]
async fn nonsense_for_a_manifest_is_an_error() {
    let root = Location::parse("memory:///ds").unwrap();
    assert!(matches!(
        Dataset::open(&root).await.unwrap_err(),
        Error::NotADataset { .. }
    ));
    let manifest = sample::write(&root, &FRAMES, sample::options(&FRAMES))
        .await
        .unwrap();
    // As who edits it on purpose leaves it: without a checksum.
    let whole = serde_json::to_string_pretty(&manifest).unwrap();
    for (from, to) in [
        ("\"rows\": 4", "\"rows\": 6"),
        ("train/00000.arrow", "../../etc/passwd"),
        ("\"pressure\"", "\"step\""),
        ("\"format_version\": 1,", ""),
        ("}", ""),
        ("\"bytes\": ", "\"bytes\": 1999999999999999999"),
    ] {
        root.join("manifest.json")
            .put(whole.replacen(from, to, 1))
            .await
            .unwrap();
        let error = Dataset::open(&root).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{from}: {error}");
    }
}

/// An edited manifest gives an error that says what to do; so does an edited earlier one that was kept.
#[tokio::test]
async fn an_edited_manifest_is_told_until_its_checksum_is_taken_out() {
    let root = written("memory:///edited", Compression::None).await;
    let place = root.join("manifest.json");
    let text = String::from_utf8(place.get().await.unwrap().to_vec()).unwrap();
    let std = text.find("\"std\"").unwrap();
    let digit = std + text[std..].find(|c: char| c.is_ascii_digit()).unwrap();
    let mut edited = text.clone();
    edited.replace_range(digit..=digit, "8");
    assert_ne!(edited, text);
    place.put(edited.clone()).await.unwrap();
    let error = Dataset::open(&root).await.unwrap_err();
    assert!(matches!(error, Error::Altered { .. }), "{error:?}");
    for said in ["manifest.json", "edited", "take its key \"checksum\" out"] {
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(crate::verify(&root, &crate::Silent).await.is_err());
    assert!(crate::drop_split(&root, Split::Train).await.is_err());

    let mut meant: serde_json::Value = serde_json::from_str(&edited).unwrap();
    meant
        .as_object_mut()
        .unwrap()
        .remove(crate::manifest::sealed::KEY);
    place.put(meant.to_string()).await.unwrap();
    Dataset::open(&root).await.unwrap();
    let notes = crate::Notes::default();
    let (_, flaws) = crate::verify(&root, &notes).await.unwrap();
    let told = notes.take().join("\n");
    assert!(
        flaws.is_empty() && told.contains("no checksum of its own"),
        "{flaws:?} {told}"
    );

    // The next change seals it, and the copy of the one before is looked at too.
    let before = Manifest::load(&root).await.unwrap();
    let mut next = before.clone();
    next.generation += 1;
    let head = crate::Head::load(&root).await.unwrap();
    let change = crate::Change::unclaimed(&root, Some(head)).await.unwrap();
    change.publish(&next).await.unwrap();
    place.put(edited).await.unwrap();
    assert!(Dataset::open(&root).await.is_err());
    place.put(next.to_json()).await.unwrap();
    let kept = root.join("generations").list().await.unwrap().remove(0);
    kept.put(next.to_json().replace("plane", "plain"))
        .await
        .unwrap();
    let (_, flaws) = crate::verify(&root, &notes).await.unwrap();
    assert_eq!(flaws.len(), 1);
    assert!(
        matches!(&flaws[0].place, crate::Place::Generation(name) if name.ends_with(".json")),
        "{flaws:?}"
    );
    assert!(matches!(flaws[0].error, Error::Altered { .. }), "{flaws:?}");
}

/// Numbers that agree with one another and with no file.
#[tokio::test]
async fn what_a_manifest_claims_is_not_allocated() {
    let (_folder, local) = super::local();
    for compression in [Compression::None, Compression::Zstd] {
        for root in [
            local.join(&format!("{compression:?}")),
            Location::parse("memory:///ds").unwrap(),
        ] {
            let mut options = sample::options(&[4]);
            options.compression = compression;
            let sound = sample::write(&root, &[4], options).await.unwrap();
            for (frames, bytes) in [
                (1 << 31, None),
                (u32::MAX as usize, Some(1 << 50)),
                (1 << 31, Some(1 << 40)),
            ] {
                let mut claims = sound.clone();
                let held = claims.splits.get_mut(&Split::Train).unwrap();
                held.trajectories[0].frames = frames;
                held.shards[0].rows = frames;
                held.shards[0].bytes = bytes.unwrap_or(held.shards[0].bytes);
                let place = root.join("manifest.json");
                place.put(claims.to_json()).await.unwrap();
                // More than its bytes can hold: every command that opens it says so.
                if bytes.is_none() {
                    let error = Dataset::open(&root).await.unwrap_err().to_string();
                    assert!(error.contains("cannot have 2147483648 rows in"), "{error}");
                    continue;
                }
                let dataset = Arc::new(Dataset::open(&root).await.unwrap());
                for steps in [0..1, frames - 1..frames, 0..frames] {
                    assert!(dataset.read(Split::Train, 0, steps).await.is_err());
                }
                let whole = dataset.read_window(
                    Split::Train,
                    WindowSpec::whole(),
                    crate::Window {
                        trajectory: 0,
                        start: 0,
                    },
                );
                assert!(whole.await.is_err());
                let (_, flaws) = crate::verify(&root, &crate::Silent).await.unwrap();
                assert_eq!(flaws.len(), 1);
                let scanner = Arc::new(Scanner::new(dataset));
                let piece = scanner.pieces(Split::Train, 0..frames).remove(0);
                let wanted = FrameColumns {
                    time: true,
                    channels: vec![0],
                };
                let found = scanner.scan(piece, wanted).try_collect::<Vec<_>>().await;
                assert!(found.is_err());
            }
        }
    }
}

/// Pieces that fit no shard, as another machine may send them.
#[tokio::test]
async fn a_piece_that_is_not_there_is_an_error() {
    let root = written("memory:///pieces", Compression::None).await;
    let scanner = Arc::new(Scanner::new(Arc::new(sample::open(&root).await)));
    let piece = scanner.pieces(Split::Train, 0..3).remove(0);
    let wanted = |channels| FrameColumns {
        time: false,
        channels,
    };
    let mut bad = Vec::new();
    for (split, shard, rows) in [
        (Split::Valid, 0, 0..1),
        (Split::Train, 99, 0..1),
        (Split::Train, usize::MAX, 0..1),
        (Split::Train, 1, 0..1),
        (Split::Train, 0, 0..usize::MAX),
    ] {
        bad.push((crate::ShardRows { split, shard, rows }, wanted(vec![0])));
    }
    bad.push((piece.clone(), wanted(vec![3])));
    for (piece, wanted) in bad {
        let found = Arc::clone(&scanner).scan(piece, wanted);
        let found = found.try_collect::<Vec<_>>().await;
        assert!(matches!(found, Err(Error::Shape { .. })), "{found:?}");
    }
    let found = Arc::clone(&scanner).scan(piece, wanted(vec![2]));
    assert_eq!(
        found.try_collect::<Vec<_>>().await.unwrap()[0].num_rows(),
        3
    );
    assert_eq!(scanner.rows(Split::Valid, 0, 0..1), 0..0);
    assert_eq!(scanner.rows(Split::Train, 3, 0..1), 0..0);
    assert!(scanner.pieces(Split::Valid, 0..1).is_empty());
}

/// Whatever bytes a shard has, reading it never panics, even with a checksum that fits.
#[tokio::test]
async fn hostile_shards_are_refused() {
    let root = Location::parse("memory:///ds").unwrap();
    let mut options = sample::options(&FRAMES);
    options.compression = Compression::Lz4;
    sample::write(&root, &FRAMES, options).await.unwrap();
    let shard = root.join("train/00000.arrow");
    let whole = shard.get().await.unwrap().to_vec();
    let dataset = sample::open(&root).await;
    let columns = crate::shard::columns(
        &dataset.schema().grid,
        &dataset.schema().channels(),
        Dtype::F32,
    );
    let mut refused = 0;
    for place in 0..whole.len() {
        for bit in [0, 7] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            let decoded = crate::shard::ShardData::decode(&bytes.into(), &columns, "hostile");
            refused += usize::from(decoded.is_err());
        }
    }
    assert!(refused > 100, "{refused}");
    for length in 0..whole.len() {
        let cut = whole[..length].to_vec();
        assert!(crate::shard::ShardData::decode(&cut.into(), &columns, "cut").is_err());
    }
}

/// Damaged shards that are scanned column by column, which no checksum guards, give data or an error.
#[tokio::test]
async fn hostile_shards_are_scanned_without_a_panic() {
    let mut dice = Dice(1);
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let root = written("memory:///scanned", compression).await;
        let shard = root.join("train/00000.arrow");
        let whole = shard.get().await.unwrap();
        let dataset = Arc::new(sample::open(&root).await);
        let wanted = FrameColumns {
            time: true,
            channels: (0..dataset.schema().channels().len()).collect(),
        };
        let mut refused = 0;
        for _ in 0..mutants() {
            shard.put(dice.damage(&whole)).await.unwrap();
            let scanner = Arc::new(Scanner::new(Arc::clone(&dataset)));
            let rows = scanner.rows(Split::Train, 0, 0..3);
            let piece = scanner.pieces(Split::Train, rows).remove(0);
            let found = scanner.scan(piece, wanted.clone());
            refused += usize::from(found.try_collect::<Vec<_>>().await.is_err());
        }
        assert!(refused > mutants() / 10, "{refused}");
        shard.put(Bytes::clone(&whole)).await.unwrap();
    }
}

#[tokio::test]
async fn hostile_manifests_are_refused_or_read() {
    let mut dice = Dice(2);
    let root = written("memory:///manifests", Compression::None).await;
    let manifest = root.join("manifest.json");
    let sound = Manifest::load(&root).await.unwrap();
    let whole = serde_json::to_string_pretty(&sound).unwrap();
    let mut refused = 0;
    for round in 0..mutants() {
        let bytes = match round % 4 {
            0 => dice.damage(whole.as_bytes()),
            _ => dice.renumber(&whole).into_bytes(),
        };
        manifest.put(bytes).await.unwrap();
        let Ok(dataset) = Dataset::open(&root).await else {
            refused += 1;
            continue;
        };
        let spec = WindowSpec::of_length(3);
        let order = Order::Shuffled { seed: 1, epoch: 0 };
        let plan = Plan::new(dataset.manifest(), Split::Train, spec, order, Share::WHOLE);
        if let Ok(plan) = plan {
            let window = plan.get(plan.len() / 2).unwrap();
            let steps = window.start as usize..window.start as usize + 3;
            let _ = dataset
                .read(Split::Train, window.trajectory as usize, steps)
                .await;
        }
    }
    assert!(refused > mutants() / 10, "{refused}");
}
