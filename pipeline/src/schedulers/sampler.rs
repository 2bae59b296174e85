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
    /// Pseudo numerical methods (Liu et al., arXiv:2202.09778), known as PLMS.
    Pndm,
    /// Euler's method (Karras et al., arXiv:2206.00364, algorithm 2).
    Euler,
    /// Euler's method with noise added after each step.
    #[serde(rename = "euler-a")]
    EulerAncestral,
    /// The second-order multistep DPM-Solver++ (Lu et al., arXiv:2211.01095).
    #[serde(rename = "dpmpp-2m")]
    Dpmpp2m,
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
    pub const ALL: [Self; 5] =
        [Self::Euler, Self::EulerAncestral, Self::Dpmpp2m, Self::Ddim, Self::Pndm];

    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::Dpmpp2m => "dpmpp-2m",
        }
    }

    /// The name in the window and in image metadata, as A1111's web UI spells it.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Pndm => "PLMS",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler a",
            Self::Dpmpp2m => "DPM++ 2M",
        }
    }

    /// The diffusers class that the sampler stands for.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Dpmpp2m => "DPMSolverMultistepScheduler",
        }
    }

    /// The sampler of a diffusers class, as `_class_name` in `scheduler_config.json` gives it.
    pub fn from_class_name(class_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sampler| sampler.class_name() == class_name)
    }

    /// The sampler that A1111's web UI calls `name`, in any case of letters.
    pub fn from_display_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sampler| sampler.display_name().eq_ignore_ascii_case(name))
    }
}

impl Schedule {
    /// Every schedule, in the order in which a list shows them.
    pub const ALL: [Self; 2] = [Self::Automatic, Self::Karras];

    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Karras => "karras",
        }
    }

    /// The name in the window and in image metadata, as A1111's web UI spells it.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Karras => "Karras",
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
            assert_eq!(Sampler::from_class_name(sampler.class_name()), Some(sampler));
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
            "unknown sampler `Euler`; known are euler, euler-a, dpmpp-2m, ddim, pndm"
        );
        assert!("linear".parse::<Schedule>().is_err());
        assert_eq!(Sampler::from_class_name("FlowMatchEulerDiscreteScheduler"), None);
    }
}
