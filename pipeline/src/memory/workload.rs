//! What a request asks of the networks.

use emberbrush_unet::KeptTensors;
use emberbrush_upscaler::RrdbNetConfig;
use image::GenericImageView;

use super::PromptSize;
use crate::{
    checkpoint::CheckpointError,
    editing::{LatentInterpolation, Sources, UpscalerFile, enlarged},
    request::{FewerOperations, GenerationRequest, Mode},
};

/// Bytes of a pixel with three f32 channels.
const FLOAT_PIXEL: u64 = 12;

/// Bytes of a pixel of the sums that tiles are blended with: three channels and a weight.
const BLENDED_PIXEL: u64 = 16;

/// A run of encoder, UNet and decoder at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether it starts from a picture, which is encoded.
    pub encodes: bool,
}

/// A network that makes a picture larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enlargement {
    /// The network's sizes.
    pub config: RrdbNetConfig,
    /// Number of its parameters.
    pub parameters: u64,
    /// Width and height in pixels of the picture that it is given.
    pub size: (u32, u32),
    /// How many of the passes are made before.
    pub after: usize,
}

/// The shapes of a request: all of it that memory depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The runs that one picture takes, one after the other.
    pub passes: Vec<Pass>,
    /// The network that makes a picture larger between them.
    pub enlargement: Option<Enlargement>,
    /// Whether the UNet evaluates the negative prompt together with the prompt.
    pub guided: bool,
    /// What the UNet keeps from one evaluation to the next.
    pub kept: KeptTensors,
    /// How long the prompts are.
    pub prompts: PromptSize,
    /// Bytes of pictures outside of the networks, which are held all the time.
    pub picture_bytes: u64,
}

impl Workload {
    /// The shapes of `request`. `sources` are the pictures that it starts from; without them their
    /// size is taken to be the request's. `native_side` is the checkpoint's.
    ///
    /// # Errors
    ///
    /// Where the file of an upscaler is not one.
    pub fn new(
        request: &GenerationRequest,
        sources: Option<&Sources>,
        native_side: u32,
        prompts: PromptSize,
    ) -> Result<Self, CheckpointError> {
        let size = (request.width, request.height);
        let pass = |(width, height): (u32, u32), encodes| Pass { width, height, encodes };
        let source = sources.map_or(size, |sources| sources.init.pixels.dimensions());
        let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let (passes, mut picture_bytes) = match &request.mode {
            Mode::TextToImage => (vec![pass(size, false)], area(size) * FLOAT_PIXEL),
            Mode::ImageToImage(_) | Mode::Inpaint(_) => {
                let pictures = 2 * area(source) + 2 * area(size);
                (vec![pass(size, true)], pictures * FLOAT_PIXEL)
            }
            Mode::HiresFix(hires) => {
                let large = enlarged(size, hires.scale);
                let pictures = (area(size) + 2 * area(large)) * FLOAT_PIXEL;
                // Latents that are enlarged are not encoded again.
                let encodes = LatentInterpolation::of(&hires.upscaler).is_none();
                (vec![pass(size, false), pass(large, encodes)], pictures)
            }
            Mode::Upscale(upscale) => {
                let large = enlarged(source, upscale.scale);
                let tile = (size.0.min(large.0), size.1.min(large.1));
                let pictures = (area(source) + 2 * area(large)) * FLOAT_PIXEL;
                let passes = match upscale.image.strength {
                    0.0 => Vec::new(),
                    _ => vec![pass(tile, true)],
                };
                (passes, pictures + area(large) * BLENDED_PIXEL)
            }
            // Each step sees a part of the picture, at the checkpoint's own size.
            Mode::Outpaint(_) => {
                let own = (native_side, native_side);
                (vec![pass(own, true)], (2 * area(source) + 2 * area(own)) * FLOAT_PIXEL)
            }
        };
        let enlargement = match request.mode.upscaler() {
            None => None,
            Some(path) => {
                let (given, after) = match &request.mode {
                    Mode::HiresFix(_) => (size, 1),
                    _ => (source, 0),
                };
                let file = UpscalerFile::open(path)?;
                let scale = file.config().scale() as u64;
                // Tiles are summed up at the network's scale, and made a picture of.
                picture_bytes += area(given) * scale * scale * (BLENDED_PIXEL + 2 * FLOAT_PIXEL);
                Some(Enlargement {
                    config: *file.config(),
                    parameters: file.parameters(),
                    size: given,
                    after,
                })
            }
        };
        let FewerOperations { deep_cache, reuse_cross_attention_after, .. } =
            request.fewer_operations;
        let kept = KeptTensors {
            deep_features: deep_cache > 1,
            cross_attention: reuse_cross_attention_after < 1.0,
        };
        let guided = request.uses_guidance();
        Ok(Self { passes, enlargement, guided, kept, prompts, picture_bytes })
    }
}
