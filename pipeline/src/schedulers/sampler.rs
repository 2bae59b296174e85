//! The names of samplers and schedules.
//!
//! What code calls a scheduler, people choose on two axes: the sampler, which makes the steps,
//! and the schedule, which spaces the noise levels between them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How a step is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Denoising diffusion implicit models (Song et al., arXiv:2010.02502).
    Ddim,
    /// Denoising diffusion probabilistic models (Ho et al., arXiv:2006.11239).
    Ddpm,
    /// Pseudo numerical methods (Liu et al., arXiv:2202.09778), known as PLMS.
    Pndm,
    /// Euler's method (Karras et al., arXiv:2206.00364, algorithm 2).
    Euler,
    /// Euler's method with noise added after each step.
    #[serde(rename = "euler-a")]
    EulerAncestral,
    /// Heun's second-order method (Karras et al., arXiv:2206.00364, algorithm 1).
    Heun,
    /// The linear multistep method of fourth order.
    Lms,
    /// The second-order DPM-Solver (Lu et al., arXiv:2206.00927) as k-diffusion writes it.
    Dpm2,
    /// The same with noise added after each step.
    #[serde(rename = "dpm2-a")]
    Dpm2Ancestral,
    /// The second-order singlestep DPM-Solver++ (Lu et al., arXiv:2211.01095).
    #[serde(rename = "dpmpp-2s")]
    Dpmpp2s,
    /// The same with noise added after each step, as k-diffusion writes it.
    #[serde(rename = "dpmpp-2s-a")]
    Dpmpp2sAncestral,
    /// The second-order multistep DPM-Solver++ (Lu et al., arXiv:2211.01095).
    #[serde(rename = "dpmpp-2m")]
    Dpmpp2m,
    /// The stochastic singlestep DPM-Solver++, as k-diffusion writes it.
    #[serde(rename = "dpmpp-sde")]
    DpmppSde,
    /// The stochastic multistep DPM-Solver++ of second order.
    #[serde(rename = "dpmpp-2m-sde")]
    Dpmpp2mSde,
    /// The stochastic multistep DPM-Solver++ of third order.
    #[serde(rename = "dpmpp-3m-sde")]
    Dpmpp3mSde,
    /// The unified predictor-corrector (Zhao et al., arXiv:2302.04867).
    #[serde(rename = "unipc")]
    UniPc,
    /// The exponential integrator (Zhang and Chen, arXiv:2204.13902) in log rho.
    Deis,
    /// Latent consistency models (Luo et al., arXiv:2310.04378); needs their weights.
    Lcm,
    /// Trajectory consistency distillation (Zheng et al., arXiv:2402.19159); needs its weights.
    Tcd,
    /// Heun's method that goes back to more noise (Xu et al., arXiv:2306.14878).
    Restart,
}

/// How the noise levels of a run are spaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// As the checkpoint's `scheduler_config.json` says.
    #[default]
    Automatic,
    /// Evenly in the seventh root of sigma (Karras et al., arXiv:2206.00364, equation 5).
    Karras,
    /// Evenly in the logarithm of sigma.
    Exponential,
    /// By a power of the place in the run, in the logarithm of sigma.
    Polyexponential,
    /// Evenly in the timestep, from the noisiest to one step before the end.
    SgmUniform,
    /// Every so many training timesteps, from the noisiest down.
    Simple,
    /// Evenly in the timestep, from the noisiest to the least noisy.
    Normal,
    /// Every so many training timesteps, from the least noisy up.
    DdimUniform,
    /// By the quantiles of a beta distribution (Lee et al., arXiv:2407.12173).
    Beta,
    /// Evenly in sigma at first, then quadratically (Polyak et al., arXiv:2410.13720).
    LinearQuadratic,
    /// Evenly in the arc tangent of sigma (Sabour et al., arXiv:2404.14507, appendix B).
    KlOptimal,
    /// The published sigmas of Align Your Steps (Sabour et al., arXiv:2404.14507).
    Ays,
}

/// A name that no sampler or schedule has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown {what} `{name}`; known are {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

impl Sampler {
    /// Every sampler, in the order in which a list shows them.
    pub const ALL: [Self; 20] = [
        Self::Euler,
        Self::EulerAncestral,
        Self::Heun,
        Self::Lms,
        Self::Dpm2,
        Self::Dpm2Ancestral,
        Self::Dpmpp2s,
        Self::Dpmpp2sAncestral,
        Self::Dpmpp2m,
        Self::DpmppSde,
        Self::Dpmpp2mSde,
        Self::Dpmpp3mSde,
        Self::Ddim,
        Self::Ddpm,
        Self::Pndm,
        Self::UniPc,
        Self::Deis,
        Self::Lcm,
        Self::Tcd,
        Self::Restart,
    ];

    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::Heun => "heun",
            Self::Lms => "lms",
            Self::Dpm2 => "dpm2",
            Self::Dpm2Ancestral => "dpm2-a",
            Self::Dpmpp2s => "dpmpp-2s",
            Self::Dpmpp2sAncestral => "dpmpp-2s-a",
            Self::Dpmpp2m => "dpmpp-2m",
            Self::DpmppSde => "dpmpp-sde",
            Self::Dpmpp2mSde => "dpmpp-2m-sde",
            Self::Dpmpp3mSde => "dpmpp-3m-sde",
            Self::Ddim => "ddim",
            Self::Ddpm => "ddpm",
            Self::Pndm => "pndm",
            Self::UniPc => "unipc",
            Self::Deis => "deis",
            Self::Lcm => "lcm",
            Self::Tcd => "tcd",
            Self::Restart => "restart",
        }
    }

    /// The name in the window and in image metadata, as A1111's web UI spells it.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler a",
            Self::Heun => "Heun",
            Self::Lms => "LMS",
            Self::Dpm2 => "DPM2",
            Self::Dpm2Ancestral => "DPM2 a",
            Self::Dpmpp2s => "DPM++ 2S",
            Self::Dpmpp2sAncestral => "DPM++ 2S a",
            Self::Dpmpp2m => "DPM++ 2M",
            Self::DpmppSde => "DPM++ SDE",
            Self::Dpmpp2mSde => "DPM++ 2M SDE",
            Self::Dpmpp3mSde => "DPM++ 3M SDE",
            Self::Ddim => "DDIM",
            Self::Ddpm => "DDPM",
            Self::Pndm => "PLMS",
            Self::UniPc => "UniPC",
            Self::Deis => "DEIS",
            Self::Lcm => "LCM",
            Self::Tcd => "TCD",
            Self::Restart => "Restart",
        }
    }

    /// The diffusers class that the sampler stands for; `None` where only k-diffusion has it.
    ///
    /// The stochastic samplers of several steps share a class with `dpmpp-2m` and are told apart
    /// by `algorithm_type` and `solver_order`: see
    /// [`SchedulerConfig::sampler`](super::SchedulerConfig::sampler).
    pub fn class_name(self) -> Option<&'static str> {
        match self {
            Self::Euler => Some("EulerDiscreteScheduler"),
            Self::EulerAncestral => Some("EulerAncestralDiscreteScheduler"),
            Self::Heun => Some("HeunDiscreteScheduler"),
            Self::Lms => Some("LMSDiscreteScheduler"),
            Self::Dpm2 => Some("KDPM2DiscreteScheduler"),
            Self::Dpm2Ancestral => Some("KDPM2AncestralDiscreteScheduler"),
            Self::Dpmpp2s => Some("DPMSolverSinglestepScheduler"),
            Self::Dpmpp2sAncestral => None,
            Self::Dpmpp2m => Some("DPMSolverMultistepScheduler"),
            Self::DpmppSde => Some("DPMSolverSDEScheduler"),
            Self::Dpmpp2mSde => Some("DPMSolverMultistepScheduler"),
            Self::Dpmpp3mSde => Some("DPMSolverMultistepScheduler"),
            Self::Ddim => Some("DDIMScheduler"),
            Self::Ddpm => Some("DDPMScheduler"),
            Self::Pndm => Some("PNDMScheduler"),
            Self::UniPc => Some("UniPCMultistepScheduler"),
            Self::Deis => Some("DEISMultistepScheduler"),
            Self::Lcm => Some("LCMScheduler"),
            Self::Tcd => Some("TCDScheduler"),
            Self::Restart => None,
        }
    }

    /// The sampler of a diffusers class, as `_class_name` in `scheduler_config.json` gives it, with
    /// the default settings of that class.
    pub fn from_class_name(class_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sampler| sampler.class_name() == Some(class_name))
    }

    /// The sampler that A1111's web UI calls `name`, in any case of letters.
    pub fn from_display_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sampler| sampler.display_name().eq_ignore_ascii_case(name))
    }
}

impl Schedule {
    /// Every schedule, in the order in which a list shows them.
    pub const ALL: [Self; 12] = [
        Self::Automatic,
        Self::Karras,
        Self::Exponential,
        Self::Polyexponential,
        Self::SgmUniform,
        Self::Simple,
        Self::Normal,
        Self::DdimUniform,
        Self::Beta,
        Self::LinearQuadratic,
        Self::KlOptimal,
        Self::Ays,
    ];

    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Karras => "karras",
            Self::Exponential => "exponential",
            Self::Polyexponential => "polyexponential",
            Self::SgmUniform => "sgm-uniform",
            Self::Simple => "simple",
            Self::Normal => "normal",
            Self::DdimUniform => "ddim-uniform",
            Self::Beta => "beta",
            Self::LinearQuadratic => "linear-quadratic",
            Self::KlOptimal => "kl-optimal",
            Self::Ays => "ays",
        }
    }

    /// The name in the window and in image metadata, as A1111's web UI spells it.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Polyexponential => "Polyexponential",
            Self::SgmUniform => "SGM Uniform",
            Self::Simple => "Simple",
            Self::Normal => "Normal",
            Self::DdimUniform => "DDIM",
            Self::Beta => "Beta",
            Self::LinearQuadratic => "Linear Quadratic",
            Self::KlOptimal => "KL Optimal",
            Self::Ays => "Align Your Steps",
        }
    }

    /// The schedule that A1111's web UI calls `name`, in any case of letters.
    pub fn from_display_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|schedule| schedule.display_name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Sampler {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|sampler| sampler.name() == name)
            .ok_or_else(|| unknown("sampler", name, Self::ALL.map(Self::name).as_slice()))
    }
}

impl FromStr for Schedule {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|schedule| schedule.name() == name)
            .ok_or_else(|| unknown("schedule", name, Self::ALL.map(Self::name).as_slice()))
    }
}

fn unknown(what: &'static str, name: &str, known: &[&str]) -> UnknownName {
    UnknownName { what, name: name.to_owned(), known: known.join(", ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for sampler in Sampler::ALL {
            assert_eq!(sampler.to_string().parse(), Ok(sampler));
            assert_eq!(Sampler::from_display_name(sampler.display_name()), Some(sampler));
            if let Some(class_name) = sampler.class_name() {
                let found = Sampler::from_class_name(class_name).unwrap();
                assert_eq!(found.class_name(), Some(class_name));
            }
            let json = serde_json::to_string(&sampler).unwrap();
            assert_eq!(json, format!("\"{sampler}\""));
            assert_eq!(serde_json::from_str::<Sampler>(&json).unwrap(), sampler);
        }
        for schedule in Schedule::ALL {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
            assert_eq!(Schedule::from_display_name(schedule.display_name()), Some(schedule));
            let json = serde_json::to_string(&schedule).unwrap();
            assert_eq!(json, format!("\"{schedule}\""));
            assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = "Euler".parse::<Sampler>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown sampler `Euler`; known are euler, euler-a, heun, lms, dpm2, dpm2-a, dpmpp-2s, \
             dpmpp-2s-a, dpmpp-2m, dpmpp-sde, dpmpp-2m-sde, dpmpp-3m-sde, ddim, ddpm, pndm, unipc, \
             deis, lcm, tcd, restart"
        );
        assert!("linear".parse::<Schedule>().is_err());
        assert_eq!(Sampler::from_class_name("FlowMatchEulerDiscreteScheduler"), None);
    }
}
