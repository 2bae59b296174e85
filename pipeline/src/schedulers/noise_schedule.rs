//! The noise levels of the training: betas, cumulative alphas and sigmas.

use std::f64::consts::FRAC_PI_2;

use super::{
    config::{BetaSchedule, SchedulerConfig},
    error::SchedulerError,
};

/// More noise levels than any training has; a limit on what a broken file can make us allocate.
const MOST_TIMESTEPS: usize = 1_000_000;

/// The noise levels of the training, from the least noise to the most.
///
/// The tables are computed in f32 and in torch's order of operations. Rounding `1 - beta` to f32
/// moves the smallest sigma by 4e-5, so tables of more exact numbers would give other images.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f32>,
}

impl NoiseSchedule {
    /// Computes the table from `trained_betas`, or from `beta_schedule`, `beta_start` and
    /// `beta_end`.
    ///
    /// `zero_snr` rescales it so that the last level is pure noise: `rescale_betas_zero_snr`
    /// for the classes that know that key.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::Config`] for a table that is too short, too long, or has betas outside
    /// `0 < beta <= 1`.
    pub fn new(config: &SchedulerConfig, zero_snr: bool) -> Result<Self, SchedulerError> {
        let count = config.train_timesteps();
        if !(2..=MOST_TIMESTEPS).contains(&count) {
            return Err(SchedulerError::Config {
                key: "num_train_timesteps",
                reason: format!("is {count}; it must be between 2 and {MOST_TIMESTEPS}"),
            });
        }
        let mut betas = betas(config, count)?;
        if let Some((index, beta)) =
            betas.iter().enumerate().find(|(_, beta)| !(**beta > 0.0 && **beta <= 1.0))
        {
            let key = if config.trained_betas.is_some() { "trained_betas" } else { "beta_start" };
            return Err(SchedulerError::Config {
                key,
                reason: format!(
                    "gives timestep {index} a beta of {beta}; betas must be above 0 and at most 1"
                ),
            });
        }
        if zero_snr {
            betas = rescale_zero_terminal_snr(&betas);
        }
        Ok(Self { alphas_cumprod: cumulative_alphas(&betas) })
    }

    /// The sigmas of the training's timesteps, as the classes that count in sigmas take them:
    /// finite where `rescale_betas_zero_snr` makes the last level pure noise.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new) and [`sigmas`](Self::sigmas).
    pub fn with_sigmas(config: &SchedulerConfig) -> Result<Vec<f64>, SchedulerError> {
        let zero_snr = config.rescale_betas_zero_snr.unwrap_or(false);
        let schedule = Self::new(config, zero_snr)?;
        if zero_snr { schedule.with_finite_sigmas().sigmas() } else { schedule.sigmas() }
    }

    /// The sigmas of the training's timesteps as A1111 has them, whatever the sampler: with
    /// `rescale_betas_zero_snr` the last cumulative alpha is raised to a number of its own
    /// (`modules/sd_models.py`, `rescale_zero_terminal_snr_abar`).
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new) and [`sigmas`](Self::sigmas).
    pub(super) fn with_a1111_sigmas(config: &SchedulerConfig) -> Result<Vec<f64>, SchedulerError> {
        let zero_snr = config.rescale_betas_zero_snr.unwrap_or(false);
        let mut schedule = Self::new(config, zero_snr)?;
        if let Some(last) = schedule.alphas_cumprod.last_mut().filter(|_| zero_snr) {
            *last = 4.897_345e-8;
        }
        schedule.sigmas()
    }

    /// Raises a last cumulative alpha of zero to 2⁻²⁴, so that its sigma is 4096 and not
    /// infinite, as the classes that work in sigmas do.
    #[must_use]
    pub fn with_finite_sigmas(mut self) -> Self {
        if let Some(last) = self.alphas_cumprod.last_mut() {
            *last = 2_f32.powi(-24);
        }
        self
    }

    /// The number of noise levels.
    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Whether there are no noise levels; never so.
    pub fn is_empty(&self) -> bool {
        self.alphas_cumprod.is_empty()
    }

    /// The product of `1 - beta` up to and including timestep `index`, between 0 and 1.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len).
    pub fn alpha_cumprod(&self, index: usize) -> f64 {
        f64::from(self.alphas_cumprod[index])
    }

    /// The standard deviation of the noise relative to the image, `sqrt((1 - ᾱ) / ᾱ)`, for each
    /// timestep.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::Config`] where a level has no noise or nothing of the image, or where
    /// two levels are the same: no interpolation could tell them apart.
    pub fn sigmas(&self) -> Result<Vec<f64>, SchedulerError> {
        let sigmas: Vec<f64> = self
            .alphas_cumprod
            .iter()
            .map(|&alpha| f64::from(((1.0 - alpha) / alpha).sqrt()))
            .collect();
        let usable = sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0)
            && sigmas.is_sorted_by(|less, more| less < more);
        if usable {
            Ok(sigmas)
        } else {
            Err(SchedulerError::Config {
                key: "beta_schedule",
                reason: "and its neighbours give noise levels that do not grow from above zero \
                         to a finite sigma"
                    .to_owned(),
            })
        }
    }
}

fn betas(config: &SchedulerConfig, count: usize) -> Result<Vec<f32>, SchedulerError> {
    if let Some(trained) = &config.trained_betas {
        if trained.len() != count {
            return Err(SchedulerError::Config {
                key: "trained_betas",
                reason: format!(
                    "has {} values, but `num_train_timesteps` is {count}",
                    trained.len()
                ),
            });
        }
        return Ok(trained.iter().map(|&beta| beta as f32).collect());
    }
    let start = config.beta_start.unwrap_or(0.0001);
    let end = config.beta_end.unwrap_or(0.02);
    Ok(match config.beta_schedule.unwrap_or_default() {
        BetaSchedule::Linear => linspace(start as f32, end as f32, count),
        BetaSchedule::ScaledLinear => linspace(start.sqrt() as f32, end.sqrt() as f32, count)
            .into_iter()
            .map(|root| root * root)
            .collect(),
        BetaSchedule::SquaredcosCapV2 => (0..count)
            .map(|index| {
                let alpha_bar = |index: usize| {
                    let time = index as f64 / count as f64;
                    ((time + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
                };
                (1.0 - alpha_bar(index + 1) / alpha_bar(index)).min(0.999) as f32
            })
            .collect(),
    })
}

/// `torch.linspace` in f32, which counts from the nearer end and rounds once a value.
fn linspace(start: f32, end: f32, count: usize) -> Vec<f32> {
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|index| {
            if index < count / 2 {
                step.mul_add(index as f32, start)
            } else {
                (-step).mul_add((count - 1 - index) as f32, end)
            }
        })
        .collect()
}

/// `torch.cumprod`, which accumulates f32 in f64.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    betas
        .iter()
        .scan(1.0_f64, |product, beta| {
            *product *= f64::from(1.0 - beta);
            Some(*product as f32)
        })
        .collect()
}

/// Shifts and scales the square roots of the cumulative alphas so that the last one is zero and
/// the first one stays (Lin et al., arXiv:2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumulative_alphas(betas).into_iter().map(f32::sqrt).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let mut previous = 1.0;
    roots
        .into_iter()
        .map(|root| {
            let scaled = (root - last) * scale;
            let alpha_bar = scaled * scaled;
            let beta = 1.0 - alpha_bar / previous;
            previous = alpha_bar;
            beta
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sigmas_of_stable_diffusion() {
        let config = SchedulerConfig {
            beta_start: Some(0.00085),
            beta_end: Some(0.012),
            beta_schedule: Some(BetaSchedule::ScaledLinear),
            ..SchedulerConfig::default()
        };
        let sigmas = NoiseSchedule::new(&config, false).unwrap().sigmas().unwrap();
        assert!((sigmas[0] - 0.0292).abs() < 1e-4, "{}", sigmas[0]);
        assert!((sigmas[999] - 14.614_647).abs() < 1e-5, "{}", sigmas[999]);
        assert!(sigmas.is_sorted());
        let zero_snr = NoiseSchedule::new(&config, true).unwrap();
        assert_eq!(zero_snr.alpha_cumprod(999), 0.0);
        assert!(zero_snr.sigmas().is_err());
        assert_eq!(zero_snr.with_finite_sigmas().sigmas().unwrap()[999].round(), 4096.0);
    }

    #[test]
    fn cosine_betas_are_capped() {
        let config = SchedulerConfig {
            beta_schedule: Some(BetaSchedule::SquaredcosCapV2),
            ..SchedulerConfig::default()
        };
        let betas = betas(&config, 1000).unwrap();
        assert!((betas[0] - 4.128_422e-5).abs() < 1e-10, "{}", betas[0]);
        assert!((betas[500] - 0.003_155_691).abs() < 1e-7, "{}", betas[500]);
        assert_eq!(betas[999], 0.999);
    }

    #[test]
    fn senseless_tables_are_refused() {
        let refused = |config: SchedulerConfig| {
            NoiseSchedule::new(&config, false).map(|_| ()).unwrap_err().to_string()
        };
        let default = SchedulerConfig::default;
        assert!(
            refused(SchedulerConfig { num_train_timesteps: Some(1), ..default() })
                .contains("num_train_timesteps")
        );
        assert!(
            refused(SchedulerConfig { num_train_timesteps: Some(usize::MAX), ..default() })
                .contains("num_train_timesteps")
        );
        assert!(
            refused(SchedulerConfig { trained_betas: Some(vec![0.1; 3]), ..default() })
                .contains("trained_betas")
        );
        assert!(refused(SchedulerConfig { beta_end: Some(-1.0), ..default() }).contains("beta"));
        assert!(
            refused(SchedulerConfig { beta_start: Some(f64::NAN), ..default() }).contains("NaN")
        );
    }
}
