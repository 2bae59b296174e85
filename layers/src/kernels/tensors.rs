//! The kernels as functions of tensors.

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{DType, Device, Shape, Tensor},
};

use super::{
    Finish, Precision,
    attention::{self, AttentionSize, Rows},
    convolution::{self, Convolution, Method},
    elementwise, flex,
    gemm::{self, Epilogue, Factor},
    norm::{self, GroupNormalisation},
    simd::Level,
    stored::Stored,
    winograd::{Additions, MapSize},
};
use crate::{conv::Kernel, stored_tensor::StoredTensor};

/// Whether the kernels run on a device.
pub(crate) fn run_on(device: &Device) -> bool {
    *device == Device::flex()
}

/// A matrix by which rows are multiplied.
#[derive(Debug, Clone)]
pub(crate) struct StoredLinear {
    weight: Stored,
    bias: Option<Vec<f32>>,
}

impl StoredLinear {
    /// Takes a weight `[outputs, inputs]` and a bias `[outputs]`.
    ///
    /// `None` where the weight is of another type than f32, f16 and bf16, or the bias not f32 on
    /// the CPU backend.
    pub(crate) fn new(
        weight: &StoredTensor,
        bias: Option<&Tensor<1>>,
        precision: Precision,
    ) -> Option<Self> {
        let bias = bias.cloned().map(numbers).transpose().ok()?;
        Some(Self { weight: Stored::new(weight, precision)?, bias })
    }

    /// Weight and bias in f32.
    pub(crate) fn plain(&self) -> (Tensor<2>, Option<Tensor<1>>) {
        let Stored { inner, columns, .. } = self.weight;
        let weight = flex::rows(self.weight.values(), &[columns, inner]);
        let bias = self.bias.clone().map(|bias| flex::give(flex::rows(bias, &[columns])));
        (flex::give(weight), bias)
    }

    /// `finish(x Wᵀ + b) + residual`
    ///
    /// # Errors
    ///
    /// `x`, where it or the residual is not f32 on the CPU backend.
    pub(crate) fn forward<const D: usize>(
        &self,
        x: Tensor<D>,
        finish: Finish,
        residual: Option<Tensor<D>>,
    ) -> Result<Tensor<D>, Tensor<D>> {
        let mut shape = x.dims().to_vec();
        let x = flex::in_order(flex::take(x)?);
        let Ok(residual) = residual.map(flex::take).transpose() else {
            return Err(flex::give(x));
        };
        let residual = residual.map(flex::in_order);
        if let Some(last) = shape.last_mut() {
            *last = self.weight.columns;
        }
        let mut out = flex::unwritten(shape.iter().product());
        let epilogue = Epilogue {
            bias: self.bias.as_deref(),
            residual: residual.as_ref().map(flex::elements),
            finish,
        };
        let weight = Factor::Stored(&self.weight);
        gemm::multiply(Level::best(), flex::elements(&x), weight, &mut out, epilogue);
        Ok(flex::give(flex::rows(out, &shape)))
    }
}

/// A convolution's weight.
#[derive(Debug, Clone)]
pub(crate) struct StoredConvolution {
    weight: Stored,
    /// Zeros where there is none.
    bias: Vec<f32>,
    has_bias: bool,
    kernel: Kernel,
}

impl StoredConvolution {
    /// Takes a weight `[outputs, inputs, side, side]` and a bias `[outputs]`.
    ///
    /// `None` where the weight is of another type than f32, f16 and bf16, or the bias not f32 on
    /// the CPU backend.
    pub(crate) fn new(
        weight: &StoredTensor,
        bias: Option<&Tensor<1>>,
        kernel: Kernel,
        precision: Precision,
    ) -> Option<Self> {
        let bias = bias.cloned().map(numbers).transpose().ok()?;
        let weight = Stored::new(weight, precision)?;
        let has_bias = bias.is_some();
        let bias = bias.unwrap_or_else(|| vec![0.0; weight.columns]);
        Some(Self { weight, bias, has_bias, kernel })
    }

    /// Weight and bias in f32.
    pub(crate) fn plain(&self) -> (Tensor<4>, Option<Tensor<1>>) {
        let Stored { inner, columns, .. } = self.weight;
        let side = self.kernel.size;
        let shape = [columns, inner / (side * side).max(1), side, side];
        let bias = flex::rows(self.bias.clone(), &[columns]);
        let bias = self.has_bias.then(|| flex::give(bias));
        (flex::give(flex::rows(self.weight.values(), &shape)), bias)
    }

    /// `convolution(x) + shift + residual`; the shift, `[batch, outputs]`, is that of a sample.
    ///
    /// # Errors
    ///
    /// `x`, where it or what is added is not f32 on the CPU backend.
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        shift: Option<Tensor<2>>,
        residual: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, Tensor<4>> {
        let x = flex::channels_last(flex::take(x)?);
        let (Ok(shift), Ok(residual)) =
            (shift.map(flex::take).transpose(), residual.map(flex::take).transpose())
        else {
            return Err(flex::give(x));
        };
        let size = flex::map_size(&x);
        let columns = self.weight.columns;
        let result = convolution::result_size(size, self.kernel, columns);
        let residual = residual.map(flex::channels_last);
        let shifted = shift.map(flex::in_order).map(|shift| {
            let bias = self.bias.iter().cycle();
            flex::elements(&shift).iter().zip(bias).map(|(shift, bias)| shift + bias).collect()
        });
        let bias: &Vec<f32> = shifted.as_ref().unwrap_or(&self.bias);
        let additions = Additions {
            bias,
            bias_batch: bias.len() / columns.max(1),
            residual: residual.as_ref().map(flex::elements),
        };
        let mut out = flex::unwritten(result.len());
        let method = Method::fastest(size, self.kernel, columns);
        let convolution = Convolution {
            x: flex::elements(&x),
            size,
            kernel: self.kernel,
            weight: &self.weight,
            additions,
        };
        convolution::convolve(Level::best(), method, convolution, &mut out);
        Ok(flex::give(flex::map(out, result)))
    }
}

/// Factor and summand of each channel.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    /// Takes a weight and a bias `[channels]`.
    ///
    /// `None` where they are not f32 on the CPU backend.
    pub(crate) fn new(weight: &Tensor<1>, bias: &Tensor<1>) -> Option<Self> {
        let weight = numbers(weight.clone()).ok()?;
        let bias = numbers(bias.clone()).ok()?;
        Some(Self { weight, bias })
    }

    /// Group normalisation, followed by a function.
    ///
    /// # Errors
    ///
    /// `x`, where it is not f32 on the CPU backend.
    pub(crate) fn group_norm(
        &self,
        x: Tensor<4>,
        groups: usize,
        epsilon: f64,
        finish: Finish,
    ) -> Result<Tensor<4>, Tensor<4>> {
        let mut x = flex::channels_last(flex::take(x)?);
        let size = flex::map_size(&x);
        let norm =
            GroupNormalisation { groups, epsilon, weight: &self.weight, bias: &self.bias, finish };
        if let Some(place) = flex::own(&mut x) {
            norm::group_norm(Level::best(), place.as_ptr(), size, norm, place);
            return Ok(flex::give(x));
        }
        let mut out = flex::unwritten(size.len());
        norm::group_norm(Level::best(), flex::elements(&x).as_ptr(), size, norm, &mut out);
        Ok(flex::give(flex::map(out, size)))
    }

    /// Layer normalisation over the last dimension.
    ///
    /// # Errors
    ///
    /// `x`, where it is not f32 on the CPU backend.
    pub(crate) fn layer_norm<const D: usize>(
        &self,
        x: Tensor<D>,
        epsilon: f64,
    ) -> Result<Tensor<D>, Tensor<D>> {
        let shape = x.dims();
        let x = flex::in_order(flex::take(x)?);
        let mut out = flex::unwritten(shape.iter().product());
        let from = flex::elements(&x);
        norm::layer_norm(Level::best(), from, &self.weight, &self.bias, epsilon, &mut out);
        Ok(flex::give(flex::rows(out, &shape)))
    }
}

/// Applies a function to each element.
///
/// # Errors
///
/// `x`, where it is not f32 on the CPU backend.
pub(crate) fn activate<const D: usize>(
    x: Tensor<D>,
    function: Finish,
) -> Result<Tensor<D>, Tensor<D>> {
    let mut x = dense(flex::take(x)?);
    if let Some(place) = flex::own(&mut x) {
        elementwise::activate(Level::best(), function, place.as_ptr(), place);
        return Ok(flex::give(x));
    }
    let from = flex::elements(&x);
    let mut out = flex::unwritten(from.len());
    elementwise::activate(Level::best(), function, from.as_ptr(), &mut out);
    Ok(flex::give(like(out, &x)))
}

/// `x + y` of two tensors of one shape.
///
/// # Errors
///
/// Both, where they are not f32 on the CPU backend.
pub(crate) fn add<const D: usize>(
    x: Tensor<D>,
    y: Tensor<D>,
) -> Result<Tensor<D>, (Tensor<D>, Tensor<D>)> {
    if x.dims() != y.dims() {
        return Err((x, y));
    }
    let x = match flex::take(x) {
        Ok(x) => x,
        Err(x) => return Err((x, y)),
    };
    let y = match flex::take(y) {
        Ok(y) => y,
        Err(y) => return Err((flex::give(x), y)),
    };
    let (mut x, mut y) = same_order(x, y);
    if let Some(place) = flex::own(&mut x) {
        elementwise::add(Level::best(), flex::elements(&y), place);
        return Ok(flex::give(x));
    }
    if let Some(place) = flex::own(&mut y) {
        elementwise::add(Level::best(), flex::elements(&x), place);
        return Ok(flex::give(y));
    }
    let mut out = flex::unwritten(flex::elements(&x).len());
    elementwise::sum(Level::best(), flex::elements(&x), flex::elements(&y), &mut out);
    Ok(flex::give(like(out, &x)))
}

/// `h · gelu(g)` of the two halves `[h, g]` of the last dimension.
///
/// # Errors
///
/// `x`, where it is not f32 on the CPU backend.
pub(crate) fn geglu(x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let [batch, tokens, channels] = x.dims();
    let width = channels / 2;
    let x = flex::in_order(flex::take(x)?);
    let mut out = flex::unwritten(batch * tokens * width);
    elementwise::geglu(Level::best(), flex::elements(&x), width, &mut out);
    Ok(flex::give(flex::rows(out, &[batch, tokens, width])))
}

/// Attention of rows of `heads` heads; see [`crate::attention::multi_head_attention`].
///
/// # Errors
///
/// All three, where they are not f32 on the CPU backend.
pub(crate) fn attend(
    [query, key, value]: [Tensor<3>; 3],
    heads: usize,
    causal: bool,
) -> Result<Tensor<3>, [Tensor<3>; 3]> {
    let [batch, queries, channels] = query.dims();
    let keys = key.dims()[1];
    let query = match flex::take(query) {
        Ok(query) => flex::in_order(query),
        Err(query) => return Err([query, key, value]),
    };
    let key = match flex::take(key) {
        Ok(key) => flex::in_order(key),
        Err(key) => return Err([flex::give(query), key, value]),
    };
    let value = match flex::take(value) {
        Ok(value) => flex::in_order(value),
        Err(value) => return Err([flex::give(query), flex::give(key), value]),
    };
    let size = AttentionSize { batch, heads, width: channels / heads, queries, keys, causal };
    let mut out = flex::unwritten(batch * queries * channels);
    let [query, key, value] =
        [&query, &key, &value].map(|x| Rows { data: flex::elements(x), stride: channels });
    attention::attend(Level::best(), size, query, key, value, &mut out);
    Ok(flex::give(flex::rows(out, &[batch, queries, channels])))
}

/// The pixels of a feature map as tokens, `[batch, height · width, channels]`.
///
/// # Errors
///
/// `x`, where it is not f32 on the CPU backend.
pub(crate) fn tokens(x: Tensor<4>) -> Result<Tensor<3>, Tensor<4>> {
    let x = flex::channels_last(flex::take(x)?);
    let MapSize { batch, height, width, channels } = flex::map_size(&x);
    let strides = [height * width * channels, channels, 1].map(|stride| stride as isize);
    let layout = Layout::new(
        Shape::from([batch, height * width, channels]),
        strides.to_vec(),
        x.layout().start_offset(),
    );
    Ok(flex::give(x.with_layout(layout)))
}

/// The feature map `[batch, channels, height, width]` whose pixels are tokens.
///
/// # Errors
///
/// `x`, where it is not f32 on the CPU backend.
pub(crate) fn feature_map(
    x: Tensor<3>,
    [height, width]: [usize; 2],
) -> Result<Tensor<4>, Tensor<3>> {
    let [batch, _, channels] = x.dims();
    let x = flex::in_order(flex::take(x)?);
    let layout = flex::map_layout(MapSize { batch, height, width, channels });
    let start = x.layout().start_offset();
    let layout = Layout::new(layout.shape().clone(), layout.strides().to_vec(), start);
    Ok(flex::give(x.with_layout(layout)))
}

/// Two feature maps beside each other, along the channels.
///
/// # Errors
///
/// Both, where they are not f32 on the CPU backend.
pub(crate) fn cat_channels(
    x: Tensor<4>,
    y: Tensor<4>,
) -> Result<Tensor<4>, (Tensor<4>, Tensor<4>)> {
    let x = match flex::take(x) {
        Ok(x) => x,
        Err(x) => return Err((x, y)),
    };
    let y = match flex::take(y) {
        Ok(y) => y,
        Err(y) => return Err((flex::give(x), y)),
    };
    let (x, y) = (flex::channels_last(x), flex::channels_last(y));
    let size = flex::map_size(&x);
    let (first, second) = (size.channels, flex::map_size(&y).channels);
    let size = MapSize { channels: first + second, ..size };
    let mut out = flex::unwritten(size.len());
    elementwise::beside(flex::elements(&x), first, flex::elements(&y), second, &mut out);
    Ok(flex::give(flex::map(out, size)))
}

/// The nearest pixel of `x` for each of `size`, `[height, width]`.
///
/// # Errors
///
/// `x`, where it is not f32 on the CPU backend.
pub(crate) fn nearest(x: Tensor<4>, [height, width]: [usize; 2]) -> Result<Tensor<4>, Tensor<4>> {
    let x = flex::channels_last(flex::take(x)?);
    let size = flex::map_size(&x);
    let result = MapSize { height, width, ..size };
    let mut out = flex::unwritten(result.len());
    elementwise::nearest(flex::elements(&x), size, result, &mut out);
    Ok(flex::give(flex::map(out, result)))
}

fn numbers(x: Tensor<1>) -> Result<Vec<f32>, Tensor<1>> {
    flex::take(x).map(|x| flex::elements(&flex::in_order(x)).to_vec())
}

/// A tensor without gaps: a feature map stays channels last.
fn dense(x: FlexTensor) -> FlexTensor {
    if x.layout().num_dims() == 4 && flex::is_channels_last(&x) { x } else { flex::in_order(x) }
}

/// Two tensors of one shape, whose elements are in one order.
fn same_order(x: FlexTensor, y: FlexTensor) -> (FlexTensor, FlexTensor) {
    if x.layout().num_dims() == 4 && (flex::is_channels_last(&x) || flex::is_channels_last(&y)) {
        (flex::channels_last(x), flex::channels_last(y))
    } else {
        (flex::in_order(x), flex::in_order(y))
    }
}

/// A tensor of the layout of a [`dense`] one.
fn like(values: Vec<f32>, x: &FlexTensor) -> FlexTensor {
    let layout = x.layout();
    let layout = Layout::new(layout.shape().clone(), layout.strides().to_vec(), 0);
    FlexTensor::new(burn::tensor::Bytes::from_elems(values), layout, DType::F32)
}
