//! Times the steps of a run beside the same steps without their data.

use anyhow::Result;
use serde_json::Value;
use wellspring_train::{Config, Start, Stop, TrainOptions};

use super::noise;
use crate::args;
use crate::commands::{Session, print};

/// Steps of a round.
const STEPS: u64 = 6;

/// The paper's smallest model with patches of 16, whose steps are the shortest and so wait the longest for data. Each of
/// several ranks has a batch of the same size.
pub fn run(session: &Session, args: &args::Bench) -> Result<Vec<Value>> {
    let (dataset, _folder) = noise::unless_given(session, args)?;
    let mut config = Config::default();
    config.model = config.model.with_patch(16.into());
    config.train.batch *= session.collective.share().world;
    (config.train.device, config.train.precision) = (args.device, args.precision);
    let options = TrainOptions {
        config: &config,
        datasets: vec![dataset],
        start: Start::New,
        validator: None,
        stop: &Stop::default(),
        collective: &*session.collective,
    };
    let steps = STEPS * args.repeat.max(1) as u64;
    let figure = wellspring_train::bench_train(options, steps, session.handle())?;
    if !args.json {
        print(format!(
            "training: {:.4} s a step, of which {:.4} s wait for data; the step alone {:.4} s; ratio {:.3}\n",
            figure.loop_seconds, figure.waited_seconds, figure.step_seconds, figure.of_step
        ))?;
    }
    Ok(vec![serde_json::to_value(figure)?])
}
