//! A rollout as an animated PNG: truth, prediction and error of some fields, with a frame for each lead
//! that was kept.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::drawing::Drawing;
use super::encoder::{encode, failed};
use super::gallery::Gallery;
use super::lines::called;
use super::pixels::Pixels;
use super::snapshots::Maps;
use crate::results::pictures::{self, Picture};
use crate::{Error, Result, Results};

/// What is animated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnimationOptions {
    /// An evaluation, by its identity or its name.
    pub run: String,
    /// Schedule of the evaluation, if several evaluations have the name.
    pub schedule: Option<String>,
    /// Fields, one below the other; all if empty.
    pub fields: Vec<String>,
    /// Trajectory; the first that was kept if none.
    pub trajectory: Option<u32>,
    /// Time that a frame is seen.
    pub milliseconds: u16,
}

#[derive(Deserialize)]
struct AnimatedRun {
    run: String,
    name: String,
    schedule: String,
    dataset: String,
    split: String,
}

/// Makes an animated PNG that repeats; gives its bytes and its number of frames.
///
/// # Errors
/// [`Error::Unknown`] and [`Error::Ambiguous`] for a run or field that cannot be chosen,
/// [`Error::NoFrames`] where nothing was kept, [`Error::Malformed`] for frames that cannot be read.
pub async fn animate(results: &Results, options: &AnimationOptions) -> Result<(Vec<u8>, usize)> {
    let held = results.held();
    let (chosen, pictures) = match kept(results, options).await? {
        // Its frames are gone where it is replaced meanwhile.
        (_, none) if none.is_empty() && results.renew(&held).await? => {
            kept(results, options).await?
        }
        found => found,
    };
    let rollout = one_rollout(pictures, options, &chosen.run)?;
    let fields = fields(&rollout, options)?;
    let leads = by_lead(&rollout, &fields);
    let maps: Vec<Maps> = fields
        .iter()
        .map(|field| {
            Maps::of(
                rollout
                    .iter()
                    .filter(move |picture| picture.field == *field),
            )
        })
        .collect();
    let Some(&last) = leads.keys().last() else {
        return Err(Error::NoFrames { run: chosen.run });
    };
    let frames = leads.into_iter().map(|(lead, pictures)| {
        let name = called(&chosen.name, &chosen.schedule);
        let title = format!(
            "{name} on {}, {}: lead {lead} of {last}",
            chosen.dataset, chosen.split
        );
        gallery(title, &pictures, &maps)
    });
    encoded(frames.collect(), options.milliseconds)
}

async fn kept(
    results: &Results,
    options: &AnimationOptions,
) -> Result<(AnimatedRun, Vec<Picture>)> {
    let chosen = choose(results, options).await?;
    let pictures = pictures::read(&pictures::file(results.location(), &chosen.run)).await?;
    Ok((chosen, pictures))
}

async fn choose(results: &Results, options: &AnimationOptions) -> Result<AnimatedRun> {
    let all: Vec<AnimatedRun> = results
        .rows("SELECT run, name, schedule, dataset, split FROM runs ORDER BY name, schedule, run")
        .await?;
    let wanted = |chosen: &AnimatedRun| {
        let schedule = options.schedule.as_ref();
        (chosen.run == options.run || chosen.name == options.run)
            && schedule.is_none_or(|schedule| chosen.schedule == *schedule)
    };
    let (mut found, others): (Vec<AnimatedRun>, Vec<AnimatedRun>) =
        all.into_iter().partition(wanted);
    if found.len() > 1 {
        return Err(Error::Ambiguous {
            text: options.run.clone(),
            choices: identities(&found),
        });
    }
    found.pop().ok_or_else(|| Error::Unknown {
        text: called(
            &options.run,
            options.schedule.as_deref().unwrap_or_default(),
        ),
        what: "an evaluation",
        choices: identities(&others),
    })
}

/// Identities of runs, each with what tells it from the others.
fn identities(runs: &[AnimatedRun]) -> String {
    let runs = runs.iter().map(|chosen| {
        let name = called(&chosen.name, &chosen.schedule);
        format!(
            "{} ({name} on {}, {})",
            chosen.run, chosen.dataset, chosen.split
        )
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// The pictures of the first rollout, or the first of a trajectory.
fn one_rollout(
    pictures: Vec<Picture>,
    options: &AnimationOptions,
    run: &str,
) -> Result<Vec<Picture>> {
    let wanted = |picture: &&Picture| options.trajectory.is_none_or(|t| picture.trajectory == t);
    let place = |picture: &Picture| (picture.trajectory, picture.start);
    let Some(first) = pictures.iter().find(wanted).map(place) else {
        return Err(match options.trajectory {
            Some(trajectory) if !pictures.is_empty() => Error::Unknown {
                text: trajectory.to_string(),
                what: "a kept trajectory",
                choices: listed(pictures.iter().map(|picture| picture.trajectory)),
            },
            _ => Error::NoFrames {
                run: run.to_owned(),
            },
        });
    };
    Ok(pictures
        .into_iter()
        .filter(|picture| place(picture) == first)
        .collect())
}

/// Names of the fields to show, in the order of the frames or as asked for.
fn fields(rollout: &[Picture], options: &AnimationOptions) -> Result<Vec<String>> {
    let mut held: Vec<String> = Vec::new();
    for picture in rollout {
        if !held.contains(&picture.field) {
            held.push(picture.field.clone());
        }
    }
    if options.fields.is_empty() {
        return Ok(held);
    }
    match options.fields.iter().find(|&field| !held.contains(field)) {
        Some(missing) => Err(Error::Unknown {
            text: missing.clone(),
            what: "a field",
            choices: held.join(", "),
        }),
        None => Ok(options.fields.clone()),
    }
}

/// Each lead's picture of each field; leads that lack one are left out.
fn by_lead<'a>(rollout: &'a [Picture], fields: &[String]) -> BTreeMap<u32, Vec<&'a Picture>> {
    let leads = rollout.iter().map(|picture| picture.lead);
    let all = leads.filter_map(|lead| {
        let of = |field: &String| {
            let mut those = rollout.iter().filter(|picture| picture.lead == lead);
            those.find(|picture| picture.field == *field)
        };
        Some((lead, fields.iter().map(of).collect::<Option<Vec<_>>>()?))
    });
    all.collect()
}

fn gallery(title: String, pictures: &[&Picture], maps: &[Maps]) -> Drawing {
    let rows = pictures.iter().zip(maps).map(|(picture, maps)| {
        let field = &picture.field;
        vec![
            Some(maps.truth(format!("{field}: truth"), picture)),
            Some(maps.prediction(predicted(&picture.patch), picture)),
            Some(maps.error("error".into(), picture)),
        ]
    });
    let rows = rows.collect();
    Drawing::Gallery(Gallery { title, rows })
}

/// A baseline has no patch size.
fn predicted(patch: &str) -> String {
    match patch {
        "-" => "prediction".into(),
        patch => format!("prediction, p = {patch}"),
    }
}

fn encoded(frames: Vec<Drawing>, milliseconds: u16) -> Result<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let mut drawn = frames.iter().map(Pixels::of);
    let Some(first) = drawn.next().transpose()? else {
        return Ok((bytes, 0));
    };
    let mut encoder = encode(&mut bytes, first.size(), png::ColorType::Rgb);
    encoder
        .set_animated(frames.len() as u32, 0)
        .map_err(failed)?;
    encoder
        .set_frame_delay(milliseconds, 1000)
        .map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&first.data).map_err(failed)?;
    for pixels in drawn {
        writer.write_image_data(&pixels?.data).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok((bytes, frames.len()))
}

fn listed(numbers: impl Iterator<Item = u32>) -> String {
    let numbers: std::collections::BTreeSet<u32> = numbers.collect();
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    texts.join(", ")
}
