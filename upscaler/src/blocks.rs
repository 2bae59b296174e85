//! Dense blocks, and residual blocks of them (BasicSR `archs/rrdbnet_arch.py`).

use burn::tensor::{Tensor, activation};
use emberbrush_layers::{
    conv::{Conv2d, Kernel},
    interrupt::{Cancelled, Checkpoint, pass},
    weights::{WeightError, Weights},
};

use crate::{config::RrdbNetConfig, naming::RrdbNaming};

/// What every shortcut multiplies what goes past it by.
const RESIDUAL_SCALE: f64 = 0.2;

/// Slope of the activation for negative values.
const NEGATIVE_SLOPE: f64 = 0.2;

/// Dense blocks of a residual block.
pub(crate) const DENSE_BLOCKS: usize = 3;

/// Convolutions of a dense block.
pub(crate) const CONVOLUTIONS: usize = 5;

pub(crate) fn leaky_relu(x: Tensor<4>) -> Tensor<4> {
    activation::leaky_relu(x, NEGATIVE_SLOPE)
}

/// Convolutions of which each sees the outputs of all before it.
#[derive(Debug)]
struct ResidualDenseBlock {
    convolutions: Vec<Conv2d>,
    /// ESRGAN+'s way past the first two convolutions.
    shortcut: Option<Conv2d>,
}

impl ResidualDenseBlock {
    fn new(
        weights: &Weights<'_>,
        config: &RrdbNetConfig,
        naming: RrdbNaming,
        block: usize,
        dense: usize,
    ) -> Result<Self, WeightError> {
        let convolutions = (1..=CONVOLUTIONS)
            .map(|number| {
                let weights = naming.at(weights, &naming.convolution(block, dense, number));
                let inputs = config.features + (number - 1) * config.growth;
                let is_last = number == CONVOLUTIONS;
                let outputs = if is_last { config.features } else { config.growth };
                Conv2d::new(&weights, inputs, outputs, Kernel::THREE)
            })
            .collect::<Result<_, _>>()?;
        let shortcut = naming.at(weights, &naming.shortcut(block, dense));
        let shortcut = config
            .plus
            .then(|| Conv2d::without_bias(&shortcut, config.features, config.growth, Kernel::ONE));
        Ok(Self { convolutions, shortcut: shortcut.transpose()? })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut seen = vec![x.clone()];
        for (place, convolution) in self.convolutions.iter().enumerate() {
            let output = convolution.forward(Tensor::cat(seen.clone(), 1));
            if place + 1 == self.convolutions.len() {
                return output * RESIDUAL_SCALE + x;
            }
            let mut output = leaky_relu(output);
            if let Some(shortcut) = &self.shortcut {
                match place {
                    1 => output = output + shortcut.forward(x.clone()),
                    3 => output = output + seen[2].clone(),
                    _ => {}
                }
            }
            seen.push(output);
        }
        x
    }
}

/// Residual-in-residual dense block.
#[derive(Debug)]
pub(crate) struct Rrdb {
    dense_blocks: Vec<ResidualDenseBlock>,
}

impl Rrdb {
    pub(crate) fn new(
        weights: &Weights<'_>,
        config: &RrdbNetConfig,
        naming: RrdbNaming,
        block: usize,
    ) -> Result<Self, WeightError> {
        let dense_blocks = (0..DENSE_BLOCKS)
            .map(|dense| ResidualDenseBlock::new(weights, config, naming, block, dense))
            .collect::<Result<_, _>>()?;
        Ok(Self { dense_blocks })
    }

    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let mut output = x.clone();
        for block in &self.dense_blocks {
            pass(checkpoint)?;
            output = block.forward(output);
        }
        Ok(output * RESIDUAL_SCALE + x)
    }
}
