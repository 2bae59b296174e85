//! How much noise a sample holds.

use burn::tensor::Tensor;

use super::{
    config::PredictionType,
    prediction::{Mixture, weighted_sum},
};

/// How much noise a sample holds, in one of the two scales that samplers count in (Song et al.,
/// arXiv:2011.13456, section 3.4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NoiseLevel {
    /// `alpha · image + sigma · noise`, where `alpha² + sigma² = 1`.
    VariancePreserving { alpha: f64, sigma: f64 },
    /// `image + sigma · noise`; the model sees it scaled to unit variance.
    VarianceExploding { sigma: f64 },
}

impl NoiseLevel {
    /// The level of a training timestep, variance preserving.
    pub(super) fn from_alpha_cumprod(alpha_cumprod: f64) -> Self {
        Self::VariancePreserving {
            alpha: alpha_cumprod.sqrt(),
            sigma: (1.0 - alpha_cumprod).sqrt(),
        }
    }

    /// The variance preserving level at which noise is `sigma` times the image.
    pub(super) fn preserving(sigma: f64) -> Self {
        let (alpha, sigma) = alpha_sigma(sigma);
        Self::VariancePreserving { alpha, sigma }
    }

    /// The noise relative to the image; infinite where there is no image.
    pub(super) fn sigma(self) -> f64 {
        match self {
            Self::VariancePreserving { alpha, sigma } => sigma / alpha,
            Self::VarianceExploding { sigma } => sigma,
        }
    }

    /// What brings a sample to the scale that the model was trained with.
    pub(super) fn model_input(self, sample: Tensor<4>) -> Tensor<4> {
        match self {
            Self::VariancePreserving { .. } => sample,
            Self::VarianceExploding { sigma } => {
                sample.mul_scalar(1.0 / (sigma * sigma + 1.0).sqrt())
            }
        }
    }

    /// An image with noise of this level.
    pub(super) fn add_noise(self, original: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        match self {
            Self::VariancePreserving { alpha, sigma } => {
                weighted_sum([(alpha, original), (sigma, noise)])
            }
            Self::VarianceExploding { sigma } => weighted_sum([(1.0, original), (sigma, noise)]),
        }
    }

    /// The noise, as a mixture of a sample of this level and the model's output: where the
    /// variance explodes, the derivative of the sample by sigma.
    pub(super) fn noise(self, prediction: PredictionType) -> Mixture {
        match self {
            Self::VariancePreserving { alpha, sigma } => prediction.noise(alpha, sigma),
            Self::VarianceExploding { sigma } => {
                let original = prediction.original_at_sigma(sigma);
                Mixture {
                    sample: (1.0 - original.sample) / sigma,
                    model_output: -original.model_output / sigma,
                }
            }
        }
    }

    /// The image without noise, as a mixture of a sample of this level and the model's output.
    pub(super) fn original(self, prediction: PredictionType) -> Mixture {
        match self {
            Self::VariancePreserving { alpha, sigma } => prediction.original(alpha, sigma),
            Self::VarianceExploding { sigma } => prediction.original_at_sigma(sigma),
        }
    }
}

/// The shares of image and noise, of unit variance together, where noise is `sigma` times the
/// image.
pub(super) fn alpha_sigma(sigma: f64) -> (f64, f64) {
    let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
    (alpha, sigma * alpha)
}
