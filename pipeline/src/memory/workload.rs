//! What a request asks of the networks.

use image::GenericImageView;

use crate::{
    editing::{LatentInterpolation, Sources, enlarged},
    request::{GenerationRequest, Mode},
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

/// The shapes of a request: all of it that memory depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The runs that one picture takes, one after the other.
    pub passes: Vec<Pass>,
    /// Whether the UNet evaluates the negative prompt together with the prompt.
    pub guided: bool,
    /// Bytes of pictures outside of the networks, which are held all the time.
    pub picture_bytes: u64,
}

impl Workload {
    /// The shapes of `request`. `sources` are the pictures that it starts from; without them their
    /// size is taken to be the request's. `native_side` is the checkpoint's.
    pub fn new(request: &GenerationRequest, sources: Option<&Sources>, native_side: u32) -> Self {
        let size = (request.width, request.height);
        let pass = |(width, height): (u32, u32), encodes| Pass { width, height, encodes };
        let source = sources.map_or(size, |sources| sources.init.pixels.dimensions());
        let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let (passes, picture_bytes) = match &request.mode {
            Mode::TextToImage => (vec![pass(size, false)], area(size) * FLOAT_PIXEL),
            Mode::ImageToImage(_) | Mode::Inpaint(_) => {
                let pictures = 2 * area(source) + 2 * area(size);
                (vec![pass(size, true)], pictures * FLOAT_PIXEL)
            }
            Mode::HiresFix(hires) => {
                let large = enlarged(size, hires.scale);
                let pictures = (area(size) + 2 * area(large)) * FLOAT_PIXEL;
                // Latents that are enlarged are not encoded again.
                let encodes = LatentInterpolation::of(hires.upscaler).is_none();
                (vec![pass(size, false), pass(large, encodes)], pictures)
            }
            Mode::Upscale(upscale) => {
                let large = enlarged(source, upscale.scale);
                let tile = (size.0.min(large.0), size.1.min(large.1));
                let pictures = (area(source) + 2 * area(large)) * FLOAT_PIXEL;
                (vec![pass(tile, true)], pictures + area(large) * BLENDED_PIXEL)
            }
            // Each step sees a part of the picture, at the checkpoint's own size.
            Mode::Outpaint(_) => {
                let own = (native_side, native_side);
                (vec![pass(own, true)], (2 * area(source) + 2 * area(own)) * FLOAT_PIXEL)
            }
        };
        Self { passes, guided: request.uses_guidance(), picture_bytes }
    }
}
