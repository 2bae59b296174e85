//! Sums of tensors, and what a model's output says about the image and the noise.

use burn::tensor::Tensor;

use super::config::PredictionType;

/// The sum of tensors, each times its weight.
///
/// Terms of weight zero are left out: they cost time, and a zero does not silence an infinity.
///
/// # Panics
///
/// If there are no terms.
pub(super) fn weighted_sum(terms: impl IntoIterator<Item = (f64, Tensor<4>)>) -> Tensor<4> {
    let mut sum: Option<Tensor<4>> = None;
    let mut shape = None;
    for (weight, tensor) in terms {
        if weight == 0.0 {
            shape = Some(tensor);
            continue;
        }
        let term = if weight == 1.0 { tensor } else { tensor.mul_scalar(weight) };
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    match (sum, shape) {
        (Some(sum), _) => sum,
        (None, Some(tensor)) => tensor.zeros_like(),
        (None, None) => unreachable!("a sum of no tensors has no shape"),
    }
}

/// An image whose values lie between `-range` and `range`, where there is one.
pub(super) fn clamped(image: Tensor<4>, range: Option<f64>) -> Tensor<4> {
    match range {
        Some(range) => image.clamp(-range, range),
        None => image,
    }
}

/// A sum of the noisy sample and the model's output, as their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mixture {
    /// The weight of the sample.
    pub(super) sample: f64,
    /// The weight of the model's output.
    pub(super) model_output: f64,
}

impl Mixture {
    /// The sum of two mixtures, each times its weight.
    pub(super) fn combine(terms: [(f64, Self); 2]) -> Self {
        let sum = |part: fn(&Self) -> f64| {
            terms
                .iter()
                .filter(|(weight, _)| *weight != 0.0)
                .map(|(weight, mixture)| weight * part(mixture))
                .sum()
        };
        Self { sample: sum(|mixture| mixture.sample), model_output: sum(|m| m.model_output) }
    }

    /// The mixture's value.
    pub(super) fn of(self, sample: Tensor<4>, model_output: Tensor<4>) -> Tensor<4> {
        weighted_sum([(self.sample, sample), (self.model_output, model_output)])
    }
}

impl PredictionType {
    /// The denoised image, where the sample is `alpha` times the image plus `sigma` times noise
    /// and `alpha² + sigma² = 1`.
    pub(super) fn original(self, alpha: f64, sigma: f64) -> Mixture {
        match self {
            Self::Epsilon => Mixture { sample: 1.0 / alpha, model_output: -sigma / alpha },
            Self::VPrediction => Mixture { sample: alpha, model_output: -sigma },
            Self::Sample => Mixture { sample: 0.0, model_output: 1.0 },
        }
    }

    /// The noise, where the sample is as for [`original`](Self::original).
    pub(super) fn noise(self, alpha: f64, sigma: f64) -> Mixture {
        match self {
            Self::Epsilon => Mixture { sample: 0.0, model_output: 1.0 },
            Self::VPrediction => Mixture { sample: sigma, model_output: alpha },
            Self::Sample => Mixture { sample: 1.0 / sigma, model_output: -alpha / sigma },
        }
    }

    /// The denoised image, where the sample is the image plus `sigma` times noise.
    pub(super) fn original_at_sigma(self, sigma: f64) -> Mixture {
        let variance = sigma * sigma + 1.0;
        match self {
            Self::Epsilon => Mixture { sample: 1.0, model_output: -sigma },
            Self::VPrediction => {
                Mixture { sample: 1.0 / variance, model_output: -sigma / variance.sqrt() }
            }
            Self::Sample => Mixture { sample: 0.0, model_output: 1.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a perfect model gives for one image value and one noise value.
    fn output(prediction: PredictionType, image: f64, noise: f64, alpha: f64, sigma: f64) -> f64 {
        match prediction {
            PredictionType::Epsilon => noise,
            PredictionType::VPrediction => alpha * noise - sigma * image,
            PredictionType::Sample => image,
        }
    }

    #[test]
    fn a_perfect_model_is_understood() {
        let (image, noise, alpha, sigma) = (0.7, -1.3, 0.8, 0.6);
        let sample = alpha * image + sigma * noise;
        for prediction in
            [PredictionType::Epsilon, PredictionType::VPrediction, PredictionType::Sample]
        {
            let output = output(prediction, image, noise, alpha, sigma);
            let value = |mixture: Mixture, sample: f64| {
                mixture.sample * sample + mixture.model_output * output
            };
            assert!((value(prediction.original(alpha, sigma), sample) - image).abs() < 1e-12);
            assert!((value(prediction.noise(alpha, sigma), sample) - noise).abs() < 1e-12);
            let original = prediction.original_at_sigma(sigma / alpha);
            assert!((value(original, sample / alpha) - image).abs() < 1e-12);
        }
    }
}
