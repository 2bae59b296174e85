//! Weights without a file.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use emberbrush_layers::{
    stored_tensor::StoredTensor,
    weights::{WeightError, WeightSource},
};

/// Tensors of numbers between -1 and 1 that are the same in each run.
pub(crate) struct RandomWeights(BTreeMap<&'static str, StoredTensor>);

impl RandomWeights {
    /// `weight` of a shape, and `bias` of its first dimension, stored in a type.
    pub(crate) fn new(weight: &[usize], dtype: DType) -> Self {
        let bias = &weight[..1];
        let stored = |shape: &[usize], seed| {
            let data = TensorData::new(numbers(shape.iter().product(), seed), shape.to_vec());
            StoredTensor::from(data.convert_dtype(dtype))
        };
        Self(BTreeMap::from([("weight", stored(weight, 1)), ("bias", stored(bias, 2))]))
    }
}

impl WeightSource for RandomWeights {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.0.get(key).map(|tensor| tensor.shape().to_vec())
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.stored(key)?.copied().ok_or_else(|| WeightError::Config(format!("{key}: no tensor")))
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        self.0
            .get(key)
            .cloned()
            .ok_or_else(|| WeightError::Config(format!("{key}: no such tensor")))
    }

    fn origin(&self) -> String {
        "random weights".to_owned()
    }
}

/// A tensor on the CPU, of numbers between -1 and 1.
pub(crate) fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), 3), shape), &Device::flex())
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        })
        .collect()
}
