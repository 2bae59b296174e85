//! Convolutions.

use burn::tensor::{Tensor, module, ops::ConvOptions};

use crate::{
    feature_map,
    kernels::StoredConvolution,
    weights::{WeightError, Weights},
};

/// A square kernel, its stride, and the zeros added around the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Side length.
    pub size: usize,
    /// Step between two applications.
    pub stride: usize,
    /// Zeros before (top, left) and after (bottom, right).
    pub padding: (usize, usize),
}

impl Kernel {
    /// 1×1.
    pub const ONE: Self = Self { size: 1, stride: 1, padding: (0, 0) };
    /// 3×3 that keeps the size.
    pub const THREE: Self = Self { size: 3, stride: 1, padding: (1, 1) };
    /// 3×3 that halves the size.
    pub const HALVE: Self = Self { size: 3, stride: 2, padding: (1, 1) };
    /// 3×3 that halves the size with zeros on the bottom and right only, as AutoencoderKL's
    /// encoder does (diffusers `models/downsampling.py`, `F.pad(0, 1, 0, 1)`).
    pub const HALVE_BOTTOM_RIGHT: Self = Self { size: 3, stride: 2, padding: (0, 1) };

    /// Of an odd size, keeping that of the input.
    pub const fn same_size(size: usize) -> Self {
        Self { size, stride: 1, padding: (size / 2, size / 2) }
    }
}

/// A two-dimensional convolution.
#[derive(Debug)]
pub struct Conv2d {
    weight: ConvolutionWeight,
    has_bias: bool,
    options: ConvOptions<2>,
    inputs: usize,
    outputs: usize,
    kernel: Kernel,
}

// Not boxed: there is one of each layer, and nothing is moved.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum ConvolutionWeight {
    /// For the CPU's kernels.
    Stored(StoredConvolution),
    /// For every other device and type.
    Plain { weight: Tensor<4>, bias: Option<Tensor<1>> },
}

impl Conv2d {
    /// Reads `weight` (`[outputs, inputs, size, size]`) and `bias` (`[outputs]`).
    pub fn new(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> Result<Self, WeightError> {
        Self::read(weights, inputs, outputs, kernel, true)
    }

    /// Reads `weight` alone.
    pub fn without_bias(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> Result<Self, WeightError> {
        Self::read(weights, inputs, outputs, kernel, false)
    }

    fn read(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
        has_bias: bool,
    ) -> Result<Self, WeightError> {
        let mut options = ConvOptions::new([kernel.stride; 2], [0; 2], [1; 2], 1);
        options.padding = [kernel.padding; 2];
        let stored = weights.stored("weight", &[outputs, inputs, kernel.size, kernel.size])?;
        let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
        let of_kernels = weights
            .precision()
            .and_then(|to| StoredConvolution::new(&stored, bias.as_ref(), kernel, to));
        let weight = match of_kernels {
            Some(weight) => ConvolutionWeight::Stored(weight),
            None => {
                let weight = weights.make("weight", &stored)?;
                ConvolutionWeight::Plain { weight, bias }
            }
        };
        Ok(Self { weight, has_bias, options, inputs, outputs, kernel })
    }

    /// Reads the layer again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        if weights.has_changed("weight") || weights.has_changed("bias") {
            let read = if self.has_bias { Self::new } else { Self::without_bias };
            *self = read(weights, self.inputs, self.outputs, self.kernel)?;
        }
        Ok(())
    }

    /// # Shapes
    ///
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height / stride, width / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.fused(x, None, None)
    }

    /// [`Conv2d::forward`] with a number added to each channel of each sample.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, inputs, height, width]`
    /// - shift: `[batch, outputs]`
    /// - output: `[batch, outputs, height / stride, width / stride]`
    pub fn forward_shifted(&self, x: Tensor<4>, shift: Tensor<2>) -> Tensor<4> {
        self.fused(x, Some(shift), None)
    }

    /// [`Conv2d::forward`] with a shortcut added.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, inputs, height, width]`
    /// - shortcut and output: `[batch, outputs, height / stride, width / stride]`
    pub fn forward_onto(&self, x: Tensor<4>, shortcut: Tensor<4>) -> Tensor<4> {
        self.fused(x, None, Some(shortcut))
    }

    fn fused(
        &self,
        x: Tensor<4>,
        shift: Option<Tensor<2>>,
        shortcut: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let mut output = match &self.weight {
            ConvolutionWeight::Plain { weight, bias } => {
                self.plain(x, weight.clone(), bias.clone())
            }
            ConvolutionWeight::Stored(stored) => {
                match stored.forward(x, shift.clone(), shortcut.clone()) {
                    Ok(output) => return output,
                    Err(x) => {
                        let (weight, bias) = stored.plain();
                        self.plain(x, weight, bias)
                    }
                }
            }
        };
        if let Some(shift) = shift {
            let [batch, channels] = shift.dims();
            output = output + shift.reshape([batch, channels, 1, 1]);
        }
        match shortcut {
            Some(shortcut) => feature_map::add(output, shortcut),
            None => output,
        }
    }

    fn plain(&self, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
        module::conv2d(x, weight, bias, self.options.clone())
    }
}
