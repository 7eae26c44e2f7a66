//! The weights of a model, by the released model's names, and their initialization by PyTorch's rules.

use super::Columns;
use super::stages::Stages;
use crate::config::{Mlp, ModelConfig, Strategy};

/// Name and shape of a weight, and its initial distribution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weight {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) initial: Initial,
}

impl Weight {
    /// Numbers in it; none where they are more than can be counted.
    pub(crate) fn count(&self) -> Option<usize> {
        let mut sizes = self.shape.iter();
        sizes.try_fold(1_usize, |product, &size| product.checked_mul(size))
    }
}

/// Initial distribution of a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Initial {
    /// U(−a, a).
    Uniform(f64),
    /// N(0, 1).
    Normal,
    Constant(f32),
}

/// Strength of a block before it has learned anything.
const LAYER_SCALE: f32 = 1e-6;

/// All weights of a model, for a grid of `ndim` axes. Only the field embedding has inputs beside the state.
pub(crate) fn weights(
    config: &ModelConfig,
    columns: impl Into<Columns>,
    ndim: usize,
) -> Vec<Weight> {
    let columns = columns.into();
    let fields = columns.fields;
    let base = Stages::of(config.base_patch()).unwrap_or(Stages {
        first: 4,
        second: 4,
    });
    let (dim, narrow) = (config.dim, config.dim / 4);
    let kernel = |outer: [usize; 2], size: usize| [outer.as_slice(), &vec![size; ndim]].concat();
    let (first, second) = (base.first, base.second);

    let mut list = List::default();
    list.linear("space_bag.linear", columns.all(), narrow);
    if config.strategy == Strategy::Csm {
        list.push(
            "patch_jitterer.padding_tokens",
            vec![2, narrow, 1, 1, 1],
            Initial::Normal,
        );
    }
    list.kernel("embed.proj1.weight", kernel([narrow, narrow], first));
    list.norm("embed.norm1", narrow);
    list.kernel("embed.proj2.weight", kernel([dim, narrow], second));
    list.norm("embed.norm2", dim);
    for block in 0..config.blocks {
        list.space_mixing(&format!("blocks.{block}.space_mixing"), config);
        list.time_mixing(&format!("blocks.{block}.time_mixing"), config);
    }
    list.kernel("debed.proj1.weight", kernel([dim, narrow], second));
    list.norm("debed.norm1", narrow);
    list.kernel("debed.proj2.weight", kernel([narrow, fields], first));
    let fan_in = fields * first.pow(ndim as u32);
    list.push("debed.proj2.bias", vec![fields], uniform(fan_in));
    list.0
}

/// The bound that PyTorch's linear layers and convolutions begin with.
fn uniform(fan_in: usize) -> Initial {
    Initial::Uniform(1.0 / (fan_in as f64).sqrt())
}

#[derive(Default)]
struct List(Vec<Weight>);

impl List {
    fn push(&mut self, name: impl Into<String>, shape: Vec<usize>, initial: Initial) {
        self.0.push(Weight {
            name: name.into(),
            shape,
            initial,
        });
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.push(
            format!("{name}.weight"),
            vec![outputs, inputs],
            uniform(inputs),
        );
        self.push(format!("{name}.bias"), vec![outputs], uniform(inputs));
    }

    /// A linear map that the released model writes as a 3D convolution of one cell.
    fn pointwise(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.push(
            format!("{name}.weight"),
            vec![outputs, inputs, 1, 1, 1],
            uniform(inputs),
        );
        self.push(format!("{name}.bias"), vec![outputs], uniform(inputs));
    }

    /// PyTorch takes all but the first axis for the fan-in, of transposed convolutions too.
    fn kernel(&mut self, name: &str, shape: Vec<usize>) {
        let fan_in = shape[1..].iter().product();
        self.push(name, shape, uniform(fan_in));
    }

    fn norm(&mut self, name: &str, channels: usize) {
        self.push(
            format!("{name}.weight"),
            vec![channels],
            Initial::Constant(1.0),
        );
        self.push(
            format!("{name}.bias"),
            vec![channels],
            Initial::Constant(0.0),
        );
    }

    fn space_mixing(&mut self, at: &str, config: &ModelConfig) {
        let (dim, width) = (config.dim, config.dim / config.heads);
        self.push(
            format!("{at}.gamma_att"),
            vec![dim],
            Initial::Constant(LAYER_SCALE),
        );
        self.norm(&format!("{at}.norm1"), dim);
        match config.mlp {
            Mlp::Swiglu => {
                self.linear(&format!("{at}.fused_ff_qkv"), dim, 7 * dim);
                self.linear(&format!("{at}.ff_out.1"), 2 * dim, dim);
            }
            Mlp::Gelu => {
                self.linear(&format!("{at}.qkv"), dim, 3 * dim);
                self.push(
                    format!("{at}.gamma_mlp"),
                    vec![dim],
                    Initial::Constant(LAYER_SCALE),
                );
                self.norm(&format!("{at}.norm2"), dim);
                self.linear(&format!("{at}.mlp.0"), dim, 4 * dim);
                self.linear(&format!("{at}.mlp.2"), 4 * dim, dim);
            }
        }
        self.push(
            format!("{at}.attn_out.weight"),
            vec![dim, dim],
            uniform(dim),
        );
        self.norm(&format!("{at}.q_norm"), width);
        self.norm(&format!("{at}.k_norm"), width);
    }

    fn time_mixing(&mut self, at: &str, config: &ModelConfig) {
        let (dim, width) = (config.dim, config.dim / config.heads);
        self.push(
            format!("{at}.gamma"),
            vec![dim],
            Initial::Constant(LAYER_SCALE),
        );
        self.norm(&format!("{at}.norm1"), dim);
        self.pointwise(&format!("{at}.input_head"), dim, 3 * dim);
        self.pointwise(&format!("{at}.output_head"), dim, dim);
        self.norm(&format!("{at}.qnorm"), width);
        self.norm(&format!("{at}.knorm"), width);
        let bias = format!("{at}.rel_pos_bias.relative_attention_bias.weight");
        self.push(bias, vec![32, config.heads], Initial::Normal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(dim: usize, heads: usize, ndim: usize) -> usize {
        let config = ModelConfig {
            dim,
            heads,
            ..ModelConfig::default()
        };
        let weights = weights(&config, 4, ndim);
        weights
            .iter()
            .map(|weight| weight.shape.iter().product::<usize>())
            .sum()
    }

    /// The paper's three sizes, and the count of the smallest in 3D (reference README).
    #[test]
    fn sizes_are_the_papers() {
        let millions = |n: usize| (n as f64 / 1e5).round() / 10.0;
        assert_eq!(millions(parameters(192, 3, 2)), 6.6);
        assert_eq!(millions(parameters(384, 6, 2)), 26.2);
        assert_eq!(millions(parameters(768, 12, 2)), 104.6);
        assert_eq!(millions(parameters(192, 3, 3)), 7.6);
    }
}
