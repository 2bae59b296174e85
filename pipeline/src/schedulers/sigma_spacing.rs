//! How the sigmas of a run are spaced between its largest and its smallest.

use super::{
    RunSettings, beta_distribution,
    config::{AlignYourSteps, SchedulerConfig},
    error::SchedulerError,
    sampler::Schedule,
    timesteps::{leading, linspace},
};

/// Karras et al. find 7 best (arXiv:2206.00364, section 4).
pub(super) const KARRAS_RHO: f64 = 7.0;

/// The place in the run itself, as k-diffusion has it.
const POLYEXPONENTIAL_RHO: f64 = 1.0;

/// Both parameters of the beta distribution in Lee et al. (arXiv:2407.12173).
const BETA_SHAPE: f64 = 0.6;

/// How the sigmas of a run are spaced between its largest and its smallest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SigmaSpacing {
    /// At the timesteps of `timestep_spacing`.
    Timesteps,
    /// At evenly spaced timesteps, the last of which is a step above the end.
    SgmUniform,
    /// At every so many timesteps from the noisiest down.
    Simple,
    /// At evenly spaced timesteps, the ends included.
    Normal,
    /// At every so many timesteps from the second least noisy up.
    DdimUniform,
    /// Evenly in a root of sigma (arXiv:2206.00364, equation 5).
    Karras { rho: f64 },
    /// Evenly in the logarithm of sigma.
    Exponential,
    /// By a power of the place in the run, in the logarithm of sigma.
    Polyexponential { rho: f64 },
    /// By the quantiles of a beta distribution (arXiv:2407.12173), in sigma.
    Beta,
    /// Evenly in the logarithm of sigma, at whole timesteps: `use_lu_lambdas`.
    Lu,
    /// Evenly in sigma at first, then quadratically (arXiv:2410.13720, section 3.4.2).
    LinearQuadratic,
    /// Evenly in the arc tangent of sigma (arXiv:2404.14507, appendix B).
    KlOptimal,
    /// Through published sigmas, evenly between them in the logarithm (arXiv:2404.14507).
    AlignYourSteps(AlignYourSteps),
}

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) timestep: f64,
    pub(super) sigma: f64,
}

impl SigmaSpacing {
    /// The spacing that the person chose, or the one in the configuration.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::Config`] where the configuration asks for several.
    pub(super) fn choose(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        if let Some(spacing) = Self::of_schedule(run) {
            return Ok(spacing);
        }
        let asked = |key: Option<bool>| key.unwrap_or(false);
        let choices = [
            (asked(run.config.use_karras_sigmas), Self::Karras { rho: KARRAS_RHO }),
            (asked(run.config.use_exponential_sigmas), Self::Exponential),
            (asked(run.config.use_beta_sigmas), Self::Beta),
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

    /// The spacing that the person chose; `None` where it is left to the configuration.
    pub(super) fn of_schedule(run: &RunSettings<'_>) -> Option<Self> {
        Some(match run.schedule {
            Schedule::Automatic => return None,
            Schedule::Karras => Self::Karras { rho: run.options.rho.unwrap_or(KARRAS_RHO) },
            Schedule::Exponential => Self::Exponential,
            Schedule::Polyexponential => {
                Self::Polyexponential { rho: run.options.rho.unwrap_or(POLYEXPONENTIAL_RHO) }
            }
            Schedule::SgmUniform => Self::SgmUniform,
            Schedule::Simple => Self::Simple,
            Schedule::Normal => Self::Normal,
            Schedule::DdimUniform => Self::DdimUniform,
            Schedule::Beta => Self::Beta,
            Schedule::LinearQuadratic => Self::LinearQuadratic,
            Schedule::KlOptimal => Self::KlOptimal,
            Schedule::Ays => Self::AlignYourSteps(run.config.align_your_steps),
        })
    }

    /// `steps` places; `None` for [`Self::Timesteps`], which are the caller's.
    ///
    /// `training` are the sigmas of the training's timesteps, and `(largest, smallest)` is the
    /// range of those spacings that take one.
    pub(super) fn places(
        self,
        training: &[f64],
        (largest, smallest): (f64, f64),
        steps: usize,
    ) -> Option<Vec<Place>> {
        if let Some(timesteps) = self.timesteps(training.len(), steps) {
            let place = |timestep| Place { timestep, sigma: sigma_of(timestep, training) };
            return Some(timesteps.into_iter().map(place).collect());
        }
        let sigmas = self.sigmas(largest, smallest, steps)?;
        let place = |sigma| Place { timestep: timestep_of(sigma, training), sigma };
        Some(sigmas.into_iter().map(place).collect())
    }

    /// Whether Euler's class takes its range from the timesteps of `timestep_spacing`, and not
    /// from all of the training: so with the spacings that diffusers has.
    pub(super) fn spans_the_timesteps(self) -> bool {
        matches!(self, Self::Timesteps | Self::Karras { .. } | Self::Exponential | Self::Beta)
    }

    /// The sigma after the last step, where the spacing has one of its own.
    pub(super) fn end(self, smallest: f64) -> Option<f64> {
        match self {
            Self::KlOptimal => Some(smallest),
            Self::LinearQuadratic | Self::AlignYourSteps(_) => Some(0.0),
            _ => None,
        }
    }

    /// The timesteps of the spacings that are told by them.
    fn timesteps(self, training: usize, steps: usize) -> Option<Vec<f64>> {
        let last = (training - 1) as f64;
        match self {
            Self::SgmUniform => {
                let mut timesteps = linspace(last, 0.0, steps + 1);
                timesteps.truncate(steps);
                Some(timesteps)
            }
            Self::Normal => Some(linspace(last, 0.0, steps)),
            Self::Simple => {
                let ratio = training as f64 / steps as f64;
                Some((0..steps).map(|step| last - (step as f64 * ratio).floor()).collect())
            }
            Self::DdimUniform => {
                let timesteps = leading(training / steps, steps, 1);
                Some(timesteps.into_iter().map(|timestep| timestep.min(last)).collect())
            }
            _ => None,
        }
    }

    /// The sigmas of the spacings that are told by them.
    pub(super) fn sigmas(self, largest: f64, smallest: f64, steps: usize) -> Option<Vec<f64>> {
        let between = |start: f64, end: f64, sigma: &dyn Fn(f64) -> f64| {
            Some(linspace(start, end, steps).into_iter().map(sigma).collect())
        };
        match self {
            Self::Karras { rho } => {
                between(largest.powf(1.0 / rho), smallest.powf(1.0 / rho), &|root| root.powf(rho))
            }
            Self::Exponential | Self::Lu => between(largest.ln(), smallest.ln(), &f64::exp),
            Self::Polyexponential { rho } => between(1.0, 0.0, &|place| {
                (place.powf(rho) * (largest / smallest).ln() + smallest.ln()).exp()
            }),
            Self::Beta => between(1.0, 0.0, &|probability| {
                let quantile = beta_distribution::quantile(probability, BETA_SHAPE, BETA_SHAPE);
                smallest + quantile * (largest - smallest)
            }),
            Self::KlOptimal => {
                // One more than there are steps: the run ends at the smallest sigma.
                let mut angles = linspace(largest.atan(), smallest.atan(), steps + 1);
                angles.truncate(steps);
                Some(angles.into_iter().map(f64::tan).collect())
            }
            Self::LinearQuadratic => {
                Some(linear_quadratic(steps).into_iter().map(|share| share * largest).collect())
            }
            Self::AlignYourSteps(model) => {
                let published = align_your_steps(model).map(f64::ln);
                // One more than there are steps: the last gives way to zero.
                let mut places = linspace(0.0, (published.len() - 1) as f64, steps + 1);
                places.truncate(steps);
                Some(places.into_iter().map(|place| interpolate(&published, place).exp()).collect())
            }
            Self::Timesteps
            | Self::SgmUniform
            | Self::Normal
            | Self::Simple
            | Self::DdimUniform => None,
        }
    }
}

impl AlignYourSteps {
    /// `steps` sigmas from the first published one to the last, which A1111 keeps.
    pub(super) fn interpolated(self, steps: usize) -> Vec<f64> {
        let published = align_your_steps(self).map(f64::ln);
        linspace(0.0, (published.len() - 1) as f64, steps)
            .into_iter()
            .map(|place| interpolate(&published, place).exp())
            .collect()
    }
}

/// The published sigmas of a ten-step run.
fn align_your_steps(model: AlignYourSteps) -> [f64; 11] {
    match model {
        AlignYourSteps::StableDiffusion => {
            [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
        }
        AlignYourSteps::StableDiffusionXl => {
            [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
        }
    }
}

/// The sigmas of a run whose largest is 1: half of the steps remove a fortieth of it evenly, and
/// the others follow the parabola that goes on with that slope and ends at zero.
fn linear_quadratic(steps: usize) -> Vec<f64> {
    const LINEAR_SHARE: f64 = 0.025;
    let linear = steps / 2;
    if linear == 0 {
        return vec![1.0; steps];
    }
    let quadratic = (steps - linear) as f64;
    let slope = LINEAR_SHARE / linear as f64;
    let curvature = (1.0 - LINEAR_SHARE - slope * quadratic) / (quadratic * quadratic);
    (0..steps)
        .map(|step| {
            let beyond = step.saturating_sub(linear) as f64;
            1.0 - slope * step as f64 - curvature * beyond * beyond
        })
        .collect()
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

/// The sigma of a fractional timestep, between its neighbours in the logarithm of sigma.
fn sigma_of(timestep: f64, sigmas: &[f64]) -> f64 {
    let last = sigmas.len() - 1;
    let low = (timestep.max(0.0) as usize).min(last);
    let (below, above) = (sigmas[low].ln(), sigmas[(low + 1).min(last)].ln());
    (below + (above - below) * (timestep - low as f64)).exp()
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
    use super::{
        super::{Sampler, SamplerOptions},
        *,
    };

    fn run<'a>(config: &'a SchedulerConfig, options: &'a SamplerOptions) -> RunSettings<'a> {
        RunSettings {
            sampler: Sampler::Euler,
            schedule: Schedule::Automatic,
            config,
            checkpoint: config,
            steps: 10,
            options,
        }
    }

    fn training() -> Vec<f64> {
        linspace(0.03_f64.ln(), 14.6_f64.ln(), 1000).into_iter().map(f64::exp).collect()
    }

    fn spacings(config: &SchedulerConfig) -> Vec<SigmaSpacing> {
        let options = SamplerOptions::default();
        let mut spacings: Vec<_> = Schedule::ALL
            .into_iter()
            .filter_map(|schedule| {
                let run = RunSettings { schedule, ..run(config, &options) };
                SigmaSpacing::of_schedule(&run)
            })
            .collect();
        spacings.push(SigmaSpacing::Lu);
        spacings
    }

    #[test]
    fn every_spacing_falls_from_the_largest_sigma() {
        let config = SchedulerConfig::default();
        for spacing in spacings(&config) {
            for steps in [1, 2, 3, 12, 40] {
                let places = spacing.places(&training(), (14.6, 0.03), steps).unwrap();
                assert_eq!(places.len(), steps);
                assert!(
                    places.is_sorted_by(|earlier, later| {
                        earlier.sigma > later.sigma && earlier.timestep >= later.timestep
                    }),
                    "{spacing:?} {places:?}"
                );
                let end = spacing.end(0.03).unwrap_or(0.0);
                assert!(places[steps - 1].sigma > end, "{spacing:?}");
                let starts_below = spacing == SigmaSpacing::DdimUniform;
                assert!((places[0].sigma - 14.6).abs() < 0.02 || starts_below, "{spacing:?}");
                for place in &places {
                    assert!(
                        (timestep_of(place.sigma, &training()) - place.timestep).abs() < 1e-6,
                        "{spacing:?}: {place:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn spacings_of_sigmas_end_at_the_smallest() {
        for spacing in [
            SigmaSpacing::Karras { rho: 7.0 },
            SigmaSpacing::Exponential,
            SigmaSpacing::Polyexponential { rho: 2.0 },
            SigmaSpacing::Beta,
            SigmaSpacing::Lu,
            SigmaSpacing::Normal,
        ] {
            let places = spacing.places(&training(), (14.6, 0.03), 12).unwrap();
            assert!((places[11].sigma - 0.03).abs() < 1e-9, "{spacing:?}");
        }
    }

    #[test]
    fn timesteps_and_sigmas_are_inverse() {
        let sigmas = [0.5, 1.0, 2.0, 4.0];
        assert_eq!(timestep_of(2.0, &sigmas), 2.0);
        assert!((timestep_of(8_f64.sqrt(), &sigmas) - 2.5).abs() < 1e-12);
        assert!((sigma_of(2.5, &sigmas) - 8_f64.sqrt()).abs() < 1e-12);
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
        let options = SamplerOptions::default();
        assert!(SigmaSpacing::choose(&run(&config, &options)).is_err());
        let config = SchedulerConfig { sigma_min: Some(-1.0), ..SchedulerConfig::default() };
        assert!(range(&config, 14.6, 0.03).unwrap_err().to_string().contains("sigma_min"));
    }
}
