//! Checkpoints that were distilled to draw in few steps, and the settings that they want.

use serde::Deserialize;

use super::{CheckpointError, files::CheckpointFiles, folder::RecommendedSettings};

/// How a checkpoint was distilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FewSteps {
    /// Latent consistency models (arXiv:2310.04378).
    Lcm,
    /// The same with a UNet that is told the guidance scale, such as LCM Dreamshaper.
    GuidedLcm,
    /// Adversarial diffusion distillation (arXiv:2311.17042): SD Turbo and SDXL Turbo.
    Turbo,
    /// Progressive adversarial distillation (arXiv:2402.13929).
    Lightning,
    /// Trajectory segmented consistency distillation (arXiv:2404.13686).
    Hyper,
}

impl FewSteps {
    /// What a checkpoint's configuration or its name says.
    ///
    /// # Errors
    ///
    /// Where a configuration cannot be read.
    pub fn of_checkpoint(files: &CheckpointFiles) -> Result<Option<Self>, CheckpointError> {
        #[derive(Deserialize)]
        struct Scheduler {
            #[serde(rename = "_class_name", default)]
            class_name: String,
        }
        #[derive(Deserialize)]
        struct UNet {
            time_cond_proj_dim: Option<usize>,
        }
        if matches!(files, CheckpointFiles::Embedded { .. }) {
            return Ok(None);
        }
        let UNet { time_cond_proj_dim } = files.json("unet/config.json")?;
        // Python may write `-Infinity`, which is not JSON.
        let scheduler = files.read_optional("scheduler/scheduler_config.json")?;
        let class = scheduler.and_then(|text| serde_json::from_slice::<Scheduler>(&text).ok());
        let is_lcm = class.is_some_and(|scheduler| scheduler.class_name == "LCMScheduler");
        Ok(if time_cond_proj_dim.is_some() {
            Some(Self::GuidedLcm)
        } else if is_lcm {
            Some(Self::Lcm)
        } else {
            Self::of_name(&files.name())
        })
    }

    /// What the name of a checkpoint says.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let has_word =
            |word: &str| name.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
        if has_word("lcm") || name.contains("latent-consistency") {
            Some(Self::Lcm)
        } else if name.contains("lightning") {
            Some(Self::Lightning)
        } else if name.contains("turbo") {
            Some(Self::Turbo)
        } else if ["hyper-sd", "hyper_sd", "hypersd"].iter().any(|hyper| name.contains(hyper)) {
            Some(Self::Hyper)
        } else {
            None
        }
    }

    /// The settings that the authors recommend; `name` may state the number of steps, as in
    /// `sdxl_lightning_4step`.
    ///
    /// Guidance is part of what was distilled, so more of it spoils the picture, except where it is
    /// an input.
    pub fn recommended(self, name: &str) -> RecommendedSettings {
        RecommendedSettings {
            steps: Some(steps_in(name).unwrap_or(match self {
                Self::Lcm | Self::GuidedLcm | Self::Turbo | Self::Lightning => 4,
                Self::Hyper => 8,
            })),
            guidance_scale: Some(if self == Self::GuidedLcm { 8.5 } else { 1.0 }),
            ..RecommendedSettings::default()
        }
    }

    /// `scheduler_config.json`'s class and spacing for it.
    pub(super) fn scheduler(self) -> (&'static str, &'static str) {
        match self {
            Self::Lcm | Self::GuidedLcm => ("LCMScheduler", "leading"),
            Self::Turbo => ("EulerAncestralDiscreteScheduler", "trailing"),
            Self::Lightning => ("EulerDiscreteScheduler", "trailing"),
            Self::Hyper => ("TCDScheduler", "leading"),
        }
    }
}

/// The number before `step` in a name.
fn steps_in(name: &str) -> Option<u32> {
    let name = name.to_lowercase();
    let before = &name[..name.find("step")?];
    let before = before.trim_end_matches(|c: char| !c.is_alphanumeric());
    let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let steps = before[before.len() - digits..].parse().ok()?;
    (1..=64).contains(&steps).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for (name, expected) in [
            ("sd_xl_turbo_1.0_fp16", Some((FewSteps::Turbo, 4))),
            ("sdxl_lightning_8step", Some((FewSteps::Lightning, 8))),
            ("dreamshaperXL_lightningDPMSDE", Some((FewSteps::Lightning, 4))),
            ("LCM_Dreamshaper_v7", Some((FewSteps::Lcm, 4))),
            ("Hyper-SDXL-1step-Unet", Some((FewSteps::Hyper, 1))),
            ("Hyper-SD15-2-steps", Some((FewSteps::Hyper, 2))),
            ("hyperrealism_v3", None),
            ("v1-5-pruned-emaonly", None),
            ("calcmodel", None),
        ] {
            let found = FewSteps::of_name(name);
            let found = found.map(|kind| (kind, kind.recommended(name).steps.unwrap_or_default()));
            assert_eq!(found, expected, "{name}");
        }
    }
}
