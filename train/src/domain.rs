//! What a model is made for: the states of one data set, or of several that share a vocabulary of
//! named channels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wellspring_store::{Boundary, Dataset};

use crate::{Error, Result};

/// The state of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Name of the data set.
    pub name: String,
    /// Which content exactly: the manifest's id.
    pub id: String,
    /// Channels, in order.
    pub channels: Vec<String>,
    /// Points along each axis.
    pub space: Vec<usize>,
    /// Boundary types per axis, low and high.
    pub boundaries: Vec<[Boundary; 2]>,
}

impl Domain {
    /// Of a data set.
    #[must_use]
    pub fn of(dataset: &Dataset) -> Self {
        let schema = dataset.schema();
        Self {
            name: schema.name.clone(),
            id: dataset.manifest().id(),
            channels: schema.channels(),
            space: schema.grid.shape(),
            boundaries: schema.boundaries(),
        }
    }
}

/// The domains that a model learns from, at least one, on grids of as many axes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domains(Vec<Domain>);

impl Domains {
    /// # Errors
    /// [`Error::Value`] without any, [`Error::Shape`] where grids have different numbers of axes.
    pub fn new(domains: Vec<Domain>) -> Result<Self> {
        let Some(first) = domains.first() else {
            return Err(Error::Value {
                key: "data.root",
                value: "\"\"".into(),
                expected: "must name a data set".into(),
            });
        };
        let axes = first.space.len();
        if let Some(other) = domains.iter().find(|other| other.space.len() != axes) {
            return Err(Error::Shape {
                what: "axes of data sets that one model learns from",
                expected: format!("{axes} as in {}", first.name),
                found: format!("{} in {}", other.space.len(), other.name),
            });
        }
        Ok(Self(domains))
    }

    /// Whether they are those of data sets, one or more of which may have been promised then and be
    /// whole now.
    pub(crate) fn are_of(&self, datasets: &[Arc<Dataset>]) -> bool {
        let is_of = |(domain, dataset): (&Domain, &Arc<Dataset>)| {
            let outline = dataset.manifest().outline().id();
            let now = Domain::of(dataset);
            *domain == now || *domain == Domain { id: outline, ..now }
        };
        self.0.len() == datasets.len() && self.0.iter().zip(datasets).all(is_of)
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

    /// Every channel once, in the order of its first appearance: a column of weights for each.
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
    /// [`Error::Shape`] for a channel or a type of boundary that no model of these domains has seen.
    pub(crate) fn places(&self, domain: &Domain) -> Result<Vec<u32>> {
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
            channels: channels.iter().map(ToString::to_string).collect(),
            space: vec![32, 32],
            boundaries: vec![[boundary; 2]; 2],
        }
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
