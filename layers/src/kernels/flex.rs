//! The tensors of burn's CPU backend as slices, and slices as tensors.
//!
//! Feature maps are kept channels last: their tensors have the shape
//! `[batch, channels, height, width]` and strides by which the channels of a pixel lie together, so
//! that a pixel is a row of a matrix, and every other operation still sees what it expects.

use burn::{
    backend::{
        Flex,
        flex::{FlexTensor, Layout},
    },
    tensor::{Bytes, DType, Shape, Tensor},
};
use rayon::prelude::*;

use super::winograd::MapSize;

/// The tensor's buffer, where it is f32 on the CPU backend; itself, where not.
pub(crate) fn take<const D: usize>(x: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    if x.dtype() != DType::F32 {
        return Err(x);
    }
    match x.clone().try_into_primitive::<Flex>() {
        Ok(primitive) => {
            // The last other owner, so that the buffer can be written where nobody else holds it.
            drop(x);
            Ok(primitive)
        }
        Err(_) => Err(x),
    }
}

/// A tensor of a buffer.
pub(crate) fn give<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(tensor)
}

/// A new buffer in the usual order.
pub(crate) fn rows(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(Shape::from(shape.to_vec())),
        DType::F32,
    )
}

/// A new feature map, whose values are channels last.
pub(crate) fn map(values: Vec<f32>, size: MapSize) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), map_layout(size), DType::F32)
}

/// `len` elements that a kernel writes all of.
pub(crate) fn unwritten(len: usize) -> Vec<f32> {
    if cfg!(miri) {
        return vec![0.0; len];
    }
    let mut values = Vec::with_capacity(len);
    // SAFETY: every bit pattern is an f32 and the capacity is there; to fill it first would cost as
    // much as many of the kernels do.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    values
}

pub(crate) fn map_layout(size: MapSize) -> Layout {
    let MapSize { batch, height, width, channels } = size;
    let strides = [height * width * channels, 1, width * channels, channels];
    Layout::new(
        Shape::from([batch, channels, height, width]),
        strides.map(|stride| stride as isize).to_vec(),
        0,
    )
}

/// The size of a feature map.
pub(crate) fn map_size(tensor: &FlexTensor) -> MapSize {
    let shape = tensor.layout().shape();
    MapSize { batch: shape[0], channels: shape[1], height: shape[2], width: shape[3] }
}

/// Whether both orders of a shape's elements are the same: strides of sides of one do not count.
fn strides_are(tensor: &FlexTensor, wanted: &Layout) -> bool {
    let layout = tensor.layout();
    layout
        .shape()
        .iter()
        .zip(layout.strides().iter().zip(wanted.strides()))
        .all(|(&side, (stride, wanted))| side == 1 || stride == wanted)
}

/// A tensor whose elements lie in order, copied where they do not.
pub(crate) fn in_order(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The elements of a tensor that is [`in_order`] or whose layout is [`map_layout`].
pub(crate) fn elements(tensor: &FlexTensor) -> &[f32] {
    let start = tensor.layout().start_offset();
    &tensor.storage::<f32>()[start..start + tensor.layout().num_elements()]
}

/// Whether a feature map's channels lie together.
pub(crate) fn is_channels_last(tensor: &FlexTensor) -> bool {
    strides_are(tensor, &map_layout(map_size(tensor)))
}

/// A feature map channels last, copied where it is not.
pub(crate) fn channels_last(tensor: FlexTensor) -> FlexTensor {
    if is_channels_last(&tensor) {
        return tensor;
    }
    let size = map_size(&tensor);
    let tensor = in_order(tensor);
    let mut values = unwritten(size.len());
    let pixels = size.height * size.width;
    let channels = size.channels;
    let from = elements(&tensor);
    if size.len() > 0 {
        // A few pixels at a time, so that reads and writes stay within the caches.
        const PIXELS: usize = 16;
        for (sample, place) in values.chunks_exact_mut(pixels * channels).enumerate() {
            let from = &from[sample * pixels * channels..][..pixels * channels];
            place.par_chunks_mut(PIXELS * channels).enumerate().for_each(|(chunk, place)| {
                let first = chunk * PIXELS;
                for channel in 0..channels {
                    let line = &from[channel * pixels + first..];
                    for (pixel, value) in place.chunks_exact_mut(channels).zip(line) {
                        pixel[channel] = *value;
                    }
                }
            });
        }
    }
    map(values, size)
}

/// The buffer to write a result of the same size to: the tensor's own, where nobody else holds it
/// and it is wholly the tensor's.
pub(crate) fn own(tensor: &mut FlexTensor) -> Option<&mut [f32]> {
    if tensor.layout().start_offset() != 0
        || tensor.bytes().len() != tensor.layout().num_elements() * size_of::<f32>()
    {
        return None;
    }
    tensor.try_storage_mut::<f32>()
}
