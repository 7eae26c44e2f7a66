//! `wellspring figures`: reads result tables and the frames that were kept, writes image files, each
//! renamed into place when whole; an interruption leaves the earlier ones.

use std::path::Path;

use anyhow::{Context as _, Result};
use wellspring_eval::{Figure, ImageFormat, Results, Selection};

use super::Session;
use super::weights::write_whole;
use crate::args;
use crate::failure::misuse;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Figures) -> Result<()> {
    let formats: Result<Vec<ImageFormat>, _> =
        args.format.iter().map(|text| text.parse()).collect();
    let formats = match formats {
        Ok(formats) => formats,
        Err(error) => misuse!("--format: {error}"),
    };
    let results = session.wait(Results::open(&session.locate(&args.results)?))?;
    let mut written = 0;
    for selection in selections(session, &results, args)? {
        let figures = session.wait(wellspring_eval::figures(&results, &selection))?;
        for figure in &figures {
            written += write(figure, &formats, &args.out)?;
        }
    }
    if written == 0 {
        anyhow::bail!("{} has nothing to draw of what was asked for", args.results);
    }
    line(&format!("{written} files in {}", args.out.display()));
    Ok(())
}

/// One, or one for each field.
fn selections(
    session: &Session,
    results: &Results,
    args: &args::Figures,
) -> Result<Vec<Selection>> {
    let one = Selection {
        datasets: args.datasets.clone(),
        names: args.names.clone(),
        fields: args.fields.clone(),
    };
    if !args.each_field {
        return Ok(vec![one]);
    }
    let fields = session.wait(wellspring_eval::fields(results, &one))?;
    let of = |field| Selection {
        fields: vec![field],
        ..one.clone()
    };
    Ok(fields.into_iter().map(of).collect())
}

fn write(figure: &Figure, formats: &[ImageFormat], folder: &Path) -> Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for &format in formats {
        let out = folder.join(format!("{}.{}", figure.name(), format.extension()));
        write_whole(&out, &figure.image(format)?)?;
    }
    Ok(formats.len())
}
