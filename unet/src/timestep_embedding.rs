//! From timesteps to vectors.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use emberbrush_layers::{
    activation::Activation,
    linear::Linear,
    weights::{WeightError, Weights},
};

/// Sines and cosines of a number at geometrically spaced frequencies (Vaswani et al. 2017,
/// section 3.5; diffusers `models/embeddings.py`, `get_timestep_embedding`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timesteps {
    /// Width of the embedding of one number.
    pub dim: usize,
    /// Whether cosines come first.
    pub flip_sin_to_cos: bool,
    /// What is subtracted from the number of frequencies in the exponent's denominator; must be
    /// below `dim / 2`.
    pub freq_shift: f64,
}

impl Timesteps {
    /// Embeds each number, one row of `dim` values after the other.
    ///
    /// Numbers need not be whole. The arithmetic is in f32, as it was when the networks were
    /// trained.
    pub fn values(&self, numbers: &[f64]) -> Vec<f32> {
        let half = self.dim / 2;
        let step = -(10_000_f64.ln() as f32);
        let denominator = (half as f64 - self.freq_shift) as f32;
        let frequencies =
            (0..half).map(|i| (step * i as f32 / denominator).exp()).collect::<Vec<_>>();
        let mut values = Vec::with_capacity(numbers.len() * self.dim);
        for &number in numbers {
            let angles = frequencies.iter().map(|frequency| number as f32 * frequency);
            if self.flip_sin_to_cos {
                values.extend(angles.clone().map(f32::cos));
                values.extend(angles.map(f32::sin));
            } else {
                values.extend(angles.clone().map(f32::sin));
                values.extend(angles.map(f32::cos));
            }
            values.resize(values.len() + self.dim % 2, 0.0);
        }
        values
    }

    /// [`Timesteps::values`] on a device.
    ///
    /// # Shapes
    ///
    /// - output: `[numbers, dim]`
    pub fn forward(&self, numbers: &[f64], device: &Device, dtype: FloatDType) -> Tensor<2> {
        let data = TensorData::new(self.values(numbers), [numbers.len(), self.dim]);
        Tensor::<2>::from_data(data, (device, DType::F32)).cast(dtype)
    }
}

/// Two linear layers with an activation between them (diffusers `models/embeddings.py`).
#[derive(Debug)]
pub(crate) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    cond_proj: Option<Linear>,
    activation: Activation,
}

impl TimestepEmbedding {
    /// Reads `linear_1`, `linear_2`, and `cond_proj` where a guidance embedding of width
    /// `condition` is added to the input.
    pub(crate) fn new(
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        activation: Activation,
        condition: Option<usize>,
    ) -> Result<Self, WeightError> {
        let cond_proj = condition
            .map(|width| Linear::without_bias(&weights.at("cond_proj"), width, inputs))
            .transpose()?;
        Ok(Self {
            linear_1: Linear::new(&weights.at("linear_1"), inputs, outputs)?,
            linear_2: Linear::new(&weights.at("linear_2"), outputs, outputs)?,
            cond_proj,
            activation,
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.linear_1.reload(&weights.at("linear_1"))?;
        self.linear_2.reload(&weights.at("linear_2"))?;
        match &mut self.cond_proj {
            Some(projection) => projection.reload(&weights.at("cond_proj")),
            None => Ok(()),
        }
    }

    /// # Shapes
    ///
    /// - x: `[batch, inputs]`
    /// - condition: `[batch, condition]`
    /// - output: `[batch, outputs]`
    pub(crate) fn forward(&self, x: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
        let x = match (&self.cond_proj, condition) {
            (Some(projection), Some(condition)) => x + projection.forward(condition),
            _ => x,
        };
        self.linear_2.forward(self.activation.forward(self.linear_1.forward(x)))
    }
}
