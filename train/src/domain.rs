//! The domain of a model: the states of one data set, or of several that share a vocabulary of named
//! channels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wellspring_store::{Boundary, Dataset, Manifest, Split, Transform};

use crate::inputs::{self, Column, InputKind};
use crate::{Config, Error, Result};

/// The state of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Name of the data set.
    pub name: String,
    /// Id of the data set's manifest, which identifies its content.
    pub id: String,
    /// Id of the content that training reads; empty in early checkpoints.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reads: String,
    /// Channels, in order.
    pub channels: Vec<String>,
    /// Points along each axis.
    pub space: Vec<usize>,
    /// Boundary types per axis, low and high.
    pub boundaries: Vec<[Boundary; 2]>,
    /// Transforms of the channels that have one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transforms: BTreeMap<String, Transform>,
    /// What a model sees beside the channels; empty in checkpoints of models that see nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Column>,
}

impl Domain {
    /// The domain of a data set, with its inputs of some kinds.
    ///
    /// # Errors
    /// [`Error::Store`] for constant fields without statistics, which no manifest that was read has.
    pub fn of(dataset: &Dataset, kinds: &BTreeSet<InputKind>) -> Result<Self> {
        let schema = dataset.schema();
        let constants = dataset.manifest().constant_normalizer()?;
        Ok(Self {
            name: schema.name.clone(),
            id: dataset.manifest().id(),
            reads: training(dataset.manifest()).id(),
            channels: schema.channels(),
            space: schema.grid.shape(),
            boundaries: schema.boundaries(),
            transforms: schema
                .channel_transforms(true)
                .into_iter()
                .filter_map(|(channel, transform)| Some((channel, transform?)))
                .collect(),
            inputs: inputs::columns(dataset, kinds, &constants),
        })
    }

    /// Kinds of inputs of which it has none.
    pub(crate) fn lacks(&self, kinds: &BTreeSet<InputKind>) -> Vec<&'static str> {
        let has = |kind| self.inputs.iter().any(|held| held.input.kind() == kind);
        let lacking = kinds.iter().filter(|&&kind| !has(kind));
        lacking.map(|kind| kind.name()).collect()
    }

    /// Refuses another domain that has a channel of this one with another transform: by its name, a model takes it
    /// for the same quantity.
    fn transforms_as(&self, other: &Self) -> Result<()> {
        let shared = other.channels.iter();
        let mut shared = shared.filter(|channel| self.channels.contains(channel));
        let words = |domain: &Self, channel| match domain.transforms.get(channel) {
            Some(transform) => format!("{transform} of {channel} as in {}", domain.name),
            None => format!("{channel} without a transform as in {}", domain.name),
        };
        match shared.find(|&channel| self.transforms.get(channel) != other.transforms.get(channel))
        {
            None => Ok(()),
            Some(channel) => Err(Error::Shape {
                what: "transforms of the data sets of a model (ingest --transform)",
                expected: words(self, channel),
                found: words(other, channel),
            }),
        }
    }

    /// Whether a manifest is that of this content, which may have been promised then and be whole now.
    pub(crate) fn is_of(&self, manifest: &Manifest) -> bool {
        self.id == manifest.id() || self.id == manifest.outline().id()
    }

    /// Whether training reads the same of a manifest, whatever else has changed.
    pub(crate) fn reads(&self, manifest: &Manifest) -> bool {
        let now = training(manifest);
        self.reads == now.id() || self.reads == now.outline().id()
    }
}

/// What training reads: the training split, and how its values are stored.
pub(crate) fn training(manifest: &Manifest) -> Manifest {
    let mut read = manifest.clone();
    read.splits.retain(|&split, _| split == Split::Train);
    (read.provenance, read.generation) = (None, 0);
    read
}

/// What a data set holds that a model does not see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnusedInputs {
    /// Channels of fields that do not vary in time.
    pub constants: Vec<String>,
    /// Parameters of the simulations, constant and in time.
    pub scalars: Vec<String>,
}

impl UnusedInputs {
    /// Lists what a data set's training split holds beside what a model with inputs of some kinds sees.
    #[must_use]
    pub fn of(dataset: &Dataset, kinds: &BTreeSet<InputKind>) -> Self {
        let mut unseen = Self::default();
        if !kinds.contains(&InputKind::Constants) {
            unseen.constants = dataset.schema().constant_channels();
        }
        if !kinds.contains(&InputKind::Scalars) {
            let split = dataset.manifest().splits.get(&Split::Train);
            let names = inputs::scalars(&split.into_iter().collect::<Vec<_>>());
            unseen.scalars = names.into_iter().collect();
        }
        unseen
    }

    /// What is typed for a model to see it, beside the kinds that it sees.
    #[must_use]
    pub fn remedy(&self, kinds: &BTreeSet<InputKind>) -> String {
        let mut wanted = kinds.clone();
        wanted.extend((!self.constants.is_empty()).then_some(InputKind::Constants));
        wanted.extend((!self.scalars.is_empty()).then_some(InputKind::Scalars));
        let names: Vec<String> = wanted
            .iter()
            .map(|kind| format!("\"{}\"", kind.name()))
            .collect();
        format!("--set 'model.inputs=[{}]'", names.join(","))
    }

    /// Whether models see all that there is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.constants.is_empty() && self.scalars.is_empty()
    }
}

impl fmt::Display for UnusedInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("fields that do not vary in time", &self.constants),
            ("scalars", &self.scalars),
        ];
        let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
        let kinds: Vec<String> = kinds
            .map(|(kind, names)| format!("{kind} ({})", names.join(", ")))
            .collect();
        write!(f, "{} are not inputs of the model", kinds.join(" and "))
    }
}

/// The domains that a model learns from, at least one, on grids of as many axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Domain>")]
pub struct Domains(Vec<Domain>);

impl TryFrom<Vec<Domain>> for Domains {
    type Error = Error;

    fn try_from(domains: Vec<Domain>) -> Result<Self> {
        Self::new(domains)
    }
}

impl Domains {
    /// # Errors
    /// [`Error::Value`] without any, [`Error::Shape`] where grids have different numbers of axes, or a channel
    /// different transforms.
    pub fn new(domains: Vec<Domain>) -> Result<Self> {
        let Some(first) = domains.first() else {
            return Err(Error::Value {
                key: "data.root",
                value: "\"\"".into(),
                expected: "must name a data set".into(),
            });
        };
        let axes = first.space.len();
        let sided = |domain: &&Domain| domain.boundaries.len() != domain.space.len();
        if let Some(domain) = domains.iter().find(sided) {
            return Err(Error::Shape {
                what: "boundaries of a data set",
                expected: format!("two for each of the {} axes", domain.space.len()),
                found: format!("{:?} of {}", domain.boundaries, domain.name),
            });
        }
        if let Some(other) = domains.iter().find(|other| other.space.len() != axes) {
            return Err(Error::Shape {
                what: "axes of data sets that one model learns from",
                expected: format!("{axes} as in {}", first.name),
                found: format!("{} in {}", other.space.len(), other.name),
            });
        }
        let pairs = domains.iter().zip(1..);
        for (domain, next) in pairs {
            let mut others = domains[next..].iter();
            others.try_for_each(|other| domain.transforms_as(other))?;
        }
        Ok(Self(domains))
    }

    /// The domains of the data sets of a run, with the statistics of its inputs.
    ///
    /// # Errors
    /// As [`Domains::new`]; [`Error::Input`] for an input that a trajectory lacks or that is not finite.
    pub async fn of_run(datasets: &[Arc<Dataset>], config: &Config) -> Result<Self> {
        let mut domains = Vec::new();
        for dataset in datasets {
            let mut domain = Domain::of(dataset, &config.model.inputs)?;
            inputs::measure(&mut domain.inputs, dataset, config.data.stride).await?;
            domains.push(domain);
        }
        Self::new(domains)
    }

    /// The inputs of all of them once, in the order of first appearance: one column of weights for each.
    pub(crate) fn inputs(&self) -> Vec<Column> {
        inputs::pooled(self.0.iter().map(|domain| domain.inputs.as_slice()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.0.iter()
    }

    /// The first: a model has its channels and boundaries until it is taken elsewhere.
    #[must_use]
    pub fn first(&self) -> &Domain {
        &self.0[0]
    }

    /// Names of all channels once, in the order of first appearance: one column of weights for each.
    #[must_use]
    pub fn vocabulary(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for channel in self.0.iter().flat_map(|domain| &domain.channels) {
            if !names.contains(&channel.as_str()) {
                names.push(channel);
            }
        }
        names
    }

    /// Places of a domain's channels in the vocabulary.
    ///
    /// # Errors
    /// [`Error::Shape`] for a channel, its transform or a type of boundary that no model of these domains has seen.
    pub(crate) fn places(&self, domain: &Domain) -> Result<Vec<u32>> {
        self.iter()
            .try_for_each(|seen| seen.transforms_as(domain))?;
        let vocabulary = self.vocabulary();
        let place = |channel: &String| vocabulary.iter().position(|known| known == channel);
        let places: Option<Vec<usize>> = domain.channels.iter().map(place).collect();
        let Some(places) = places else {
            return Err(Error::Shape {
                what: "channels of the data set",
                expected: format!("some of {}", vocabulary.join(" ")),
                found: domain.channels.join(" "),
            });
        };
        let seen: Vec<Boundary> = self.0.iter().flat_map(kinds).collect();
        if kinds(domain).any(|kind| !seen.contains(&kind)) {
            return Err(Error::Shape {
                what: "boundaries of the data set",
                expected: format!("types that the model has seen, {seen:?}"),
                found: format!("{:?}", domain.boundaries),
            });
        }
        Ok(places.into_iter().map(|place| place as u32).collect())
    }
}

fn kinds(domain: &Domain) -> impl Iterator<Item = Boundary> + '_ {
    domain.boundaries.iter().flatten().copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn domain(channels: &[&str], boundary: Boundary) -> Domain {
        Domain {
            name: channels.join("-"),
            id: String::new(),
            reads: String::new(),
            channels: channels.iter().map(ToString::to_string).collect(),
            space: vec![32, 32],
            boundaries: vec![[boundary; 2]; 2],
            transforms: BTreeMap::new(),
            inputs: Vec::new(),
        }
    }

    #[test]
    fn what_is_no_domain_is_no_model() {
        let read = |text: &str| serde_json::from_str::<Domains>(text);
        let error = read("[]").unwrap_err().to_string();
        assert!(error.contains("must name a data set"), "{error}");
        let mut odd = domain(&["u"], Boundary::Open);
        odd.boundaries.pop();
        let text = serde_json::to_string(&[odd]).unwrap();
        let error = read(&text).unwrap_err();
        assert!(error.to_string().contains("two for each"), "{error}");
        let sound = Domains::new(vec![domain(&["u"], Boundary::Open)]).unwrap();
        let text = serde_json::to_string(&sound).unwrap();
        assert!(text.starts_with("[{"), "{text}");
        assert_eq!(read(&text).unwrap(), sound);
    }

    #[test]
    fn what_no_model_sees_is_named() {
        let unseen = UnusedInputs {
            constants: vec!["mask".into()],
            scalars: vec!["Reynolds".into(), "Schmidt".into()],
        };
        assert_eq!(
            unseen.to_string(),
            "fields that do not vary in time (mask) and scalars (Reynolds, Schmidt) are not inputs of the model"
        );
        assert_eq!(
            unseen.remedy(&BTreeSet::from([InputKind::Dt])),
            "--set 'model.inputs=[\"constants\",\"scalars\",\"dt\"]'"
        );
        assert!(UnusedInputs::default().is_empty());
    }

    #[test]
    fn a_channel_has_one_transform() {
        let plain = domain(&["velocity_x", "density"], Boundary::Open);
        let mut logarithm = plain.clone();
        let log10 = ("density".to_owned(), Transform::Log10);
        logarithm.transforms = BTreeMap::from([log10]);
        let error = Domains::new(vec![plain.clone(), logarithm.clone()]).unwrap_err();
        assert!(error.to_string().contains("log10 of density"), "{error}");
        let known = Domains::new(vec![logarithm.clone()]).unwrap();
        known.places(&logarithm).unwrap();
        let error = known.places(&plain).unwrap_err().to_string();
        assert!(error.contains("density without a transform"), "{error}");
        let text = serde_json::to_string(&known).unwrap();
        assert!(text.contains("log10"), "{text}");
        assert_eq!(serde_json::from_str::<Domains>(&text).unwrap(), known);
        assert!(
            !serde_json::to_string(&plain)
                .unwrap()
                .contains("transforms")
        );
    }

    #[test]
    fn a_vocabulary_has_every_channel_once() {
        let shear = domain(&["tracer", "velocity_x"], Boundary::Periodic);
        let layer = domain(&["density", "velocity_x"], Boundary::Open);
        let domains = Domains::new(vec![shear, layer.clone()]).unwrap();
        assert_eq!(domains.vocabulary(), ["tracer", "velocity_x", "density"]);
        assert_eq!(domains.places(&layer).unwrap(), [2, 1]);
        let error = domains.places(&domain(&["D_xy"], Boundary::Open));
        assert!(error.unwrap_err().to_string().contains("found D_xy"));
        let error = domains.places(&domain(&["density"], Boundary::Wall));
        assert!(error.unwrap_err().to_string().contains("Wall"));
    }
}
