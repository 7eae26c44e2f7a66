//! `wellspring demo`: the shipped experiment `demo`, or `demo-tiny`, under its own name.

use anyhow::Result;

use super::{Session, experiment};
use crate::args::{self, DemoSize};

pub fn run(session: &Session, args: &args::Demo) -> Result<()> {
    let file = match args.size {
        DemoSize::Tiny => "demo-tiny",
        DemoSize::Full => "demo",
    };
    let seed = args.seed;
    experiment::run(
        session,
        &args::Experiment {
            file: file.to_owned(),
            out: Some(args.out.to_string_lossy().into_owned()),
            part: None,
            set: vec![
                format!("settings.train.seed={seed}"),
                format!("data.shear_flow.simulate.seed={seed}"),
            ],
            plan: false,
            print: false,
        },
    )
}
