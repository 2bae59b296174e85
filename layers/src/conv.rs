//! Convolutions.

use burn::tensor::{Tensor, module, ops::ConvOptions};

use crate::weights::{WeightError, Weights};

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
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
    inputs: usize,
    outputs: usize,
    kernel: Kernel,
}

impl Conv2d {
    /// Reads `weight` (`[outputs, inputs, size, size]`) and `bias` (`[outputs]`).
    pub fn new(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> Result<Self, WeightError> {
        let layer = Self::without_bias(weights, inputs, outputs, kernel)?;
        Ok(Self { bias: Some(weights.tensor("bias", [outputs])?), ..layer })
    }

    /// Reads `weight` alone.
    pub fn without_bias(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        kernel: Kernel,
    ) -> Result<Self, WeightError> {
        let mut options = ConvOptions::new([kernel.stride; 2], [0; 2], [1; 2], 1);
        options.padding = [kernel.padding; 2];
        let weight = weights.tensor("weight", [outputs, inputs, kernel.size, kernel.size])?;
        Ok(Self { weight, bias: None, options, inputs, outputs, kernel })
    }

    /// Reads the layer again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        if weights.has_changed("weight") || weights.has_changed("bias") {
            let read = if self.bias.is_some() { Self::new } else { Self::without_bias };
            *self = read(weights, self.inputs, self.outputs, self.kernel)?;
        }
        Ok(())
    }

    /// # Shapes
    ///
    /// - x: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, height / stride, width / stride]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        module::conv2d(x, self.weight.clone(), self.bias.clone(), self.options.clone())
    }
}
