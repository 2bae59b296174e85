//! The terms of the solution of the diffusion equation over a step (Lu et al., arXiv:2206.00927,
//! proposition 3.1, and arXiv:2211.01095, proposition 4.1).

use super::{config::AlgorithmType, noise_level::alpha_sigma};

/// The factors of the solution's terms, in the logarithm of alpha over sigma over a step of `h`.
pub(super) struct Terms {
    pub(super) sample: f64,
    /// Of the latest prediction.
    pub(super) prediction: f64,
    /// Of its first difference in the midpoint method of second order.
    pub(super) midpoint: f64,
    /// Of its first difference otherwise.
    pub(super) first: f64,
    /// Of its second difference.
    pub(super) second: f64,
    pub(super) noise: f64,
}

impl Terms {
    /// The factors of a step from the sigma `current` to the sigma `next`.
    pub(super) fn new(algorithm: AlgorithmType, current: f64, next: f64, h: f64) -> Self {
        let (alpha, sigma) = alpha_sigma(next);
        let (current_alpha, current_sigma) = alpha_sigma(current);
        match algorithm {
            AlgorithmType::DpmsolverPlusPlus => {
                let decay = (-h).exp_m1();
                Self {
                    sample: sigma / current_sigma,
                    prediction: -alpha * decay,
                    midpoint: -0.5 * alpha * decay,
                    first: alpha * (decay / h + 1.0),
                    second: -alpha * ((decay + h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::Dpmsolver => {
                let growth = h.exp_m1();
                Self {
                    sample: alpha / current_alpha,
                    prediction: -sigma * growth,
                    midpoint: -0.5 * sigma * growth,
                    first: -sigma * (growth / h - 1.0),
                    second: -sigma * ((growth - h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::SdeDpmsolverPlusPlus => {
                let twice = 2.0 * h;
                let decay = -(-twice).exp_m1();
                Self {
                    sample: sigma / current_sigma * (-h).exp(),
                    prediction: alpha * decay,
                    midpoint: 0.5 * alpha * decay,
                    first: alpha * (1.0 - decay / twice),
                    second: alpha * ((decay - twice) / (twice * twice) - 0.5),
                    noise: sigma * decay.sqrt(),
                }
            }
            AlgorithmType::SdeDpmsolver => {
                let growth = h.exp_m1();
                Self {
                    sample: alpha / current_alpha,
                    prediction: -2.0 * sigma * growth,
                    midpoint: -sigma * growth,
                    first: -2.0 * sigma * (growth / h - 1.0),
                    second: 0.0,
                    noise: sigma * (2.0 * h).exp_m1().sqrt(),
                }
            }
        }
    }
}
