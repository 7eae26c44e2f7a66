//! `wellspring animate`: reads the frames that an evaluation kept and writes one animated PNG, completely
//! or not at all.

use anyhow::Result;
use wellspring_eval::{AnimationOptions, Results};

use super::Session;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Animate) -> Result<()> {
    let options = AnimationOptions {
        run: args.run.clone(),
        schedule: args.schedule.clone(),
        fields: args.fields.clone(),
        trajectory: args.trajectory,
        milliseconds: args.delay,
    };
    let root = session.locate(&args.results)?;
    let (bytes, frames) = session.wait(async {
        let results = Results::open(&root, &session.reporter).await?;
        wellspring_eval::animate(&results, &options).await
    })?;
    let out = session.locate(&args.out)?;
    session.wait(out.put(bytes))?;
    let count = match frames {
        1 => "1 frame; evaluate a longer --rollout for more".into(),
        frames => format!("{frames} frames"),
    };
    line(&format!("{}: {count}", super::typed_as(&args.out, &out)));
    Ok(())
}
