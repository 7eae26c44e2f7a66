//! Makes a data set of noise, of a realistic size.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;
use wellspring_store::{
    ChannelMoments, Compression, Dataset, DatasetWriter, Dtype, Frames, Location, Normalization,
    Schema, Split, SplitManifest, Statistics, TensorOrder, Trajectory, WriterOptions,
};

use crate::args;
use crate::commands::Session;

/// Trajectories, frames and grid: The Well's shear flow, but fewer and smaller.
const TRAJECTORIES: usize = 8;
const FRAMES: usize = 100;
const SPACE: [usize; 2] = [128, 256];

/// The data set that was named; else one of noise, with the folder that it lies in while that is held.
pub fn unless_given(
    session: &Session,
    args: &args::Bench,
) -> Result<(Arc<Dataset>, Option<TempDir>)> {
    let (folder, root) = match &args.data {
        Some(data) => (None, session.locate(data)?),
        None => {
            let (folder, root) = session.wait(write())?;
            (Some(folder), root)
        }
    };
    let dataset = session.wait(Dataset::open(&root))?;
    Ok((Arc::new(dataset), folder))
}

/// A data set of noise in a folder of its own.
async fn write() -> Result<(TempDir, Location)> {
    let folder = tempfile::tempdir()?;
    let root = Location::parse(&folder.path().to_string_lossy())?;
    let schema = schema();
    let frame = noise(&schema)?;
    let channels = schema.channels().into_iter().enumerate();
    let statistics = channels.map(|(channel, name)| {
        let mut moments = ChannelMoments::default();
        moments.add(frame.channel(0, 0, channel), None);
        (name, moments.into())
    });
    let options = WriterOptions {
        schema: schema.clone(),
        dtype: Dtype::F32,
        compression: Compression::None,
        normalization: Normalization::Zscore,
        statistics: Statistics(statistics.collect()),
        shard_bytes: 64 << 20,
        overwrite: false,
    };
    let writer = DatasetWriter::create(&root, options).await?;
    let mut frame = frame.clone();
    writer.normalizer().normalize(&mut frame);
    let mut shards = Vec::new();
    for (index, rows) in writer.shards([FRAMES; TRAJECTORIES]).ranges().enumerate() {
        let mut shard = writer.shard(Split::Train, index)?;
        for row in rows {
            let step = row % FRAMES;
            shard.push(((row / FRAMES) as u32, step as u32), step as f64, &frame)?;
        }
        shards.push(shard.finish().await?);
    }
    let trajectory = Trajectory {
        source: "noise".into(),
        frames: FRAMES,
        parameters: BTreeMap::new(),
        ..Trajectory::default()
    };
    let held = SplitManifest {
        trajectories: vec![trajectory; TRAJECTORIES],
        shards,
        constants: None,
    };
    writer
        .finish(BTreeMap::from([(Split::Train, held)]))
        .await?;
    Ok((folder, root))
}

fn noise(schema: &Schema) -> Result<Frames> {
    let channels = schema.channels().len();
    let values = 0..(channels * schema.grid.cells()) as u32;
    let values = values.map(|i| (i.wrapping_mul(0x9E37_79B9) >> 8) as f32);
    Ok(Frames::new(
        1,
        1,
        channels,
        SPACE.to_vec(),
        values.collect(),
    )?)
}

fn schema() -> Schema {
    let fields = [
        ("tracer", TensorOrder::Scalar),
        ("pressure", TensorOrder::Scalar),
        ("velocity", TensorOrder::Vector),
    ];
    Schema::periodic("noise", &[("x", SPACE[0]), ("y", SPACE[1])], &fields)
}
