//! What the samplers that count in sigmas share (Karras et al., arXiv:2206.00364): the sample is
//! the image plus sigma times noise, and the model sees it scaled to unit variance.

use super::{
    Compat, Plan, RunSettings, SchedulerError,
    compat::a1111_sigmas,
    config::{FinalSigmasType, InterpolationType, PredictionType, TimestepSpacing, TimestepType},
    noise_level::NoiseLevel,
    noise_schedule::NoiseSchedule,
    plan::Evaluation,
    prediction::Mixture,
    sampler::Schedule,
    sigma_spacing::{Place, SigmaSpacing, interpolate, range, timestep_of},
    timesteps::{check_steps, linspace, spaced},
};

/// The sigmas and timesteps of a run: diffusers `schedulers/scheduling_euler_discrete.py`,
/// `set_timesteps`.
#[derive(Debug)]
pub(super) struct SigmaSteps {
    prediction: PredictionType,
    pub(super) timesteps: Vec<f64>,
    /// One for each timestep, and the one that the last step ends at.
    pub(super) sigmas: Vec<f64>,
    init_noise_sigma: f64,
    /// Of each timestep of the training.
    training: Vec<f64>,
}

impl SigmaSteps {
    pub(super) fn new(
        spacing: SigmaSpacing,
        run: &RunSettings<'_>,
    ) -> Result<Self, SchedulerError> {
        let &RunSettings { config, steps, .. } = run;
        if run.options.compat == Compat::A1111 {
            return Self::a1111(run);
        }
        let training = NoiseSchedule::with_sigmas(config)?;
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
        let (largest, smallest) = if spacing.spans_the_timesteps() {
            range(config, sigmas[0], sigmas[sigmas.len() - 1])?
        } else {
            range(config, most, least)?
        };
        if let Some(places) = spacing.places(&training, (largest, smallest), steps) {
            timesteps = places.iter().map(|place| place.timestep).collect();
            sigmas = places.iter().map(|place| place.sigma).collect();
        }
        if sigmas.len() == steps {
            let end = match config.final_sigmas_type.unwrap_or_default() {
                FinalSigmasType::Zero => 0.0,
                FinalSigmasType::SigmaMin => least,
            };
            sigmas.push(spacing.end(smallest).unwrap_or(end));
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
        Ok(Self { prediction, timesteps, sigmas, init_noise_sigma, training })
    }

    /// The sigmas of A1111, which takes none of the checkpoint's choices, and k-diffusion's
    /// fractional timesteps.
    fn a1111(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let training = NoiseSchedule::with_a1111_sigmas(run.checkpoint)?;
        check_steps(run.steps, training.len())?;
        let schedule = match run.schedule {
            Schedule::Automatic => run.sampler.a1111_schedule(),
            schedule => schedule,
        };
        let run = RunSettings { schedule, ..*run };
        let spacing = SigmaSpacing::of_schedule(&run).unwrap_or(SigmaSpacing::Normal);
        let sigmas = a1111_sigmas(run.sampler, spacing, &training, run.steps);
        let started = &sigmas[..sigmas.len() - 1];
        let timesteps = started.iter().map(|&sigma| timestep_of(sigma, &training)).collect();
        let prediction = run.config.prediction_type.unwrap_or_default();
        let init_noise_sigma = sigmas[0];
        Ok(Self { prediction, timesteps, sigmas, init_noise_sigma, training })
    }

    /// Each step's sigma and the one that it ends at.
    pub(super) fn intervals(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.sigmas.windows(2).map(|ends| (ends[0], ends[1]))
    }

    /// The place of each step and the one that it ends at.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Place, Place)> + '_ {
        // At the end the model is asked only where there is noise left.
        let end = self.sigmas[self.timesteps.len()];
        let places = self.timesteps.iter().zip(&self.sigmas);
        let places = places.map(|(&timestep, &sigma)| Place { timestep, sigma });
        places.clone().zip(places.skip(1).chain(std::iter::once(self.place(end))))
    }

    /// The place of a sigma.
    pub(super) fn place(&self, sigma: f64) -> Place {
        Place { timestep: timestep_of(sigma, &self.training), sigma }
    }

    /// The plan of a sampler that makes one evaluation a step.
    pub(super) fn plan(&self) -> Plan {
        self.plan_with(std::iter::repeat(None))
    }

    /// The plan of a sampler that makes a second evaluation in those steps that have a place for
    /// it.
    pub(super) fn plan_with(&self, second: impl IntoIterator<Item = Option<Place>>) -> Plan {
        let first = self.timesteps.iter().zip(&self.sigmas);
        let steps = first
            .zip(second)
            .map(|((&timestep, &sigma), second)| (Place { timestep, sigma }, second));
        self.plan_of(steps)
    }

    /// The plan of a sampler whose steps are others than those of the schedule.
    pub(super) fn plan_of(&self, steps: impl IntoIterator<Item = (Place, Option<Place>)>) -> Plan {
        let evaluations =
            steps.into_iter().zip(0..).flat_map(|((first, second), step)| {
                std::iter::once(first).chain(second).map(move |Place { timestep, sigma }| {
                    Evaluation { timestep, level: NoiseLevel::VarianceExploding { sigma }, step }
                })
            });
        Plan::new(self.prediction, self.init_noise_sigma, evaluations)
    }
}

/// A step along the derivative at `sigma` to `next`, given the denoised image.
pub(super) fn euler_step(original: Mixture, sigma: f64, next: f64) -> Mixture {
    let ratio = (next - sigma) / sigma;
    Mixture {
        sample: 1.0 + ratio * (1.0 - original.sample),
        model_output: -ratio * original.model_output,
    }
}

/// The sigma to step down to, and the standard deviation of the noise that leads back up to
/// `next`.
pub(super) fn ancestral(sigma: f64, next: f64) -> (f64, f64) {
    let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).max(0.0).sqrt();
    let down = (next * next - up * up).max(0.0).sqrt();
    (down, up)
}
