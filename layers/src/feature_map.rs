//! Operations on feature maps and tokens that move or add values.
//!
//! On the CPU feature maps are kept channels last (see [`crate::kernels`]), so that their pixels
//! are tokens without a copy.

use burn::tensor::Tensor;

use crate::kernels;

/// The pixels as tokens.
///
/// # Shapes
///
/// - x: `[batch, channels, height, width]`
/// - output: `[batch, height · width, channels]`
pub fn to_tokens(x: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    kernels::tokens(x)
        .unwrap_or_else(|x| x.reshape([batch, channels, height * width]).swap_dims(1, 2))
}

/// The feature map whose pixels are tokens.
///
/// # Shapes
///
/// - x: `[batch, height · width, channels]`
/// - output: `[batch, channels, height, width]`
pub fn from_tokens(x: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = x.dims();
    kernels::feature_map(x, [height, width])
        .unwrap_or_else(|x| x.swap_dims(1, 2).reshape([batch, channels, height, width]))
}

/// The sum of two tensors of one shape.
pub fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    kernels::add(x, y).unwrap_or_else(|(x, y)| x + y)
}

/// Two feature maps one after the other along the channels.
///
/// # Shapes
///
/// - x: `[batch, first, height, width]`
/// - y: `[batch, second, height, width]`
/// - output: `[batch, first + second, height, width]`
pub fn cat(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    kernels::cat_channels(x, y).unwrap_or_else(|(x, y)| Tensor::cat(vec![x, y], 1))
}
