//! What a person asks for: plain data, no tensors.

mod conditioning;
mod control;
mod error;
mod fewer_operations;
mod fields;
mod mode;
mod upscaler;

pub use conditioning::{ConditioningOptions, SizeConditions};
pub use control::{CONTROL_PREPROCESSES, Control, ControlPreprocess, ControlUnit};
pub use error::{ControlError, PromptPart, RequestError, Share, Side, StrengthKind, nearest_sides};
pub use fewer_operations::FewerOperations;
pub use fields::FieldError;
pub use mode::{
    BadExtension, Extension, HiresFix, HiresUpscaler, InitImage, Inpaint, MaskArea, MaskMode,
    MaskedContent, Mode, Outpaint, ResizeMode, UnknownChoice, Upscale,
};
use serde::{Deserialize, Serialize};
pub use upscaler::Upscaler;
pub(crate) use upscaler::network_name;

use crate::{
    adapters::AdapterSelection,
    rng::RngSource,
    schedulers::{Compat, Sampler, Schedule},
};

/// Images are encoded in cells of this many pixels on a side, by AutoencoderKL's three halvings.
pub const LATENT_CELL: u32 = 8;

/// The largest side that is accepted; beyond it even the latents of one picture do not fit.
const MAX_SIDE: u32 = 16_384;

/// The most pixels by which a mask's edge is moved or softened.
const MAX_EDGE: u32 = 1024;

/// The most that a picture is enlarged.
const MAX_SCALE: f64 = 8.0;

/// The longest prompt in bytes: hundreds of times what a text encoder reads, and still quick to
/// break into tokens.
const MAX_PROMPT_BYTES: usize = 64 * 1024;

/// Everything that decides an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    /// What the image starts from.
    #[serde(flatten)]
    pub mode: Mode,
    /// What to draw.
    pub prompt: String,
    /// What to keep away from; empty for nothing in particular.
    #[serde(rename = "negative")]
    pub negative_prompt: String,
    /// Width in pixels, a multiple of [`LATENT_CELL`].
    pub width: u32,
    /// Height in pixels, a multiple of [`LATENT_CELL`].
    pub height: u32,
    /// Number of denoising steps, from 1.
    pub steps: u32,
    /// Weight of classifier-free guidance (Ho and Salimans, arXiv:2207.12598); 1 or less turns
    /// it off.
    #[serde(rename = "cfg")]
    pub guidance_scale: f64,
    /// How a step is made.
    pub sampler: Sampler,
    /// How noise levels are spaced.
    pub schedule: Schedule,
    /// Whose meaning sampler, schedule and the steps of a prompt have.
    #[serde(default)]
    pub compat: Compat,
    /// What the model is told beside the prompts, and how it is guided.
    #[serde(flatten)]
    pub conditioning: ConditioningOptions,
    /// What of it may be left out.
    #[serde(flatten)]
    pub fewer_operations: FewerOperations,
    /// Seed of the first image; image k has `seed + k`.
    pub seed: u64,
    /// Which generator turns a seed into noise.
    pub rng: RngSource,
    /// Number of images.
    pub count: u32,
    /// What is added to the checkpoint.
    #[serde(flatten)]
    pub adapters: AdapterSelection,
    /// What steers the image beside words.
    #[serde(flatten)]
    pub control: Control,
}

impl GenerationRequest {
    /// One picture from words alone, 512 pixels on a side, in 20 steps of DPM++ 2M with a guidance
    /// scale of 7.5 and seed 0. What a checkpoint recommends is in
    /// [`CheckpointDefaults`](crate::diffusion::CheckpointDefaults).
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            mode: Mode::TextToImage,
            prompt: prompt.into(),
            negative_prompt: String::new(),
            width: 512,
            height: 512,
            steps: 20,
            guidance_scale: 7.5,
            sampler: Sampler::Dpmpp2m,
            schedule: Schedule::Automatic,
            compat: Compat::default(),
            conditioning: ConditioningOptions::default(),
            fewer_operations: FewerOperations::default(),
            seed: 0,
            rng: RngSource::Torch,
            count: 1,
            adapters: AdapterSelection::default(),
            control: Control::default(),
        }
    }

    /// Refuses what no model can do, before anything is loaded.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RequestError> {
        for (side, pixels) in [(Side::Width, self.width), (Side::Height, self.height)] {
            if pixels > MAX_SIDE {
                return Err(RequestError::LongSide { side, pixels });
            }
            if pixels == 0 || !pixels.is_multiple_of(LATENT_CELL) {
                return Err(RequestError::UnevenSide { side, pixels });
            }
        }
        let prompts =
            [(PromptPart::Prompt, &self.prompt), (PromptPart::Negative, &self.negative_prompt)];
        for (prompt, text) in prompts.into_iter().chain(self.conditioning.second_prompts()) {
            if text.len() > MAX_PROMPT_BYTES {
                return Err(RequestError::LongPrompt { prompt, bytes: text.len() });
            }
        }
        if self.steps == 0 {
            return Err(RequestError::NoSteps);
        }
        if self.count == 0 {
            return Err(RequestError::NoImages);
        }
        self.check_mode()?;
        self.conditioning.check()?;
        self.fewer_operations.check()?;
        self.control.check(&self.mode)?;
        if !self.guidance_scale.is_finite() {
            return Err(RequestError::Guidance(self.guidance_scale));
        }
        Ok(())
    }

    fn check_mode(&self) -> Result<(), RequestError> {
        let strength_of = |strength, value| Err(RequestError::Strength { strength, value });
        match &self.mode {
            Mode::HiresFix(HiresFix { scale, .. }) | Mode::Upscale(Upscale { scale, .. })
                if !(1.0..=MAX_SCALE).contains(scale) =>
            {
                return Err(RequestError::Scale(*scale));
            }
            Mode::HiresFix(hires) if !(hires.strength > 0.0 && hires.strength <= 1.0) => {
                return strength_of(StrengthKind::SecondPass, hires.strength);
            }
            Mode::HiresFix(hires) if hires.steps == 0 => {
                return Err(RequestError::NoStepsInSecondPass);
            }
            Mode::Outpaint(Outpaint { extend: Extension { left, top, right, bottom }, .. }) => {
                let sides = [left, top, right, bottom];
                if sides.iter().all(|&&side| side == 0)
                    || sides.iter().any(|&&side| side > MAX_SIDE)
                {
                    return Err(RequestError::Extension);
                }
            }
            _ => {}
        }
        let Some(init) = self.mode.init() else { return Ok(()) };
        // A picture may be made larger and left so.
        let is_left = matches!(self.mode, Mode::Upscale(_)) && init.strength == 0.0;
        if !(init.strength > 0.0 && init.strength <= 1.0 || is_left) {
            return strength_of(StrengthKind::Picture, init.strength);
        }
        let Mode::Inpaint(inpaint) = &self.mode else { return Ok(()) };
        if !(0.0..=f64::from(MAX_EDGE)).contains(&inpaint.mask_blur)
            || inpaint.mask_grow.unsigned_abs() > MAX_EDGE
            || inpaint.feather > MAX_EDGE
        {
            return Err(RequestError::MaskEdge);
        }
        let is_hard = inpaint.mask_mode == MaskMode::Hard;
        if !is_hard && (inpaint.mask_grow != 0 || inpaint.feather != 0) {
            return Err(RequestError::MaskOfGreys(inpaint.mask_mode));
        }
        if init.raw && (!is_hard || inpaint.mask_area != MaskArea::Whole) {
            return Err(RequestError::RawInpainting);
        }
        Ok(())
    }

    /// The seed of image `index`, counted from 0: variations share it, and differ in the other.
    pub fn seed_of(&self, index: u32) -> u64 {
        let step = if self.conditioning.varies() { 0 } else { index };
        self.seed.wrapping_add(u64::from(step))
    }

    /// The request for image `index` alone, counted from 0.
    #[must_use]
    pub fn image(&self, index: u32) -> Self {
        let mut single = Self { seed: self.seed_of(index), count: 1, ..self.clone() };
        if self.conditioning.varies() {
            let first = self.conditioning.variation_seed;
            single.conditioning.variation_seed = first.wrapping_add(u64::from(index));
        }
        single
    }

    /// The request with all its prompts replaced by what `replace` makes of them.
    ///
    /// # Errors
    ///
    /// The first of `replace`.
    pub fn with_prompts<E>(
        mut self,
        mut replace: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Self, E> {
        let second = [&mut self.conditioning.prompt_2, &mut self.conditioning.negative_2];
        let prompts = [&mut self.prompt, &mut self.negative_prompt];
        for prompt in prompts.into_iter().chain(second.into_iter().flatten()) {
            *prompt = replace(prompt)?;
        }
        Ok(self)
    }

    /// Whether each step also evaluates the negative prompt.
    pub fn uses_guidance(&self) -> bool {
        self.guidance_scale > 1.0
    }
}
