//! `scheduler_config.json`.

use serde::{Deserialize, Serialize};

use super::{error::SchedulerError, sampler::Sampler};

/// The published `scheduler_config.json`.
///
/// Every field is optional because a key that is absent takes the default of the scheduler class
/// that is *built*, which need not be the class that wrote the file: choosing Euler on a
/// checkpoint whose file names PNDM gives diffusers' `EulerDiscreteScheduler.from_config(json)`.
/// Keys that the built class does not know are ignored, as diffusers does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// `_class_name`: the diffusers class that wrote the file.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    /// `num_train_timesteps`: the number of noise levels of the training; 1000.
    pub num_train_timesteps: Option<usize>,
    /// `beta_start`: beta of the first noise level; 0.0001.
    pub beta_start: Option<f64>,
    /// `beta_end`: beta of the last noise level; 0.02.
    pub beta_end: Option<f64>,
    /// `beta_schedule`: how beta grows between them; linear.
    pub beta_schedule: Option<BetaSchedule>,
    /// `trained_betas`: every beta, in place of the three keys above.
    pub trained_betas: Option<Vec<f64>>,
    /// `rescale_betas_zero_snr`: whether the last noise level is pure noise; false. Unknown to
    /// PNDM.
    pub rescale_betas_zero_snr: Option<bool>,
    /// `prediction_type`: what the model's output means; epsilon.
    pub prediction_type: Option<PredictionType>,
    /// `timestep_spacing`: which of the training's timesteps a run visits; leading for DDIM and
    /// PNDM, linspace for the others.
    pub timestep_spacing: Option<TimestepSpacing>,
    /// `steps_offset`: added to the timesteps of leading spacing; 0.
    pub steps_offset: Option<usize>,
    /// `clip_sample` (DDIM, DDPM, LCM): whether the denoised estimate is clamped; true but for
    /// LCM.
    pub clip_sample: Option<bool>,
    /// `clip_sample_range`: the largest value that clamping lets through; 1.
    pub clip_sample_range: Option<f64>,
    /// `set_alpha_to_one` (DDIM, PNDM): whether the last step ends at an image without noise and
    /// not at the first noise level; true for DDIM, false for PNDM.
    pub set_alpha_to_one: Option<bool>,
    /// `skip_prk_steps` (PNDM): whether the Runge-Kutta steps of the start are left out; false.
    pub skip_prk_steps: Option<bool>,
    /// `thresholding`: dynamic thresholding, made for models of pixels; false. True is refused.
    pub thresholding: Option<bool>,
    /// `interpolation_type` (Euler): how sigmas are read off the training's; linear.
    pub interpolation_type: Option<InterpolationType>,
    /// `timestep_type` (Euler): whether a v-prediction model is told the timestep or a quarter
    /// of the logarithm of sigma; discrete.
    pub timestep_type: Option<TimestepType>,
    /// `use_karras_sigmas` (Euler, DPM-Solver): false.
    pub use_karras_sigmas: Option<bool>,
    /// `use_exponential_sigmas` (Euler, DPM-Solver): false.
    pub use_exponential_sigmas: Option<bool>,
    /// `use_beta_sigmas` (Euler, DPM-Solver): false.
    pub use_beta_sigmas: Option<bool>,
    /// `use_lu_lambdas` (DPM-Solver): false.
    pub use_lu_lambdas: Option<bool>,
    /// `use_flow_sigmas` (DPM-Solver): flow matching; false. True is refused.
    pub use_flow_sigmas: Option<bool>,
    /// `sigma_min`: the last sigma above zero of Karras, exponential and beta sigmas, in place
    /// of the training's smallest.
    pub sigma_min: Option<f64>,
    /// `sigma_max`: the first sigma of Karras, exponential and beta sigmas, in place of the
    /// training's largest.
    pub sigma_max: Option<f64>,
    /// `final_sigmas_type` (Euler, DPM-Solver): the noise level after the last step; zero.
    pub final_sigmas_type: Option<FinalSigmasType>,
    /// `algorithm_type` (DPM-Solver): dpmsolver++.
    pub algorithm_type: Option<AlgorithmType>,
    /// `solver_type` (DPM-Solver, DEIS, UniPC).
    pub solver_type: Option<SolverType>,
    /// `solver_order` (DPM-Solver, DEIS, UniPC): 1, 2 or 3; 2.
    pub solver_order: Option<usize>,
    /// `lower_order_final` (DPM-Solver, DEIS, UniPC): whether runs end at lower order, with
    /// multistep DPM-Solver and DEIS those of fewer than 15 steps; true.
    pub lower_order_final: Option<bool>,
    /// `euler_at_final` (DPM-Solver): whether the last step is always of first order; false.
    pub euler_at_final: Option<bool>,
    /// `align_your_steps`, not a key of the file: the model whose published sigmas the schedule
    /// `ays` takes; Stable Diffusion's.
    #[serde(skip)]
    pub align_your_steps: AlignYourSteps,
    /// `lambda_min_clipped` (DPM-Solver): the noisiest level that is visited, as the logarithm
    /// of alpha over sigma; no limit.
    pub lambda_min_clipped: Option<f64>,
    /// `predict_x0` (UniPC): whether the image is integrated and not the noise; true.
    pub predict_x0: Option<bool>,
    /// `disable_corrector` (UniPC): the steps after which nothing is corrected; none.
    pub disable_corrector: Option<Vec<usize>>,
    /// `original_inference_steps` (LCM, TCD): the steps that the model was distilled at; 50.
    pub original_inference_steps: Option<usize>,
    /// `timestep_scaling` (LCM): how fast the image wins over the sample in the boundary
    /// condition; 10.
    pub timestep_scaling: Option<f64>,
    /// `variance_type`: for DDPM how much noise is added, fixed_small by default. Models that
    /// also predict a variance are refused.
    pub variance_type: Option<String>,
}

/// The models for which the sigmas of Align Your Steps are published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AlignYourSteps {
    /// Stable Diffusion 1.5.
    #[default]
    StableDiffusion,
    /// Stable Diffusion XL.
    StableDiffusionXl,
}

/// `beta_schedule`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Beta grows evenly.
    #[default]
    Linear,
    /// The square root of beta grows evenly: latent diffusion models.
    ScaledLinear,
    /// The cosine schedule (Nichol and Dhariwal, arXiv:2102.09672, equation 17).
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredcosCapV2,
}

/// `prediction_type`: what the model's output means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    #[default]
    Epsilon,
    /// The velocity (Salimans and Ho, arXiv:2202.00512, appendix D).
    VPrediction,
    /// The image without noise.
    Sample,
}

/// `timestep_spacing` (Lin et al., arXiv:2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Every `num_train_timesteps / steps`-th timestep, from the first one on.
    Leading,
    /// Every `num_train_timesteps / steps`-th timestep, from the last one down.
    Trailing,
    /// Evenly from the first to the last.
    Linspace,
}

/// `interpolation_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolationType {
    /// Between the sigmas of the neighbouring training timesteps.
    #[default]
    Linear,
    /// Evenly in the logarithm of sigma, whatever the timesteps.
    LogLinear,
}

/// `timestep_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepType {
    /// The training's timesteps.
    #[default]
    Discrete,
    /// A quarter of the logarithm of sigma.
    Continuous,
}

/// `final_sigmas_type`: the noise level after the last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigmasType {
    /// No noise.
    #[default]
    Zero,
    /// The training's smallest sigma.
    SigmaMin,
}

/// `algorithm_type`: what DPM-Solver integrates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlgorithmType {
    /// The predicted noise (Lu et al., arXiv:2206.00927).
    #[serde(rename = "dpmsolver")]
    Dpmsolver,
    /// The predicted image (Lu et al., arXiv:2211.01095). diffusers reads `deis` so too.
    #[default]
    #[serde(rename = "dpmsolver++", alias = "deis")]
    DpmsolverPlusPlus,
    /// The predicted noise, with fresh noise at each step.
    #[serde(rename = "sde-dpmsolver")]
    SdeDpmsolver,
    /// The predicted image, with fresh noise at each step.
    #[serde(rename = "sde-dpmsolver++")]
    SdeDpmsolverPlusPlus,
}

/// `solver_type`: the form of a solver's equations.
///
/// Each class has types of its own and reads those of the others as its default: DPM-Solver as
/// midpoint, DEIS as logrho, UniPC as bh2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// The midpoint method (DPM-Solver).
    #[default]
    Midpoint,
    /// Heun's method (DPM-Solver).
    Heun,
    /// The logarithm of rho (DEIS).
    Logrho,
    /// The first choice of B(h) in UniPC: h.
    Bh1,
    /// The second choice of B(h) in UniPC: e^h - 1.
    Bh2,
}

impl AlgorithmType {
    /// Whether the predicted image is integrated and not the noise.
    pub(super) fn predicts_original(self) -> bool {
        matches!(self, Self::DpmsolverPlusPlus | Self::SdeDpmsolverPlusPlus)
    }

    pub(super) fn draws_noise(self) -> bool {
        matches!(self, Self::SdeDpmsolver | Self::SdeDpmsolverPlusPlus)
    }

    /// The same without fresh noise.
    pub(super) fn deterministic(self) -> Self {
        match self {
            Self::Dpmsolver | Self::SdeDpmsolver => Self::Dpmsolver,
            Self::DpmsolverPlusPlus | Self::SdeDpmsolverPlusPlus => Self::DpmsolverPlusPlus,
        }
    }

    /// The same with fresh noise.
    pub(super) fn stochastic(self) -> Self {
        match self {
            Self::Dpmsolver | Self::SdeDpmsolver => Self::SdeDpmsolver,
            Self::DpmsolverPlusPlus | Self::SdeDpmsolverPlusPlus => Self::SdeDpmsolverPlusPlus,
        }
    }
}

impl SchedulerConfig {
    /// Reads the text of a `scheduler_config.json`.
    ///
    /// Python writes the default of `lambda_min_clipped` as a bare `-Infinity`, which JSON does
    /// not have; it is read as an absent key.
    pub fn from_json(text: &str) -> Result<Self, SchedulerError> {
        Ok(serde_json::from_str(&without_infinities(text))?)
    }

    /// The sampler of the class that wrote the file, where this program has it.
    pub fn sampler(&self) -> Option<Sampler> {
        let sampler = Sampler::from_class_name(self.class_name.as_deref()?)?;
        let stochastic = self.algorithm_type.is_some_and(AlgorithmType::draws_noise);
        Some(match (sampler, self.solver_order) {
            (Sampler::Dpmpp2m, Some(3)) if stochastic => Sampler::Dpmpp3mSde,
            (Sampler::Dpmpp2m, _) if stochastic => Sampler::Dpmpp2mSde,
            _ => sampler,
        })
    }

    /// The configuration as the Stable Diffusion pipelines of diffusers patch it.
    ///
    /// They force `steps_offset` to 1 and `clip_sample` to false, because early published files
    /// had them wrong (diffusers `pipelines/stable_diffusion/pipeline_stable_diffusion.py`). The
    /// Stable Diffusion XL pipelines do not.
    #[must_use]
    pub fn for_stable_diffusion(self) -> Self {
        Self { steps_offset: Some(1), clip_sample: Some(false), ..self }
    }

    /// The configuration as the Stable Diffusion XL pipelines of diffusers take it: unchanged.
    #[must_use]
    pub fn for_stable_diffusion_xl(self) -> Self {
        Self { align_your_steps: AlignYourSteps::StableDiffusionXl, ..self }
    }

    /// `clip_sample_range` where `clip_sample`, or its default, says so.
    pub(super) fn clip_range(&self, default: bool) -> Option<f64> {
        self.clip_sample.unwrap_or(default).then(|| self.clip_sample_range.unwrap_or(1.0))
    }

    /// The configuration without the keys that, of the samplers that count in sigmas, only
    /// Euler's class knows: the ones in a file have no effect on the others.
    #[must_use]
    pub(super) fn without_keys_of_euler(&self) -> Self {
        Self {
            interpolation_type: None,
            timestep_type: None,
            final_sigmas_type: None,
            ..self.clone()
        }
    }

    /// The same also without `rescale_betas_zero_snr`: for the classes that know neither.
    #[must_use]
    pub(super) fn without_keys_of_euler_and_zero_snr(&self) -> Self {
        Self { rescale_betas_zero_snr: None, ..self.without_keys_of_euler() }
    }

    /// `num_train_timesteps`, or its default.
    pub fn train_timesteps(&self) -> usize {
        self.num_train_timesteps.unwrap_or(1000)
    }
}

/// Replaces each `-Infinity` outside strings by `null`.
fn without_infinities(text: &str) -> String {
    const INFINITY: &str = "-Infinity";
    let mut result = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if !in_string && let Some(after) = rest.strip_prefix(INFINITY) {
            result.push_str("null");
            rest = after;
            continue;
        }
        match character {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
        result.push(character);
        rest = &rest[character.len_utf8()..];
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_published_file() {
        let config = SchedulerConfig::from_json(
            r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0",
                "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": true,
                "trained_betas": null, "lambda_min_clipped": -Infinity, "steps_offset": 0}"#,
        )
        .unwrap();
        assert_eq!(config.sampler(), Some(Sampler::Pndm));
        assert_eq!(config.beta_schedule, Some(BetaSchedule::ScaledLinear));
        assert_eq!(config.lambda_min_clipped, None);
        assert_eq!(config.timestep_spacing, None);
        let patched = config.for_stable_diffusion();
        assert_eq!((patched.steps_offset, patched.clip_sample), (Some(1), Some(false)));
    }

    #[test]
    fn an_unknown_value_is_named() {
        let error = SchedulerConfig::from_json(r#"{"beta_schedule": "sigmoid"}"#).unwrap_err();
        assert!(error.to_string().contains("sigmoid"), "{error}");
    }

    #[test]
    fn strings_keep_their_infinities() {
        let text = r#"{"a\"": "-Infinity \\", "b": [-Infinity, 1]}"#;
        assert_eq!(without_infinities(text), r#"{"a\"": "-Infinity \\", "b": [null, 1]}"#);
    }
}
