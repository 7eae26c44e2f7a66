//! `wellspring figures`: reads result tables and kept frames, and writes image files, each completely or not
//! at all. An interruption leaves those that are written.

use anyhow::Result;
use wellspring_eval::{FigureSelection, Results};

use super::Session;
use crate::args;
use crate::progress::line;

pub fn run(session: &Session, args: &args::Figures) -> Result<()> {
    let results = session.wait(Results::open(
        &session.locate(&args.results)?,
        &session.reporter,
    ))?;
    let (folder, mut written) = (session.locate(&args.out)?, 0);
    for selection in selections(session, &results, args)? {
        let figures = session.wait(wellspring_eval::figures(&results, &selection))?;
        for (figure, &format) in figures
            .iter()
            .flat_map(|of| args.format.iter().map(move |f| (of, f)))
        {
            let name = format!("{}.{}", figure.name(), format.extension());
            session.wait(folder.join(&name).put(figure.image(format)?))?;
            written += 1;
        }
    }
    if written == 0 {
        anyhow::bail!(
            "{} has nothing to draw of what was asked for",
            super::typed_as(&args.results, results.location())
        );
    }
    line(&format!(
        "{written} files in {}",
        super::typed_as(&args.out, &folder)
    ));
    Ok(())
}

/// A single selection, or one for each field.
fn selections(
    session: &Session,
    results: &Results,
    args: &args::Figures,
) -> Result<Vec<FigureSelection>> {
    let one = FigureSelection {
        datasets: args.datasets.clone(),
        names: args.names.clone(),
        fields: args.fields.clone(),
    };
    if !args.each_field {
        return Ok(vec![one]);
    }
    let fields = session.wait(wellspring_eval::fields(results, &one))?;
    let of = |field| FigureSelection {
        fields: vec![field],
        ..one.clone()
    };
    Ok(fields.into_iter().map(of).collect())
}
