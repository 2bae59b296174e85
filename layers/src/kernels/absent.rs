//! The kernels of a build without the CPU backend: there are none, and every tensor is given back.

use burn::tensor::{Device, Tensor};

use super::{Finish, Precision};
use crate::{conv::Kernel, stored_tensor::StoredTensor};

type Pair<const D: usize> = (Tensor<D>, Tensor<D>);

pub(crate) fn run_on(_device: &Device) -> bool {
    false
}

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum StoredLinear {}

impl StoredLinear {
    pub(crate) fn new(
        _weight: &StoredTensor,
        _bias: Option<&Tensor<1>>,
        _precision: Precision,
    ) -> Option<Self> {
        None
    }

    pub(crate) fn plain(&self) -> (Tensor<2>, Option<Tensor<1>>) {
        match *self {}
    }

    pub(crate) fn forward<const D: usize>(
        &self,
        _x: Tensor<D>,
        _finish: Finish,
        _residual: Option<Tensor<D>>,
    ) -> Result<Tensor<D>, Tensor<D>> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum StoredConvolution {}

impl StoredConvolution {
    pub(crate) fn new(
        _weight: &StoredTensor,
        _bias: Option<&Tensor<1>>,
        _kernel: Kernel,
        _precision: Precision,
    ) -> Option<Self> {
        None
    }

    pub(crate) fn plain(&self) -> (Tensor<4>, Option<Tensor<1>>) {
        match *self {}
    }

    pub(crate) fn forward(
        &self,
        _x: Tensor<4>,
        _shift: Option<Tensor<2>>,
        _residual: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, Tensor<4>> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum Affine {}

impl Affine {
    pub(crate) fn new(_weight: &Tensor<1>, _bias: &Tensor<1>) -> Option<Self> {
        None
    }

    pub(crate) fn group_norm(
        &self,
        _x: Tensor<4>,
        _groups: usize,
        _epsilon: f64,
        _finish: Finish,
    ) -> Result<Tensor<4>, Tensor<4>> {
        match *self {}
    }

    pub(crate) fn layer_norm<const D: usize>(
        &self,
        _x: Tensor<D>,
        _epsilon: f64,
    ) -> Result<Tensor<D>, Tensor<D>> {
        match *self {}
    }
}

pub(crate) fn activate<const D: usize>(
    x: Tensor<D>,
    _function: Finish,
) -> Result<Tensor<D>, Tensor<D>> {
    Err(x)
}

pub(crate) fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Result<Tensor<D>, Pair<D>> {
    Err((x, y))
}

pub(crate) fn geglu(x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    Err(x)
}

pub(crate) fn attend(
    tensors: [Tensor<3>; 3],
    _heads: usize,
    _causal: bool,
) -> Result<Tensor<3>, [Tensor<3>; 3]> {
    Err(tensors)
}

pub(crate) fn tokens(x: Tensor<4>) -> Result<Tensor<3>, Tensor<4>> {
    Err(x)
}

pub(crate) fn feature_map(x: Tensor<3>, _size: [usize; 2]) -> Result<Tensor<4>, Tensor<3>> {
    Err(x)
}

pub(crate) fn cat_channels(x: Tensor<4>, y: Tensor<4>) -> Result<Tensor<4>, Pair<4>> {
    Err((x, y))
}

pub(crate) fn nearest(x: Tensor<4>, _size: [usize; 2]) -> Result<Tensor<4>, Tensor<4>> {
    Err(x)
}
