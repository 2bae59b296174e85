//! The arguments of `generate` that change pictures.

use std::path::PathBuf;

use clap::Args;
use emberbrush_pipeline::{
    diffusion::CheckpointDefaults,
    request::{
        Extension, HiresFix, InitImage, Inpaint, MaskArea, MaskMode, MaskedContent, Mode, Outpaint,
        ResizeMode, Upscale, Upscaler,
    },
};

/// Share of the steps that image to image makes, as in diffusers.
const IMAGE_STRENGTH: f64 = 0.8;

/// Share of the steps that each tile of an enlarged picture makes: what is there should stay.
const UPSCALE_STRENGTH: f64 = 0.3;

/// Starting from a picture.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changing pictures")]
pub(crate) struct EditingArguments {
    /// The picture to start from: PNG, JPEG, WebP, TIFF or BMP.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) init: Option<PathBuf>,
    /// How much is painted anew, above 0 and up to 1 [default: 0.8; with --mask or
    /// --extend 0.75, or 0.5 without a prompt, or 1 for inpainting models and with --raw; with
    /// --upscale 0.3, where 0 only enlarges].
    #[arg(long, value_name = "X", requires = "init")]
    pub(crate) strength: Option<f64>,
    /// How the picture comes to other proportions: crop, fit, stretch [default: crop; stretch
    /// with --raw].
    #[arg(long, value_name = "MODE", requires = "init")]
    pub(crate) resize: Option<ResizeMode>,
    /// Do as diffusers does: no pasting into the picture, no colour profile, no softened mask.
    #[arg(long, requires = "init")]
    pub(crate) raw: bool,
    /// Repaint what is white in this picture, of the size of --init. Where it has transparent
    /// parts, its alpha channel is the mask. Everything else stays bit for bit.
    #[arg(long, value_name = "IMAGE", requires = "init")]
    pub(crate) mask: Option<PathBuf>,
    /// Repaint what is black instead.
    #[arg(long, requires = "mask")]
    pub(crate) invert_mask: bool,
    /// How greys of the mask are used: hard (none), soft (they hold the picture less as noise
    /// vanishes), differential (they hold it for a part of the steps).
    #[arg(long, value_name = "MODE", requires = "mask", default_value = "hard")]
    pub(crate) mask_mode: MaskMode,
    /// What lies under the mask at first: fill, original, latent-noise, latent-nothing
    /// [default: fill; original with --raw or a mask mode that uses greys].
    #[arg(long, value_name = "CONTENT", requires = "mask")]
    pub(crate) masked_content: Option<MaskedContent>,
    /// Pixels by which the mask grows; it shrinks where negative [default: 4, 0 for masks with greys].
    #[arg(
        long,
        value_name = "N",
        requires = "mask",
        conflicts_with = "raw",
        allow_negative_numbers = true
    )]
    pub(crate) mask_grow: Option<i32>,
    /// Pixels over which the result fades into the picture outside of the mask [default: 0].
    #[arg(long, value_name = "N", requires = "mask", conflicts_with = "raw")]
    pub(crate) feather: Option<u32>,
    /// Standard deviation in pixels of the blur of the mask [default: 4].
    #[arg(long, value_name = "N", requires = "mask", conflicts_with = "raw")]
    pub(crate) mask_blur: Option<f64>,
    /// What the model sees: the whole picture, or the masked part at the model's own size
    /// [default: masked; whole with --raw].
    #[arg(long, value_name = "AREA", requires = "mask")]
    pub(crate) mask_area: Option<MaskArea>,
    /// Pixels around the mask that the model sees with --mask-area masked.
    #[arg(long, value_name = "N", requires = "mask", default_value_t = 32)]
    pub(crate) mask_padding: u32,
    /// Shift the result's colours to meet the picture's [default, unless the model recommends
    /// otherwise for what the prompt asks for].
    #[arg(long, requires = "mask", conflicts_with_all = ["raw", "no_colour_match"])]
    pub(crate) colour_match: bool,
    /// Leave the result's colours as they come.
    #[arg(long, requires = "mask", conflicts_with = "raw")]
    pub(crate) no_colour_match: bool,
    /// Let the picture go on beyond its edges: pixels for each side, such as left=128,bottom=64.
    #[arg(
        long, value_name = "SIDES", requires = "init",
        conflicts_with_all = ["mask", "raw", "resize", "upscale"]
    )]
    pub(crate) extend: Option<Extension>,
    /// Make --init this many times as large, painting over it in tiles of --width and --height.
    #[arg(long, value_name = "X", requires = "init", conflicts_with_all = ["mask", "raw", "resize"])]
    pub(crate) upscale: Option<f64>,
    /// An ESRGAN upscaler, a .safetensors file, that enlarges the picture for --upscale; with
    /// --strength 0 nothing is painted over it [default: Lanczos].
    #[arg(long, value_name = "FILE", requires = "upscale")]
    pub(crate) upscaler: Option<PathBuf>,
    /// Make a new picture, enlarge it this many times, and paint over it in a second pass.
    #[arg(long, value_name = "X", conflicts_with = "init")]
    pub(crate) hires: Option<f64>,
    /// Strength of the second pass.
    #[arg(long, value_name = "X", requires = "hires", default_value_t = 0.5)]
    pub(crate) hires_strength: f64,
    /// Steps of the second pass, of which it makes the share of its strength.
    #[arg(long, value_name = "N", requires = "hires", default_value_t = 20)]
    pub(crate) hires_steps: u32,
    /// What enlarges the first picture: lanczos (its pixels), latent, latent-antialiased,
    /// latent-bicubic, latent-bicubic-antialiased, latent-nearest or latent-nearest-exact (its
    /// latents, which want a strength of 0.5 or more), or the file of an ESRGAN upscaler.
    #[arg(long, value_name = "NAME-or-FILE", requires = "hires", default_value = "lanczos")]
    pub(crate) hires_upscaler: Upscaler,
}

impl EditingArguments {
    /// What the pictures start from.
    pub(crate) fn mode(&self, checkpoint: &CheckpointDefaults, prompt: &str) -> Mode {
        let Some(init) = &self.init else {
            return self.hires.map_or(Mode::TextToImage, |scale| {
                Mode::HiresFix(HiresFix {
                    scale,
                    strength: self.hires_strength,
                    steps: self.hires_steps,
                    upscaler: self.hires_upscaler.clone(),
                })
            });
        };
        let is_fill = self.mask.is_some() || self.extend.is_some();
        let strength = match is_fill.then_some(()) {
            None if self.upscale.is_some() => UPSCALE_STRENGTH,
            None => IMAGE_STRENGTH,
            Some(_) if self.raw => 1.0,
            Some(_) => checkpoint.fill_strength(prompt),
        };
        let resize = if self.raw { ResizeMode::Stretch } else { ResizeMode::Crop };
        let image = InitImage {
            init: init.clone(),
            strength: self.strength.unwrap_or(strength),
            resize: self.resize.unwrap_or(resize),
            raw: self.raw,
        };
        if let Some(extend) = self.extend {
            return Mode::Outpaint(Outpaint { image, extend });
        }
        if let Some(scale) = self.upscale {
            return Mode::Upscale(Upscale { image, scale, upscaler: self.upscaler.clone() });
        }
        let Some(mask) = &self.mask else { return Mode::ImageToImage(image) };
        let has_greys = self.mask_mode != MaskMode::Hard;
        let (content, area) = match (self.raw, has_greys) {
            (true, _) => (MaskedContent::Original, MaskArea::Whole),
            (false, true) => (MaskedContent::Original, MaskArea::Masked),
            (false, false) => (MaskedContent::Fill, MaskArea::Masked),
        };
        let (grow, blur) = match (self.raw, has_greys) {
            (true, _) => (0, 0.0),
            (false, true) => (0, 4.0),
            (false, false) => (4, 4.0),
        };
        let match_colours = match (self.colour_match, self.no_colour_match || self.raw) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => checkpoint.matches_colours(prompt),
        };
        Mode::Inpaint(Inpaint {
            image,
            mask: mask.clone(),
            invert_mask: self.invert_mask,
            mask_mode: self.mask_mode,
            mask_grow: self.mask_grow.unwrap_or(grow),
            feather: self.feather.unwrap_or(0),
            mask_blur: self.mask_blur.unwrap_or(blur),
            masked_content: self.masked_content.unwrap_or(content),
            mask_area: self.mask_area.unwrap_or(area),
            mask_padding: self.mask_padding,
            match_colours,
        })
    }
}
