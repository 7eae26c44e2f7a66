//! An ensemble: rollouts from the same windows that differ by what is drawn at random, and what they say together.
//!
//! Member m has the jitter of seed S + m, and of a schedule `random:R` that of R + m. So it is the rollout that an
//! evaluation of its own has with these seeds.

use rayon::prelude::*;
use wellspring_store::{Frames, Normalizer};

use super::Evaluation;
use super::rollout::{Jitter, Rollout};
use crate::metrics::{Channel, EnsembleScore, Spatial};
use crate::{Error, Result, Schedule};

/// The rollout of an evaluation, or one for each member of its ensemble.
///
/// # Errors
/// [`Error::Ensemble`], [`Error::NotPeriodic`], [`Error::Patch`].
pub(super) fn rollouts<'a>(evaluation: &Evaluation<'a>) -> Result<Vec<Rollout<'a>>> {
    let Evaluation {
        subject,
        schedule,
        dataset,
        options,
        ..
    } = evaluation;
    let is_random = options.jitter.is_some() || matches!(schedule, Schedule::Random { .. });
    let refused = match options.members {
        Some(members) if members < 2 => Some(format!("{members} is too few")),
        Some(_) if !is_random => Some(
            "without jitter, and with a schedule that is not random, all would be the same".into(),
        ),
        _ => None,
    };
    if let Some(reason) = refused {
        return Err(Error::Ensemble { reason });
    }
    let schema = dataset.schema();
    let member = |member: u64| -> Result<Rollout<'a>> {
        let jitter = options.jitter.map(|seed| seed.wrapping_add(member));
        let jitter = jitter.map(|seed| Jitter::new(seed, schema)).transpose()?;
        let schedule = schedule.of_member(member);
        let rollout = Rollout::new(*subject, &schedule, &schema.grid.shape())?;
        Ok(rollout.with_jitter(jitter))
    };
    (0..options.members.unwrap_or(1) as u64)
        .map(member)
        .collect()
}

/// What an evaluation is called in the tables besides its name: its schedule, then what else is drawn at random.
pub(super) fn shown(evaluation: &Evaluation<'_>, schedule: &str) -> String {
    let options = evaluation.options;
    let jitter = options.jitter.map(|seed| format!(" jitter:{seed}"));
    let members = options.members.map(|members| format!(" members:{members}"));
    format!(
        "{schedule}{}{}",
        jitter.unwrap_or_default(),
        members.unwrap_or_default()
    )
}

/// The mean of members in the fields' own units, as stored values; of one, it is that.
pub(super) fn mean(members: &[Frames], normalizer: &Normalizer) -> Option<Frames> {
    let (first, others) = members.split_first()?;
    let mut mean = first.clone();
    if others.is_empty() {
        return Some(mean);
    }
    let n = members.len() as f64;
    for batch in 0..first.batch() {
        for (channel, map) in normalizer.channels().iter().enumerate() {
            let fields: Vec<&[f32]> = members
                .iter()
                .map(|member| member.channel(0, batch, channel))
                .collect();
            let cells = mean.channel_mut(0, batch, channel).iter_mut().enumerate();
            for (cell, x) in cells {
                let values = fields.iter().map(|field| field[cell]);
                *x = match map.transform {
                    Some(_) => map.stored(values.map(|x| map.value(x)).sum::<f64>() / n),
                    None => (values.map(f64::from).sum::<f64>() / n) as f32,
                };
            }
        }
    }
    Some(mean)
}

/// What is measured of one field in one window: of each member, or of all together.
pub(super) struct EnsembleValue {
    pub(super) member: Option<u32>,
    pub(super) metric: &'static str,
    pub(super) value: f64,
}

/// The values of each (window, channel), in their order. `skill` has the VRMSE of the mean at each.
pub(super) fn values(
    truth: &Frames,
    members: &[Frames],
    channels: &[Channel],
    skill: &[((usize, usize), f64)],
) -> Vec<Vec<EnsembleValue>> {
    let measured = skill.par_iter().map(|&((batch, channel), vrmse)| {
        let truth = truth.channel(0, batch, channel);
        let fields: Vec<&[f32]> = members
            .iter()
            .map(|member| member.channel(0, batch, channel))
            .collect();
        let together = EnsembleScore::of_stored(truth, &fields, channels[channel]);
        let together = EnsembleScore::NAMES.into_iter().zip(together.values());
        let together = [("vrmse", vrmse)].into_iter().chain(together);
        let together = together.map(|(metric, value)| EnsembleValue {
            member: None,
            metric,
            value,
        });
        let each = fields.iter().enumerate().map(|(member, field)| {
            let score = Spatial::of_stored(truth, field, channels[channel]);
            EnsembleValue {
                member: Some(member as u32),
                metric: "vrmse",
                value: score.vrmse,
            }
        });
        together.chain(each).collect()
    });
    measured.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use wellspring_store::{ChannelMap, Transform};

    use super::*;

    /// The mean of a field with a transform is that of its own values and not of the transformed ones.
    #[test]
    fn the_mean_is_taken_in_the_fields_own_units() {
        let member = |u: f32, v: f32| Frames::new(1, 1, 2, vec![1], vec![u, v]).unwrap();
        let map = |transform| ChannelMap {
            transform,
            shift: 0.0,
            scale: 1.0,
        };
        let normalizer = [None, Some(Transform::Log10)]
            .map(map)
            .into_iter()
            .collect();
        let members = [member(1.0, 0.0), member(4.0, 2.0)];
        let mean = mean(&members, &normalizer).unwrap();
        // Of 1 and 4; of 10⁰ and 10².
        assert_eq!(mean.channel(0, 0, 0), [2.5]);
        assert!((mean.channel(0, 0, 1)[0] - 50.5_f32.log10()).abs() < 1e-6);
    }
}
