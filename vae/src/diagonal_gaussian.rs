//! What the encoder gives.

use burn::tensor::Tensor;

/// Independent normal distributions of the latents (diffusers `models/autoencoders/vae.py`,
/// `DiagonalGaussianDistribution`).
#[derive(Debug, Clone)]
pub struct DiagonalGaussian {
    /// Means, `[batch, latent_channels, height, width]`.
    pub mean: Tensor<4>,
    /// Logarithms of the variances, from -30 to 20, of the same shape.
    pub logvar: Tensor<4>,
}

impl DiagonalGaussian {
    /// # Shapes
    ///
    /// - moments: `[batch, 2 · latent_channels, height, width]`, means before logarithms
    pub(crate) fn new(moments: Tensor<4>) -> Self {
        let channels = moments.dims()[1] / 2;
        Self {
            mean: moments.clone().narrow(1, 0, channels),
            logvar: moments.narrow(1, channels, channels).clamp(-30.0, 20.0),
        }
    }

    /// Standard deviations.
    pub fn std(&self) -> Tensor<4> {
        (self.logvar.clone() * 0.5).exp()
    }

    /// The sample that standard-normal `noise` of the mean's shape stands for.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.std() * noise
    }

    /// The most likely latents.
    pub fn mode(&self) -> Tensor<4> {
        self.mean.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn variances_are_kept_within_what_can_be_sampled() {
        let moments = Tensor::<1>::from_data([1.0_f32, 2.0, 90.0, -90.0], &Device::flex());
        let posterior = DiagonalGaussian::new(moments.reshape([1, 4, 1, 1]));
        let values = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(posterior.mode()), [1.0, 2.0]);
        assert_eq!(values(posterior.logvar.clone()), [20.0, -30.0]);
        assert_eq!(values(posterior.std()), [10_f32.exp(), (-15_f32).exp()]);
    }
}
