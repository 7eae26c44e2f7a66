//! [`Loss`]: the error of predicted changes that training makes small.

use candle_core::{Device, Tensor};
use wellspring_store::Schema;

use crate::config::{LossConfig, LossKind};
use crate::ops::mse;
use crate::{Error, Result};

/// Added to the squares of a true change, per cell, before a relative error is divided by its norm.
const GUARD: f64 = 1e-8;

/// A loss for the channels of one data set. The default is the mean squared error.
#[derive(Debug, Clone, Default)]
pub struct Loss {
    kind: LossKind,
    delta: f64,
    /// Weights of the channels (C), of mean 1; none where all are equal.
    weights: Option<Tensor>,
}

impl Loss {
    /// The loss of a configuration for the channels of a data set.
    ///
    /// # Errors
    /// [`Error::Value`] where all fields that there are have the weight 0.
    pub fn new(config: &LossConfig, schema: &Schema, device: &Device) -> Result<Self> {
        Ok(Self {
            kind: config.kind,
            delta: config.delta,
            weights: weights(config, schema, device)?,
        })
    }

    /// The error of x against y, both (T, B, *space, C): a scalar. y gets no gradient.
    pub(crate) fn of(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        if self.kind == LossKind::Mse && self.weights.is_none() {
            return Ok(mse(x, y)?);
        }
        let errors = self.errors(x, &y.detach())?;
        let weighted = match &self.weights {
            Some(weights) => errors.broadcast_mul(weights)?,
            None => errors,
        };
        Ok(weighted.mean_all()?)
    }

    /// An error for every cell, or for every frame; channels last.
    fn errors(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let difference = (x - y)?;
        Ok(match self.kind {
            LossKind::Mse => difference.sqr()?,
            LossKind::Mae => difference.abs()?,
            LossKind::Huber => {
                let size = difference.abs()?;
                let square = size.minimum(self.delta)?;
                (&square * (&size - (&square * 0.5)?)?)?
            }
            LossKind::RelativeL2 => {
                let dims = x.dims();
                let (frames, channels) = (dims[0] * dims[1], dims[dims.len() - 1]);
                let squares = |x: &Tensor| -> Result<Tensor> {
                    let cells = x.reshape((frames, (), channels))?;
                    let guard = GUARD * cells.dim(1)? as f64;
                    Ok((cells.sqr()?.sum(1)? + guard)?)
                };
                (squares(&difference)? / squares(y)?)?.sqrt()?
            }
        })
    }
}

fn weights(config: &LossConfig, schema: &Schema, device: &Device) -> Result<Option<Tensor>> {
    let mut weights = Vec::new();
    for field in schema.fields.iter().filter(|field| field.time_varying) {
        let weight = config.weights.get(&field.name).copied().unwrap_or(1.0);
        let channels = field.channels(&schema.grid).len();
        weights.extend(std::iter::repeat_n(weight, channels));
    }
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 {
        return Err(Error::Value {
            key: "loss.weights",
            value: format!("{:?}", config.weights),
            expected: format!(
                "leaves nothing of {} to learn: all its fields have the weight 0",
                schema.name
            ),
        });
    }
    if weights.iter().all(|&weight| weight == weights[0]) {
        return Ok(None);
    }
    let scale = weights.len() as f64 / sum;
    let weights: Vec<f32> = weights
        .iter()
        .map(|weight| (weight * scale) as f32)
        .collect();
    Ok(Some(Tensor::new(weights, device)?))
}

/// Refuses weights of fields that no data set has.
pub(crate) fn check_fields<'a>(
    config: &LossConfig,
    schemas: impl Iterator<Item = &'a Schema>,
) -> Result<()> {
    let fields = schemas.flat_map(|schema| &schema.fields);
    let known: Vec<&str> = fields
        .filter(|field| field.time_varying)
        .map(|field| field.name.as_str())
        .collect();
    match config
        .weights
        .keys()
        .find(|name| !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some(name) => Err(Error::Value {
            key: "loss.weights",
            value: name.clone(),
            expected: format!("must name fields that are predicted: {}", known.join(", ")),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Var;
    use wellspring_store::TensorOrder;

    use super::*;

    /// Two channels on two cells.
    const X: [f32; 4] = [1.0, -3.0, 0.5, 2.0];
    const Y: [f32; 4] = [0.5, 1.0, -0.5, 2.0];

    fn loss(kind: LossKind, weights: &[(&str, f64)]) -> Loss {
        let weights = weights
            .iter()
            .map(|&(name, weight)| (name.to_owned(), weight));
        let config = LossConfig {
            kind,
            delta: 2.0,
            weights: weights.collect(),
        };
        let fields = [("u", TensorOrder::Scalar), ("v", TensorOrder::Scalar)];
        let schema = Schema::periodic("pair", &[("x", 2)], &fields);
        check_fields(&config, std::iter::once(&schema)).unwrap();
        Loss::new(&config, &schema, &Device::Cpu).unwrap()
    }

    /// The loss of X against Y, and its gradient by differences beside that of the graph.
    fn value(loss: &Loss) -> f32 {
        let tensor =
            |values: &[f32]| Tensor::from_vec(values.to_vec(), (1, 1, 2, 2), &Device::Cpu).unwrap();
        let of = |x: &Tensor| loss.of(x, &tensor(&Y)).unwrap();
        let x = Var::from_tensor(&tensor(&X)).unwrap();
        let gradient = of(&x).backward().unwrap().remove(&x).unwrap();
        let gradient: Vec<f32> = gradient.flatten_all().unwrap().to_vec1().unwrap();
        for (at, gradient) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut values = X;
                values[at] += by;
                of(&tensor(&values)).to_scalar::<f32>().unwrap()
            };
            // |x − y| has no slope where both are equal.
            if at < 3 {
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((gradient - slope).abs() < 2e-3, "{at}: {gradient} {slope}");
            }
        }
        of(&x).to_scalar().unwrap()
    }

    fn is_near(found: f32, expected: f64) {
        assert!(
            (f64::from(found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }

    #[test]
    fn losses_are_those_of_their_formulas() {
        // Differences are 1/2 and 1 in u, −4 and 0 in v.
        is_near(value(&loss(LossKind::Mse, &[])), (0.25 + 16.0 + 1.0) / 4.0);
        is_near(value(&loss(LossKind::Mae, &[])), 5.5 / 4.0);
        is_near(
            value(&loss(LossKind::Huber, &[])),
            (0.125 + 6.0 + 0.5) / 4.0,
        );
        let relative = (1.25_f64 / 0.5).sqrt() + (16.0_f64 / 5.0).sqrt();
        is_near(value(&loss(LossKind::RelativeL2, &[])), relative / 2.0);
    }

    #[test]
    fn weights_of_fields_have_the_mean_one() {
        let weights = [("v", 3.0)];
        // 1/2 for u and 3/2 for v.
        is_near(value(&loss(LossKind::Mse, &weights)), (0.625 + 24.0) / 4.0);
        is_near(value(&loss(LossKind::Mae, &weights)), (0.75 + 6.0) / 4.0);
        let relative = 0.5 * (1.25_f64 / 0.5).sqrt() + 1.5 * (16.0_f64 / 5.0).sqrt();
        is_near(value(&loss(LossKind::RelativeL2, &weights)), relative / 2.0);
        let equal = loss(LossKind::Mse, &[("u", 5.0), ("v", 5.0)]);
        is_near(value(&equal), (0.25 + 16.0 + 1.0) / 4.0);
    }

    #[test]
    fn weights_name_fields_and_leave_something() {
        let schema = Schema::periodic("one", &[("x", 2)], &[("u", TensorOrder::Scalar)]);
        let config = |name: &str, weight| LossConfig {
            weights: [(name.to_owned(), weight)].into(),
            ..LossConfig::default()
        };
        let error = check_fields(&config("w", 1.0), std::iter::once(&schema)).unwrap_err();
        assert!(error.to_string().contains("w: must name fields"), "{error}");
        let error = Loss::new(&config("u", 0.0), &schema, &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("nothing of one"), "{error}");
    }
}
