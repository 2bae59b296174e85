//! How the sigmas of a run are spaced between its largest and its smallest.

use super::{
    beta_distribution, config::SchedulerConfig, error::SchedulerError, sampler::Schedule,
    timesteps::linspace,
};

/// Karras et al. find 7 best (arXiv:2206.00364, section 4).
const RHO: f64 = 7.0;

/// Both parameters of the beta distribution in Lee et al. (arXiv:2407.12173).
const BETA_SHAPE: f64 = 0.6;

/// How the sigmas of a run are spaced between its largest and its smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SigmaSpacing {
    /// At the sigmas of the timesteps.
    Timesteps,
    /// Evenly in the seventh root of sigma (arXiv:2206.00364, equation 5).
    Karras,
    /// Evenly in the logarithm of sigma.
    Exponential,
    /// By the quantiles of a beta distribution (arXiv:2407.12173).
    Beta,
    /// Evenly in the logarithm of sigma, at whole timesteps: `use_lu_lambdas`.
    Lu,
}

impl SigmaSpacing {
    /// The spacing that the person chose, or the one in the configuration.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::Config`] where the configuration asks for several.
    pub(super) fn choose(
        schedule: Schedule,
        config: &SchedulerConfig,
    ) -> Result<Self, SchedulerError> {
        if schedule == Schedule::Karras {
            return Ok(Self::Karras);
        }
        let asked = |key: Option<bool>| key.unwrap_or(false);
        let choices = [
            (asked(config.use_karras_sigmas), Self::Karras),
            (asked(config.use_exponential_sigmas), Self::Exponential),
            (asked(config.use_beta_sigmas), Self::Beta),
        ];
        let mut chosen = choices.into_iter().filter(|(asked, _)| *asked);
        match (chosen.next(), chosen.next()) {
            (Some(_), Some(_)) => Err(SchedulerError::Config {
                key: "use_karras_sigmas",
                reason: "and the keys of other sigmas are true; only one can be".to_owned(),
            }),
            (Some((_, spacing)), None) => Ok(spacing),
            (None, _) => Ok(Self::Timesteps),
        }
    }

    /// `steps` sigmas from `largest` down to `smallest`; `None` for [`Self::Timesteps`].
    pub(super) fn space(self, largest: f64, smallest: f64, steps: usize) -> Option<Vec<f64>> {
        match self {
            Self::Timesteps => None,
            Self::Karras => {
                let roots = linspace(largest.powf(1.0 / RHO), smallest.powf(1.0 / RHO), steps);
                Some(roots.into_iter().map(|root| root.powf(RHO)).collect())
            }
            Self::Exponential | Self::Lu => {
                let logarithms = linspace(largest.ln(), smallest.ln(), steps);
                Some(logarithms.into_iter().map(f64::exp).collect())
            }
            Self::Beta => {
                let probabilities = linspace(0.0, 1.0, steps);
                Some(
                    probabilities
                        .into_iter()
                        .map(|probability| {
                            let quantile = beta_distribution::quantile(
                                1.0 - probability,
                                BETA_SHAPE,
                                BETA_SHAPE,
                            );
                            smallest + quantile * (largest - smallest)
                        })
                        .collect(),
                )
            }
        }
    }
}

/// The range that `sigma_max` and `sigma_min` give, in place of `largest` and `smallest`.
///
/// # Errors
///
/// [`SchedulerError::Config`] for a range that is empty or not above zero.
pub(super) fn range(
    config: &SchedulerConfig,
    largest: f64,
    smallest: f64,
) -> Result<(f64, f64), SchedulerError> {
    let largest = config.sigma_max.unwrap_or(largest);
    let smallest = config.sigma_min.unwrap_or(smallest);
    if smallest > 0.0 && smallest <= largest && largest.is_finite() {
        Ok((largest, smallest))
    } else {
        Err(SchedulerError::Config {
            key: if config.sigma_min.is_some() { "sigma_min" } else { "sigma_max" },
            reason: format!("gives sigmas from {largest} down to {smallest}"),
        })
    }
}

/// The value of a table at a fractional index, between its neighbours; the ends are held.
pub(super) fn interpolate(table: &[f64], index: f64) -> f64 {
    let last = table.len() - 1;
    let index = index.clamp(0.0, last as f64);
    let low = (index as usize).min(last);
    let high = (low + 1).min(last);
    table[low] + (table[high] - table[low]) * (index - low as f64)
}

/// The fractional timestep of a sigma, between its neighbours in the logarithm of sigma.
pub(super) fn timestep_of(sigma: f64, sigmas: &[f64]) -> f64 {
    let low =
        sigmas.partition_point(|known| *known <= sigma).saturating_sub(1).min(sigmas.len() - 2);
    let (below, above) = (sigmas[low].ln(), sigmas[low + 1].ln());
    low as f64 + ((sigma.max(1e-10).ln() - below) / (above - below)).clamp(0.0, 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spacing_keeps_its_ends() {
        for spacing in
            [SigmaSpacing::Karras, SigmaSpacing::Exponential, SigmaSpacing::Beta, SigmaSpacing::Lu]
        {
            let sigmas = spacing.space(14.6, 0.03, 12).unwrap();
            assert_eq!(sigmas.len(), 12);
            assert!((sigmas[0] - 14.6).abs() < 1e-9, "{spacing:?}");
            assert!((sigmas[11] - 0.03).abs() < 1e-9, "{spacing:?}");
            assert!(sigmas.is_sorted_by(|earlier, later| earlier > later), "{spacing:?}");
            assert_eq!(spacing.space(14.6, 0.03, 1).unwrap().len(), 1);
        }
    }

    #[test]
    fn timesteps_and_sigmas_are_inverse() {
        let sigmas = [0.5, 1.0, 2.0, 4.0];
        assert_eq!(timestep_of(2.0, &sigmas), 2.0);
        assert!((timestep_of(8_f64.sqrt(), &sigmas) - 2.5).abs() < 1e-12);
        assert_eq!(timestep_of(0.1, &sigmas), 0.0);
        assert_eq!(timestep_of(9.0, &sigmas), 3.0);
        assert_eq!(interpolate(&sigmas, 2.5), 3.0);
        assert_eq!(interpolate(&sigmas, 7.0), 4.0);
        assert_eq!(interpolate(&sigmas, -1.0), 0.5);
    }

    #[test]
    fn contradictions_are_refused() {
        let config = SchedulerConfig {
            use_karras_sigmas: Some(true),
            use_beta_sigmas: Some(true),
            ..SchedulerConfig::default()
        };
        assert!(SigmaSpacing::choose(Schedule::Automatic, &config).is_err());
        let config = SchedulerConfig { sigma_min: Some(-1.0), ..SchedulerConfig::default() };
        assert!(range(&config, 14.6, 0.03).unwrap_err().to_string().contains("sigma_min"));
    }
}
