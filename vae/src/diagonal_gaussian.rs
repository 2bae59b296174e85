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
