//! Soft inpainting: greys of a mask mix the picture into what the model predicts
//! (A1111 `extensions-builtin/soft-inpainting/scripts/soft_inpainting.py`).

use burn::tensor::Tensor;

/// How much greys of a mask hold on to the picture. The defaults are A1111's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftInpainting {
    /// Exponent of sigma: above 1 the picture is held earlier, below 1 later.
    pub schedule_bias: f64,
    /// How strongly greys hold; 0 holds nothing.
    pub preservation_strength: f64,
    /// From 1: how much the larger of two magnitudes counts where they mix. Mixtures of unlike
    /// latents are shorter than either, and decode to mist.
    pub transition_contrast_boost: f64,
}

impl Default for SoftInpainting {
    fn default() -> Self {
        Self { schedule_bias: 1.0, preservation_strength: 0.5, transition_contrast_boost: 4.0 }
    }
}

impl SoftInpainting {
    /// The share of what the model predicts at noise level `sigma`: `mask^(σ^bias · strength)`. The
    /// less noise, the freer a grey; 0 is never free (`get_modified_nmask`).
    ///
    /// # Shapes
    ///
    /// - mask and output: `[1, 1, height, width]`, from 0 (keep) to 1 (repaint)
    pub fn weight(&self, mask: Tensor<4>, sigma: f64) -> Tensor<4> {
        let exponent = sigma.powf(self.schedule_bias) * self.preservation_strength;
        // 0 to the power of 0 would be 1.
        let kept = mask.clone().lower_equal_elem(0.0);
        mask.powf_scalar(exponent).mask_fill(kept, 0.0)
    }

    /// `known · (1 − weight) + predicted · weight`, each vector of channels brought to the mean of
    /// both magnitudes with the boost as its exponent (`latent_blend`).
    ///
    /// # Shapes
    ///
    /// - known, predicted and output: `[1, channels, height, width]`
    /// - weight: `[1, 1, height, width]`
    pub fn blend(&self, known: Tensor<4>, predicted: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        let magnitude = |latents: &Tensor<4>| latents.clone().square().sum_dim(1).sqrt();
        let rest = weight.clone().neg() + 1.0;
        let mixed = known.clone() * rest.clone() + predicted.clone() * weight.clone();
        let (one, other) = (magnitude(&known), magnitude(&predicted));
        // Powers of shares of the larger one stay in range, whatever the exponent.
        let largest = one.clone().max_pair(other.clone()).clamp_min(1e-12);
        let boost = self.transition_contrast_boost;
        let power = |magnitude: Tensor<4>| (magnitude / largest.clone()).powf_scalar(boost);
        let mean = (power(one) * rest + power(other) * weight).powf_scalar(1.0 / boost);
        let wanted = mean * largest.clone();
        let scale = wanted / (magnitude(&mixed) + 1e-5);
        mixed * scale
    }
}
