//! Samplers: from a model's output and a noisy sample to a less noisy one.
//!
//! A [`Scheduler`] lists the *evaluations* of the model that a run makes. Most samplers make one a
//! step, others several, so the loop runs over evaluations:
//!
//! ```text
//! latents = noise * init_noise_sigma
//! for each evaluation:
//!     input = scale_model_input(latents, evaluation)
//!     output = model(input, timesteps[evaluation])
//!     latents = step(evaluation, output, latents, draw noise)
//! ```
//!
//! A sampler means here what diffusers computes for its scheduler class, built from the
//! checkpoint's `scheduler_config.json` (`diffusers/schedulers/scheduling_*.py`, 0.35). To add
//! one: a file here, a variant of [`Sampler`], an arm of [`build`].

use burn::tensor::Tensor;

mod beta_distribution;
pub mod config;
mod ddim;
mod dpm_solver_multistep;
mod error;
mod euler;
mod euler_ancestral;
mod noise_level;
pub mod noise_schedule;
mod plan;
mod pndm;
mod prediction;
mod sampler;
mod sigma_spacing;
mod sigma_steps;
pub mod timesteps;

pub use config::SchedulerConfig;
pub use error::SchedulerError;
pub use plan::Plan;
pub use sampler::{Sampler, Schedule, UnknownName};

/// One run of a sampler.
///
/// Tensors are latents of shape `[batch, channels, height, width]`, all of one shape, type and
/// device. The arithmetic happens in the type of the tensors given, so latents should be f32 even
/// where the model is not: the differences of neighbouring steps are lost in f16.
///
/// A scheduler remembers earlier outputs, so each run needs its own. Evaluations are passed in
/// ascending order, from 0 or from what [`start_after`](Self::start_after) gives.
///
/// # Panics
///
/// Methods panic where `evaluation` is not below the number of [`timesteps`](Self::timesteps).
pub trait Scheduler: Send {
    /// The evaluations of the run.
    fn plan(&self) -> &Plan;

    /// The sample after an evaluation.
    ///
    /// `sample` is what went into [`scale_model_input`](Self::scale_model_input), not what came
    /// out. `noise` draws standard normal noise of the sample's shape; it is called as often as
    /// diffusers draws, so that a seed gives the same image.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4>;

    /// The timestep to give to the model at each evaluation.
    ///
    /// May be fractional, and may come twice. They fall from the most noise to the least, but
    /// where a sampler goes back to more noise.
    fn timesteps(&self) -> &[f64] {
        self.plan().timesteps()
    }

    /// The number of steps, as a person counts them.
    fn steps(&self) -> usize {
        self.plan().steps()
    }

    /// The step, from 0, to which an evaluation belongs.
    fn step_of(&self, evaluation: usize) -> usize {
        self.plan().step_of(evaluation)
    }

    /// What standard normal noise is multiplied by to become the first latents.
    fn init_noise_sigma(&self) -> f64 {
        self.plan().init_noise_sigma()
    }

    /// The first evaluation of a run that leaves out its first `skipped` steps and starts from an
    /// image with noise added (image to image).
    ///
    /// # Errors
    ///
    /// [`SchedulerError::NothingLeft`] and [`SchedulerError::Start`].
    fn start_after(&self, skipped: usize) -> Result<usize, SchedulerError> {
        self.plan().first_evaluation_of(skipped)
    }

    /// The model's input for an evaluation.
    fn scale_model_input(&self, sample: Tensor<4>, evaluation: usize) -> Tensor<4> {
        self.plan().level(evaluation).model_input(sample)
    }

    /// What the sample would be without noise, by the model's output: for previews.
    fn predicted_original(
        &self,
        evaluation: usize,
        model_output: &Tensor<4>,
        sample: &Tensor<4>,
    ) -> Tensor<4> {
        self.plan().original(evaluation).of(sample.clone(), model_output.clone())
    }

    /// An image with as much noise as the sample has before an evaluation.
    ///
    /// `evaluation` may be the number of timesteps: the image without noise, with which
    /// inpainting fills the unmasked part after the last step.
    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, evaluation: usize) -> Tensor<4> {
        self.plan().add_noise(original, noise, evaluation)
    }
}

/// What a person can set beside the sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerOptions {
    /// DDIM: how much of the noise is drawn afresh at each step, from 0 (none) to 1.
    pub eta: f64,
    /// Euler: how much noise is added before each step, 0 for none (Karras et al.,
    /// arXiv:2206.00364, algorithm 2).
    pub s_churn: f64,
    /// Euler: the smallest sigma at which noise is added.
    pub s_tmin: f64,
    /// Euler: the largest sigma at which noise is added.
    pub s_tmax: f64,
    /// Euler: the standard deviation of that noise.
    pub s_noise: f64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { eta: 0.0, s_churn: 0.0, s_tmin: 0.0, s_tmax: f64::INFINITY, s_noise: 1.0 }
    }
}

/// Plans a run of `steps` steps with the default options.
///
/// # Errors
///
/// As for [`build_with`].
pub fn build(
    sampler: Sampler,
    schedule: Schedule,
    config: &SchedulerConfig,
    steps: usize,
) -> Result<Box<dyn Scheduler>, SchedulerError> {
    build_with(sampler, schedule, config, steps, &SamplerOptions::default())
}

/// Plans a run of `steps` steps.
///
/// # Errors
///
/// A [`SchedulerError`] where the number of steps does not fit, the sampler and the schedule do
/// not go together, or the configuration asks for what the sampler cannot do.
pub fn build_with(
    sampler: Sampler,
    schedule: Schedule,
    config: &SchedulerConfig,
    steps: usize,
    options: &SamplerOptions,
) -> Result<Box<dyn Scheduler>, SchedulerError> {
    Ok(match sampler {
        Sampler::Ddim => {
            refuse_sigmas(sampler, schedule)?;
            Box::new(ddim::Ddim::new(config, steps, options)?)
        }
        Sampler::Pndm => {
            refuse_sigmas(sampler, schedule)?;
            Box::new(pndm::Pndm::new(config, steps)?)
        }
        Sampler::Euler => Box::new(euler::Euler::new(schedule, config, steps, options)?),
        Sampler::EulerAncestral => {
            Box::new(euler_ancestral::EulerAncestral::new(schedule, config, steps)?)
        }
        Sampler::Dpmpp2m => Box::new(dpm_solver_multistep::DpmSolverMultistep::new(
            sampler, schedule, config, steps,
        )?),
    })
}

fn refuse_sigmas(sampler: Sampler, schedule: Schedule) -> Result<(), SchedulerError> {
    match schedule {
        Schedule::Automatic => Ok(()),
        Schedule::Karras => Err(SchedulerError::Pair {
            sampler,
            schedule,
            reason: "it walks the training's own noise levels and has no sigmas to space",
        }),
    }
}

#[cfg(test)]
mod tests;
