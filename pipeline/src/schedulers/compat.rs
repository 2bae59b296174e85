//! Whose meaning samplers and schedules have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    sampler::{Sampler, Schedule},
    sigma_spacing::SigmaSpacing,
};

/// Whose meaning samplers, schedules and the steps of a prompt have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// That of diffusers.
    #[default]
    Diffusers,
    /// That of AUTOMATIC1111's web UI, which takes its samplers from k-diffusion.
    A1111,
}

/// A name that no meaning has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown program to be compatible with `{0}`; known are diffusers, a1111")]
pub struct UnknownCompat(String);

impl Compat {
    /// The name in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusers",
            Self::A1111 => "a1111",
        }
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Compat {
    type Err = UnknownCompat;

    fn from_str(name: &str) -> Result<Self, UnknownCompat> {
        [Self::Diffusers, Self::A1111]
            .into_iter()
            .find(|compat| compat.name() == name)
            .ok_or_else(|| UnknownCompat(name.to_owned()))
    }
}

impl Sampler {
    /// The schedule that A1111 takes for the sampler where none is chosen
    /// (`modules/sd_samplers_kdiffusion.py`).
    pub(super) fn a1111_schedule(self) -> Schedule {
        match self {
            Self::Dpmpp2m
            | Self::DpmppSde
            | Self::Dpmpp2sAncestral
            | Self::Dpm2
            | Self::Dpm2Ancestral
            | Self::Restart => Schedule::Karras,
            Self::Dpmpp2mSde | Self::Dpmpp3mSde => Schedule::Exponential,
            _ => Schedule::Normal,
        }
    }

    /// Whether A1111 leaves out the last sigma above zero, which these samplers handle badly.
    fn discards_next_to_last_sigma(self) -> bool {
        matches!(self, Self::Dpm2 | Self::Dpm2Ancestral | Self::Dpmpp3mSde)
    }

    /// Whether A1111 counts two evaluations of the model for a step.
    pub fn is_second_order(self) -> bool {
        matches!(
            self,
            Self::Heun
                | Self::Dpm2
                | Self::Dpm2Ancestral
                | Self::Dpmpp2sAncestral
                | Self::DpmppSde
                | Self::Restart
        )
    }
}

/// The sigmas of a run as A1111 makes them, the one that the last step ends at included
/// (`modules/sd_samplers_kdiffusion.py`, `get_sigmas`; `modules/sd_schedulers.py`). `training` are
/// those of the model.
pub(super) fn a1111_sigmas(
    sampler: Sampler,
    spacing: SigmaSpacing,
    training: &[f64],
    steps: usize,
) -> Vec<f64> {
    let steps = steps + usize::from(sampler.discards_next_to_last_sigma());
    let (smallest, largest) = (training[0], training[training.len() - 1]);
    let mut sigmas = match spacing {
        // Of a number of steps that does not divide the training's there may be one more.
        SigmaSpacing::DdimUniform => {
            let every = (training.len() / steps).max(1);
            training.iter().skip(1).step_by(every).rev().copied().collect()
        }
        SigmaSpacing::AlignYourSteps(model) => model.interpolated(steps),
        spacing => spacing
            .places(training, (largest, smallest), steps)
            .map(|places| places.into_iter().map(|place| place.sigma).collect())
            .unwrap_or_default(),
    };
    sigmas.push(spacing.end(smallest).unwrap_or(0.0));
    if sampler.discards_next_to_last_sigma() && sigmas.len() > 2 {
        sigmas.remove(sigmas.len() - 2);
    }
    sigmas
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{
        super::{
            SamplerOptions, SchedulerConfig, build_with,
            config::{BetaSchedule, PredictionType},
        },
        *,
    };

    /// Of models without signal at the end A1111 has a largest sigma of its own, for all samplers.
    #[test]
    fn the_models_own_sigmas_are_taken() {
        let config = SchedulerConfig {
            rescale_betas_zero_snr: Some(true),
            prediction_type: Some(PredictionType::VPrediction),
            sigma_max: Some(3.0),
            beta_start: Some(0.00085),
            beta_end: Some(0.012),
            beta_schedule: Some(BetaSchedule::ScaledLinear),
            ..SchedulerConfig::default()
        };
        let options = SamplerOptions { compat: Compat::A1111, ..SamplerOptions::default() };
        for sampler in [Sampler::Euler, Sampler::Dpm2, Sampler::Lms, Sampler::Dpmpp2m] {
            let run = build_with(sampler, Schedule::Karras, &config, 8, &options).unwrap();
            let largest = run.init_noise_sigma();
            assert!((largest - 4518.77).abs() < 0.1, "{sampler}: {largest}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for compat in [Compat::Diffusers, Compat::A1111] {
            assert_eq!(compat.to_string().parse(), Ok(compat));
            assert_eq!(serde_json::to_string(&compat).unwrap(), format!("\"{compat}\""));
        }
        assert!("forge".parse::<Compat>().unwrap_err().to_string().contains("a1111"));
    }
}
