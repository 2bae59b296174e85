//! What a run visits: the part that all samplers share.

use burn::tensor::Tensor;

use super::{
    config::PredictionType, error::SchedulerError, noise_level::NoiseLevel,
    noise_schedule::NoiseSchedule, prediction::Mixture,
};

/// The evaluations of the model that a run makes, and the noise level of each.
#[derive(Debug, Clone)]
pub struct Plan {
    prediction: PredictionType,
    init_noise_sigma: f64,
    steps: usize,
    /// One for each evaluation, as are the two lists below.
    timesteps: Vec<f64>,
    levels: Vec<NoiseLevel>,
    step_of: Vec<usize>,
}

/// One evaluation of the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation {
    pub(super) timestep: f64,
    pub(super) level: NoiseLevel,
    /// The step, from 0, to which it belongs.
    pub(super) step: usize,
}

impl Plan {
    /// The plan of a sampler that starts from noise times `init_noise_sigma`.
    ///
    /// Steps are numbered from 0 in ascending order without gaps.
    pub(super) fn new(
        prediction: PredictionType,
        init_noise_sigma: f64,
        evaluations: impl IntoIterator<Item = Evaluation>,
    ) -> Self {
        let mut plan = Self {
            prediction,
            init_noise_sigma,
            steps: 0,
            timesteps: Vec::new(),
            levels: Vec::new(),
            step_of: Vec::new(),
        };
        for Evaluation { timestep, level, step } in evaluations {
            plan.timesteps.push(timestep);
            plan.levels.push(level);
            plan.step_of.push(step);
            plan.steps = step + 1;
        }
        plan
    }

    /// A run over the training's own timesteps, one evaluation a step.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::Config`] where an output that means noise would have to be read at a
    /// level of nothing but noise: dividing by alpha would give infinities.
    pub(super) fn over_training_timesteps(
        prediction: PredictionType,
        schedule: &NoiseSchedule,
        timesteps: &[usize],
    ) -> Result<Self, SchedulerError> {
        Self::over_training_evaluations(
            prediction,
            schedule,
            timesteps.iter().copied().zip(0..).collect::<Vec<_>>().as_slice(),
        )
    }

    /// A run over the training's own timesteps, given with the steps that they belong to.
    ///
    /// # Errors
    ///
    /// As for [`over_training_timesteps`](Self::over_training_timesteps).
    pub(super) fn over_training_evaluations(
        prediction: PredictionType,
        schedule: &NoiseSchedule,
        evaluations: &[(usize, usize)],
    ) -> Result<Self, SchedulerError> {
        let is_noise = |&(timestep, _): &(usize, usize)| schedule.alpha_cumprod(timestep) == 0.0;
        if prediction == PredictionType::Epsilon && evaluations.iter().any(is_noise) {
            return Err(noise_only());
        }
        let evaluations = evaluations.iter().map(|&(timestep, step)| Evaluation {
            timestep: timestep as f64,
            level: NoiseLevel::from_alpha_cumprod(schedule.alpha_cumprod(timestep)),
            step,
        });
        Ok(Self::new(prediction, 1.0, evaluations))
    }

    /// What the model's output means.
    pub(super) fn prediction(&self) -> PredictionType {
        self.prediction
    }

    /// What standard normal noise is multiplied by to become the first latents.
    pub fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    /// The number of steps, as a person counts them.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The number of evaluations.
    pub fn evaluations(&self) -> usize {
        self.timesteps.len()
    }

    /// The timestep to give to the model at each evaluation.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// The step, from 0, to which an evaluation belongs.
    ///
    /// # Panics
    ///
    /// If there is no such evaluation; so for all methods that take one.
    pub fn step_of(&self, evaluation: usize) -> usize {
        self.step_of[evaluation]
    }

    /// Whether an evaluation is the last one of its step.
    pub fn ends_step(&self, evaluation: usize) -> bool {
        self.step_of.get(evaluation + 1) != Some(&self.step_of[evaluation])
    }

    /// How much noise there is before each evaluation, relative to the image.
    pub fn sigmas(&self) -> impl Iterator<Item = f64> + '_ {
        self.levels.iter().map(|level| level.sigma())
    }

    /// The first evaluation of a step.
    ///
    /// # Errors
    ///
    /// [`SchedulerError::NothingLeft`] where there is no such step.
    pub(super) fn first_evaluation_of(&self, step: usize) -> Result<usize, SchedulerError> {
        self.step_of
            .iter()
            .position(|&other| other == step)
            .ok_or(SchedulerError::NothingLeft { steps: self.steps })
    }

    pub(super) fn level(&self, evaluation: usize) -> NoiseLevel {
        self.levels[evaluation]
    }

    /// The image without noise, as a mixture of the sample and the model's output.
    pub(super) fn original(&self, evaluation: usize) -> Mixture {
        self.levels[evaluation].original(self.prediction)
    }

    /// The noise, as a mixture of the sample and the model's output.
    pub(super) fn noise(&self, evaluation: usize) -> Mixture {
        self.levels[evaluation].noise(self.prediction)
    }

    /// An image with the noise before an evaluation, and after the last one without noise.
    pub(super) fn add_noise(
        &self,
        original: Tensor<4>,
        noise: Tensor<4>,
        evaluation: usize,
    ) -> Tensor<4> {
        if evaluation == self.levels.len() {
            return original;
        }
        self.levels[evaluation].add_noise(original, noise)
    }
}

/// The error for a level at which dividing by alpha would give infinities.
pub(super) fn noise_only() -> SchedulerError {
    SchedulerError::Config {
        key: "prediction_type",
        reason: "is epsilon, but the first step starts from pure noise, of which nothing can be \
                 predicted so; with `rescale_betas_zero_snr` it must be v_prediction or sample"
            .to_owned(),
    }
}
