//! Changes of resolution.

use burn::tensor::{
    Tensor, module,
    ops::{InterpolateMode, InterpolateOptions},
};

use crate::{
    conv::{Conv2d, Kernel},
    kernels,
    weights::{WeightError, Weights},
};

/// Nearest-neighbour enlargement followed by a convolution (diffusers `models/upsampling.py`).
#[derive(Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    /// Reads `conv`.
    pub fn new(weights: &Weights<'_>, channels: usize) -> Result<Self, WeightError> {
        Ok(Self { conv: Conv2d::new(&weights.at("conv"), channels, channels, Kernel::THREE)? })
    }

    /// Reads the convolution again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.conv.reload(&weights.at("conv"))
    }

    /// Enlarges to `size`, `[height, width]`; without it to twice the input's.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, channels, height, width]`
    /// - output: `[batch, channels, size[0], size[1]]`
    pub fn forward(&self, x: Tensor<4>, size: Option<[usize; 2]>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        self.conv.forward(nearest(x, size.unwrap_or([2 * height, 2 * width])))
    }
}

/// Each value for as many positions as `size`, `[height, width]`, has for it.
///
/// # Shapes
///
/// - x: `[batch, channels, height, width]`
/// - output: `[batch, channels, size[0], size[1]]`
pub fn nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    kernels::nearest(x, size).unwrap_or_else(|x| {
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        module::interpolate(x, options)
    })
}

/// A convolution of stride 2 (diffusers `models/downsampling.py`).
#[derive(Debug)]
pub struct Downsample2D {
    conv: Conv2d,
}

impl Downsample2D {
    /// Reads `conv`; `kernel` is [`Kernel::HALVE`] or [`Kernel::HALVE_BOTTOM_RIGHT`].
    pub fn new(
        weights: &Weights<'_>,
        channels: usize,
        kernel: Kernel,
    ) -> Result<Self, WeightError> {
        Ok(Self { conv: Conv2d::new(&weights.at("conv"), channels, channels, kernel)? })
    }

    /// Reads the convolution again where its tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.conv.reload(&weights.at("conv"))
    }

    /// # Shapes
    ///
    /// - x: `[batch, channels, height, width]`
    /// - output: `[batch, channels, height / 2, width / 2]`, rounded up with [`Kernel::HALVE`]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}
