use arrow::array::Float64Array;
use object_store::path::Path;

use super::*;
use crate::tests::counted::CountingStore;
use crate::{Compression, Location, sample};

const FRAMES: [usize; 3] = [7, 2, 9];

async fn written(dtype: Dtype, compression: Compression) -> (Location, Arc<CountingStore>) {
    let memory = Location::parse("memory:///plane").unwrap();
    let options = crate::WriterOptions {
        dtype,
        compression,
        ..sample::options(&FRAMES)
    };
    sample::write(&memory, &FRAMES, options).await.unwrap();
    let counted = Arc::new(CountingStore::new(Arc::clone(memory.object_store())));
    let store: Arc<dyn object_store::ObjectStore> = counted.clone();
    let root = Location::from_store(store, Path::from("plane"), "memory:/");
    (root, counted)
}

async fn scanned(
    scanner: &Arc<Scanner>,
    rows: Range<usize>,
    wanted: &FrameColumns,
) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for piece in scanner.pieces(Split::Train, rows) {
        let found = Arc::clone(scanner).scan(piece, wanted.clone());
        batches.extend(found.try_collect::<Vec<_>>().await.unwrap());
    }
    batches
}

#[tokio::test]
async fn columns_are_those_of_the_frames() {
    for (dtype, compression, close) in [
        (Dtype::F32, Compression::None, 1e-6),
        (Dtype::F32, Compression::Lz4, 1e-6),
        (Dtype::F32, Compression::Zstd, 1e-6),
        (Dtype::F16, Compression::None, 2e-3),
        (Dtype::F16, Compression::Zstd, 2e-3),
    ] {
        let (root, _) = written(dtype, compression).await;
        let scanner = Arc::new(Scanner::new(Arc::new(sample::open(&root).await)));
        let wanted = FrameColumns {
            time: true,
            channels: vec![2, 0],
        };
        // From the second trajectory's last frame into the third.
        let rows =
            scanner.rows(Split::Train, 1, 1..2).start..scanner.rows(Split::Train, 2, 0..8).end;
        let mut row = rows.start;
        for batch in scanned(&scanner, rows.clone(), &wanted).await {
            assert_eq!(batch.schema(), scanner.schema(&wanted));
            let times: &Float64Array = batch.column(0).as_primitive();
            for i in 0..batch.num_rows() {
                let (trajectory, step) = scanner.frame(Split::Train, row);
                assert_eq!(times.value(i), 0.5 * step as f64);
                let expected = sample::frame(trajectory, step);
                for (column, channel) in [(1, 2), (2, 0)] {
                    let found = batch.column(column).as_fixed_size_list().value(i);
                    let found = found.as_primitive::<Float32Type>().values().to_vec();
                    for (x, y) in found.iter().zip(expected.channel(0, 0, channel)) {
                        assert!((x - y).abs() <= close * y.abs().max(8.0), "{x} {y}");
                    }
                }
                row += 1;
            }
        }
        assert_eq!(row, rows.end);
    }
}

/// Shards of five frames, 3 channels of 24 cells: reading one channel of two frames takes the manifest,
/// a footer and a head, and 2 × 96 bytes.
#[tokio::test]
async fn no_more_is_read_than_was_asked_for() {
    let (root, counted) = written(Dtype::F32, Compression::None).await;
    let scanner = Arc::new(Scanner::new(Arc::new(sample::open(&root).await)));
    let wanted = FrameColumns {
        time: false,
        channels: vec![1],
    };
    let (gets, _) = (counted.gets(), counted.bytes());
    scanned(&scanner, 1..3, &wanted).await;
    assert_eq!(counted.gets() - gets, 3);
    let (gets, bytes) = (counted.gets(), counted.bytes());
    scanned(&scanner, 2..4, &wanted).await;
    assert_eq!(
        (counted.gets() - gets, counted.bytes() - bytes),
        (1, 2 * 96)
    );
}

#[tokio::test]
async fn damage_is_an_error_that_names_the_shard() {
    let (root, _) = written(Dtype::F32, Compression::None).await;
    let scanner = Arc::new(Scanner::new(Arc::new(sample::open(&root).await)));
    let wanted = FrameColumns {
        time: true,
        channels: vec![0],
    };
    let shard = scanner.dataset().manifest().splits[&Split::Train].shards[0].clone();
    let place = root.join(&shard.path);
    let whole = place.get().await.unwrap();
    let piece = scanner.pieces(Split::Train, 0..1).remove(0);
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        place.put(bytes).await.unwrap();
        let scanner = Arc::new(Scanner::new(Arc::clone(scanner.dataset())));
        let found: Result<Vec<_>> = scanner
            .scan(piece.clone(), wanted.clone())
            .try_collect()
            .await;
        if let Err(error) = found {
            assert!(
                error.to_string().contains("00000.arrow"),
                "byte {at}: {error}"
            );
        }
    }
    place.put(whole.slice(..whole.len() / 2)).await.unwrap();
    let scanner = Arc::new(Scanner::new(Arc::clone(scanner.dataset())));
    let found: Result<Vec<_>> = scanner.scan(piece, wanted).try_collect().await;
    assert!(found.unwrap_err().to_string().contains("00000.arrow"));
}
