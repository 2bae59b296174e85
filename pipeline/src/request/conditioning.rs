//! What the model is told beside prompt and negative prompt, and how it is guided.

use serde::{Deserialize, Serialize};

use super::{PromptPart, RequestError, Share};

/// The most layers of a text encoder that may be left out, with the last one as the first.
const MAX_CLIP_SKIP: u32 = 12;

/// What the model is told beside prompt and negative prompt, and how it is guided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ConditioningOptions {
    /// The prompt of SDXL's second text encoder; as the first's where `None`.
    pub prompt_2: Option<String>,
    /// The negative prompt of SDXL's second text encoder; as the first's where `None`.
    pub negative_2: Option<String>,
    /// Which layer of a text encoder is taken, counted from the end as A1111 does: 1 is the last,
    /// which diffusers calls no `clip_skip`, and 2 the last but one, its 1. With SDXL all are one
    /// layer earlier.
    pub clip_skip: u32,
    /// How much of the standard deviation of guided noise is brought back to that of the prompt's,
    /// from 0 to 1 (Lin et al., arXiv:2305.08891, section 3.4).
    pub guidance_rescale: f64,
    /// The seed of the noise that is mixed in with a strength above 0; image k has this + k.
    pub variation_seed: u64,
    /// How far the first noise goes from that of `seed` to that of `variation_seed`, from 0 to 1.
    pub variation_strength: f64,
    /// The sizes that SDXL is told; the picture's own where `None`.
    pub size_conditions: Option<SizeConditions>,
}

/// The sizes that SDXL is told, width and height or left and top, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SizeConditions {
    /// That of the picture before it was cropped.
    pub original: (u32, u32),
    /// Where it was cropped.
    pub crop: (u32, u32),
    /// That of the picture after it.
    pub target: (u32, u32),
}

impl Default for ConditioningOptions {
    fn default() -> Self {
        Self {
            prompt_2: None,
            negative_2: None,
            clip_skip: 1,
            guidance_rescale: 0.0,
            variation_seed: 0,
            variation_strength: 0.0,
            size_conditions: None,
        }
    }
}

impl ConditioningOptions {
    /// Whether noise of another seed is mixed in.
    pub fn varies(&self) -> bool {
        self.variation_strength > 0.0
    }

    /// The second prompts, with what they are.
    pub(super) fn second_prompts(&self) -> impl Iterator<Item = (PromptPart, &String)> {
        let prompts =
            [(PromptPart::Second, &self.prompt_2), (PromptPart::SecondNegative, &self.negative_2)];
        prompts.into_iter().filter_map(|(part, prompt)| Some((part, prompt.as_ref()?)))
    }

    pub(super) fn check(&self) -> Result<(), RequestError> {
        if !(1..=MAX_CLIP_SKIP).contains(&self.clip_skip) {
            return Err(RequestError::ClipSkip { most: MAX_CLIP_SKIP, value: self.clip_skip });
        }
        for (share, value) in [
            (Share::GuidanceRescale, self.guidance_rescale),
            (Share::VariationStrength, self.variation_strength),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RequestError::Share { share, value });
            }
        }
        Ok(())
    }
}
