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
mod compat;
pub mod config;
mod ddim;
mod ddpm;
mod deis;
mod distilled_timesteps;
mod dpm2;
mod dpm_solver_multistep;
mod dpm_solver_singlestep;
mod dpm_solver_terms;
mod dpmpp_multistep;
mod dpmpp_singlestep_sde;
mod error;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod noise_level;
pub mod noise_schedule;
mod plan;
mod plms;
mod pndm;
mod prediction;
mod restart;
mod sampler;
mod sigma_spacing;
mod sigma_steps;
mod solver_steps;
mod tcd;
pub mod timesteps;
mod unipc;

pub use compat::{Compat, UnknownCompat};
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
    /// DDIM and TCD: how much of the noise is drawn afresh at each step, from 0 (none) to 1. By
    /// default 0 for DDIM and 0.3 for TCD, which calls it gamma.
    pub eta: Option<f64>,
    /// Euler: how much noise is added before each step, 0 for none (Karras et al.,
    /// arXiv:2206.00364, algorithm 2).
    pub s_churn: f64,
    /// Euler: the smallest sigma at which noise is added.
    pub s_tmin: f64,
    /// Euler: the largest sigma at which noise is added.
    pub s_tmax: f64,
    /// Euler: the standard deviation of that noise.
    pub s_noise: f64,
    /// The schedules karras and polyexponential: their exponent, above 0; by default 7 and 1.
    pub rho: Option<f64>,
    /// Whose meaning the sampler and the schedule have.
    pub compat: Compat,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            eta: None,
            s_churn: 0.0,
            s_tmin: 0.0,
            s_tmax: f64::INFINITY,
            s_noise: 1.0,
            rho: None,
            compat: Compat::Diffusers,
        }
    }
}

/// What a run is planned from.
#[derive(Debug, Clone, Copy)]
struct RunSettings<'a> {
    sampler: Sampler,
    schedule: Schedule,
    /// The configuration as the sampler's class knows it.
    config: &'a SchedulerConfig,
    /// The configuration as the checkpoint has it.
    checkpoint: &'a SchedulerConfig,
    steps: usize,
    options: &'a SamplerOptions,
}

impl RunSettings<'_> {
    /// Refuses dynamic thresholding, which was made for models of pixels.
    fn refuse_thresholding(&self) -> Result<(), SchedulerError> {
        if self.config.thresholding.unwrap_or(false) {
            return Err(SchedulerError::Unsupported {
                sampler: self.sampler,
                option: "`thresholding`: true".to_owned(),
            });
        }
        Ok(())
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
    refuse_pair(sampler, schedule)?;
    let uniform;
    let config = match (sampler, schedule) {
        // The schedule is these samplers' own.
        (Sampler::Ddim | Sampler::Ddpm | Sampler::Pndm, Schedule::DdimUniform) => {
            uniform = SchedulerConfig {
                timestep_spacing: Some(config::TimestepSpacing::Leading),
                steps_offset: Some(1),
                ..config.clone()
            };
            &uniform
        }
        _ => config,
    };
    let run = RunSettings { sampler, schedule, config, checkpoint: config, steps, options };
    if options.compat == Compat::A1111 {
        match sampler {
            Sampler::Ddim => return Ok(Box::new(ddim::Ddim::a1111(&run)?)),
            Sampler::Pndm => return Ok(Box::new(plms::Plms::new(&run)?)),
            Sampler::Dpmpp2m | Sampler::Dpmpp2mSde | Sampler::Dpmpp3mSde => {
                return Ok(Box::new(dpmpp_multistep::DpmppMultistep::new(&run)?));
            }
            _ => {}
        }
    }
    Ok(match sampler {
        Sampler::Ddim => Box::new(ddim::Ddim::new(&run)?),
        Sampler::Ddpm => Box::new(ddpm::Ddpm::new(&run)?),
        Sampler::Pndm => Box::new(pndm::Pndm::new(&run)?),
        Sampler::Euler => Box::new(euler::Euler::new(&run)?),
        Sampler::EulerAncestral => Box::new(euler_ancestral::EulerAncestral::new(&run)?),
        Sampler::Heun => Box::new(heun::Heun::new(&run)?),
        Sampler::Lms => Box::new(lms::Lms::new(&run)?),
        Sampler::Dpm2 => Box::new(dpm2::Dpm2::new(&run, dpm2::Noise::Deterministic)?),
        Sampler::Dpm2Ancestral => Box::new(dpm2::Dpm2::new(&run, dpm2::Noise::Ancestral)?),
        Sampler::Dpmpp2s => Box::new(dpm_solver_singlestep::DpmSolverSinglestep::new(&run)?),
        Sampler::Dpmpp2sAncestral => Box::new(dpmpp_singlestep_sde::DpmppSinglestepSde::new(
            &run,
            dpmpp_singlestep_sde::Noise::Ancestral,
        )?),
        Sampler::DpmppSde => Box::new(dpmpp_singlestep_sde::DpmppSinglestepSde::new(
            &run,
            dpmpp_singlestep_sde::Noise::Throughout,
        )?),
        Sampler::Dpmpp2m | Sampler::Dpmpp2mSde | Sampler::Dpmpp3mSde => {
            Box::new(dpm_solver_multistep::DpmSolverMultistep::new(&run)?)
        }
        Sampler::UniPc => Box::new(unipc::UniPc::new(&run)?),
        Sampler::Deis => Box::new(deis::Deis::new(&run)?),
        Sampler::Lcm => Box::new(lcm::Lcm::new(&run)?),
        Sampler::Tcd => Box::new(tcd::Tcd::new(&run)?),
        Sampler::Restart => Box::new(restart::new(&run)?),
    })
}

/// Refuses a sampler and a schedule that make no sense together.
fn refuse_pair(sampler: Sampler, schedule: Schedule) -> Result<(), SchedulerError> {
    let reason = match sampler {
        _ if schedule == Schedule::Automatic => return Ok(()),
        Sampler::Ddim | Sampler::Ddpm | Sampler::Pndm if schedule == Schedule::DdimUniform => {
            return Ok(());
        }
        Sampler::Ddim | Sampler::Ddpm | Sampler::Pndm => {
            "it walks the training's own noise levels and has no sigmas to space; take automatic \
             or ddim-uniform"
        }
        Sampler::Lcm | Sampler::Tcd => {
            "its models know only the noise levels that they were distilled at; take automatic"
        }
        _ => return Ok(()),
    };
    Err(SchedulerError::Pair { sampler, schedule, reason })
}

#[cfg(test)]
mod convergence_tests;
#[cfg(test)]
mod tests;
