//! Pictures as tensors: a picture keeps the three values of a pixel together, networks have a plane
//! for each channel.

use burn::tensor::{DType, Device, Tensor, TensorData};
use image::Rgb32FImage;

use crate::error::PipelineError;

/// The values of a picture, `[1, 3, height, width]` in f32.
pub(crate) fn to_tensor(image: &Rgb32FImage, device: &Device) -> Tensor<4> {
    let shape = [1, image.height() as usize, image.width() as usize, 3];
    let data = TensorData::new(image.as_raw().clone(), shape);
    Tensor::<4>::from_data(data, (device, DType::F32)).permute([0, 3, 1, 2])
}

/// The picture whose values `value` makes of those of `pixels`, `[1, 3, height, width]`.
///
/// # Errors
///
/// [`PipelineError::NotANumber`].
pub(crate) fn from_tensor(
    pixels: Tensor<4>,
    value: impl Fn(f32) -> f32,
) -> Result<Rgb32FImage, PipelineError> {
    let [_, _, height, width] = pixels.dims();
    let mut values = pixels
        .permute([0, 2, 3, 1])
        .to_data()
        .convert_dtype(DType::F32)
        .try_to_vec::<f32>()
        .map_err(|_| PipelineError::NotANumber)?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(PipelineError::NotANumber);
    }
    for stored in &mut values {
        *stored = value(*stored);
    }
    Rgb32FImage::from_raw(width as u32, height as u32, values).ok_or(PipelineError::NotANumber)
}
