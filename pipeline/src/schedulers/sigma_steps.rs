//! What the samplers that count in sigmas share (Karras et al., arXiv:2206.00364): the sample is
//! the image plus sigma times noise, and the model sees it scaled to unit variance.

use super::{
    Plan, SchedulerConfig, SchedulerError,
    config::{FinalSigmasType, InterpolationType, PredictionType, TimestepSpacing, TimestepType},
    noise_level::NoiseLevel,
    noise_schedule::NoiseSchedule,
    plan::Evaluation,
    sigma_spacing::{SigmaSpacing, interpolate, range, timestep_of},
    timesteps::{linspace, spaced},
};

/// The sigmas and timesteps of a run: diffusers `schedulers/scheduling_euler_discrete.py`,
/// `set_timesteps`.
#[derive(Debug)]
pub(super) struct SigmaSteps {
    pub(super) prediction: PredictionType,
    pub(super) timesteps: Vec<f64>,
    /// One for each timestep, and the one that the last step ends at.
    pub(super) sigmas: Vec<f64>,
    pub(super) init_noise_sigma: f64,
}

impl SigmaSteps {
    pub(super) fn new(
        spacing: SigmaSpacing,
        config: &SchedulerConfig,
        steps: usize,
    ) -> Result<Self, SchedulerError> {
        let zero_snr = config.rescale_betas_zero_snr.unwrap_or(false);
        let schedule = NoiseSchedule::new(config, zero_snr)?;
        let schedule = if zero_snr { schedule.with_finite_sigmas() } else { schedule };
        let training = schedule.sigmas()?;
        let timestep_spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace);
        let offset = config.steps_offset.unwrap_or(0);
        let mut timesteps = spaced(timestep_spacing, training.len(), steps, offset)?;
        let (least, most) = (training[0], training[training.len() - 1]);
        let mut sigmas: Vec<f64> = match config.interpolation_type.unwrap_or_default() {
            InterpolationType::Linear => {
                timesteps.iter().map(|&timestep| interpolate(&training, timestep)).collect()
            }
            // One more than there are steps: the last step ends at the smallest sigma, whatever
            // `final_sigmas_type` says.
            InterpolationType::LogLinear => {
                linspace(most.ln(), least.ln(), steps + 1).into_iter().map(f64::exp).collect()
            }
        };
        let (largest, smallest) = range(config, sigmas[0], sigmas[sigmas.len() - 1])?;
        if let Some(spaced) = spacing.space(largest, smallest, steps) {
            timesteps = spaced.iter().map(|&sigma| timestep_of(sigma, &training)).collect();
            sigmas = spaced;
        }
        if sigmas.len() == steps {
            sigmas.push(match config.final_sigmas_type.unwrap_or_default() {
                FinalSigmasType::Zero => 0.0,
                FinalSigmasType::SigmaMin => least,
            });
        }
        let prediction = config.prediction_type.unwrap_or_default();
        if config.timestep_type.unwrap_or_default() == TimestepType::Continuous
            && prediction == PredictionType::VPrediction
        {
            timesteps = sigmas[..steps].iter().map(|sigma| 0.25 * sigma.ln()).collect();
        }
        let largest = sigmas.iter().copied().fold(0.0, f64::max);
        let init_noise_sigma = match timestep_spacing {
            TimestepSpacing::Leading => (largest * largest + 1.0).sqrt(),
            TimestepSpacing::Trailing | TimestepSpacing::Linspace => largest,
        };
        Ok(Self { prediction, timesteps, sigmas, init_noise_sigma })
    }

    /// The plan of a sampler that makes one evaluation a step.
    pub(super) fn plan(&self) -> Plan {
        let evaluations =
            self.timesteps.iter().zip(&self.sigmas).zip(0..).map(|((&timestep, &sigma), step)| {
                Evaluation { timestep, level: NoiseLevel::VarianceExploding { sigma }, step }
            });
        Plan::new(self.prediction, self.init_noise_sigma, evaluations)
    }
}
