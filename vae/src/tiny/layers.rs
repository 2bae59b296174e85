//! The layers of AutoencoderTiny, one after the other and numbered, as `nn.Sequential` has them.

use burn::tensor::Tensor;
use emberbrush_layers::{
    activation::Activation,
    conv::{Conv2d, Kernel},
    interrupt::{Cancelled, Checkpoint, pass},
    resample::nearest,
    weights::{WeightError, Weights},
};

/// Three convolutions beside a shortcut (diffusers `AutoencoderTinyBlock`).
#[derive(Debug)]
struct Block {
    convolutions: [Conv2d; 3],
}

impl Block {
    /// The places of the convolutions in `conv`; the activations between them are counted, too.
    const PLACES: [usize; 3] = [0, 2, 4];

    fn new(weights: &Weights<'_>, channels: usize) -> Result<Self, WeightError> {
        let weights = weights.at("conv");
        let [first, second, third] = Self::PLACES
            .map(|place| Conv2d::new(&weights.at(place), channels, channels, Kernel::THREE));
        Ok(Self { convolutions: [first?, second?, third?] })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second, third] = &self.convolutions;
        let hidden = Activation::Relu.forward(first.forward(x.clone()));
        let hidden = Activation::Relu.forward(second.forward(hidden));
        Activation::Relu.forward(third.forward_onto(hidden, x))
    }
}

#[derive(Debug)]
enum Layer {
    Conv(Box<Conv2d>),
    Activation,
    Block(Box<Block>),
    /// To twice the size.
    Upsample,
}

/// Layers one after the other.
#[derive(Debug)]
pub(super) struct Layers(Vec<Layer>);

impl Layers {
    pub(super) fn forward(
        &self,
        mut x: Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        for layer in &self.0 {
            pass(checkpoint)?;
            x = match layer {
                Layer::Conv(convolution) => convolution.forward(x),
                Layer::Activation => Activation::Relu.forward(x),
                Layer::Block(block) => block.forward(x),
                Layer::Upsample => {
                    let [_, _, height, width] = x.dims();
                    nearest(x, [2 * height, 2 * width])
                }
            };
        }
        Ok(x)
    }
}

/// Reads layers and counts them.
pub(super) struct Builder<'a> {
    weights: Weights<'a>,
    first: usize,
    layers: Vec<Layer>,
}

impl<'a> Builder<'a> {
    /// Begins with the layer that is called `first` below `prefix`.
    pub(super) fn new(weights: &Weights<'a>, prefix: &str, first: usize) -> Self {
        let weights = if prefix.is_empty() { weights.clone() } else { weights.at(prefix) };
        Self { weights, first, layers: Vec::new() }
    }

    fn next(&self) -> Weights<'a> {
        self.weights.at(self.first + self.layers.len())
    }

    pub(super) fn conv(&mut self, inputs: usize, outputs: usize) -> Result<(), WeightError> {
        let convolution = Conv2d::new(&self.next(), inputs, outputs, Kernel::THREE)?;
        self.layers.push(Layer::Conv(Box::new(convolution)));
        Ok(())
    }

    pub(super) fn conv_without_bias(&mut self, channels: usize) -> Result<(), WeightError> {
        let convolution = Conv2d::without_bias(&self.next(), channels, channels, Kernel::THREE)?;
        self.layers.push(Layer::Conv(Box::new(convolution)));
        Ok(())
    }

    pub(super) fn downsample(&mut self, channels: usize) -> Result<(), WeightError> {
        let convolution = Conv2d::without_bias(&self.next(), channels, channels, Kernel::HALVE)?;
        self.layers.push(Layer::Conv(Box::new(convolution)));
        Ok(())
    }

    pub(super) fn blocks(&mut self, count: usize, channels: usize) -> Result<(), WeightError> {
        for _ in 0..count {
            let block = Block::new(&self.next(), channels)?;
            self.layers.push(Layer::Block(Box::new(block)));
        }
        Ok(())
    }

    pub(super) fn activation(&mut self) {
        self.layers.push(Layer::Activation);
    }

    pub(super) fn upsample(&mut self) {
        self.layers.push(Layer::Upsample);
    }

    pub(super) fn finish(self) -> Layers {
        Layers(self.layers)
    }
}
