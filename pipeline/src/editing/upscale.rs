//! Larger pictures: the second pass of a hires fix, and image to image in tiles.

use std::{ops::ControlFlow, path::Path};

use image::{Rgb, Rgb32FImage};

use super::{
    ControlPictures,
    latent_upscaling::{LatentInterpolation, upscale_latents},
};
use crate::{
    diffusion::{DiffusionPipeline, GroupMember, ImageInput, NoiseSource, StartingImage},
    error::PipelineError,
    picture::{self, Rectangle, Tiles},
    progress::{ProgressEvent, Stage, begin},
    request::{GenerationRequest, HiresFix, LATENT_CELL, Mode, Upscale},
    schedulers::Compat,
};

/// The share of a tile that it has in common with the next.
const OVERLAP: f64 = 0.25;

/// Paints a picture at the request's size, enlarges it or its latents, and paints over that with the
/// hires fix's own steps and strength (A1111 "Hires. fix").
pub(super) fn hires_fix(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    hires: &HiresFix,
    control: &ControlPictures,
    noise: &mut dyn NoiseSource,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Rgb32FImage, PipelineError> {
    let first = GenerationRequest { mode: Mode::TextToImage, ..request.clone() };
    let control_maps = control.whole((request.width, request.height));
    let (width, height) = enlarged((request.width, request.height), hires.scale);
    let image = match LatentInterpolation::of(&hires.upscaler) {
        None => {
            let image =
                pipeline.generate_controlled(&first, None, &control_maps, noise, on_event)?;
            let network = hires.upscaler.network();
            StartingImage::Pixels(larger(pipeline, &image, (width, height), network, on_event)?)
        }
        Some(interpolation) => {
            let first = GroupMember {
                request: &first,
                input: None,
                control_maps: &control_maps,
                noise: &mut *noise,
            };
            let latents = pipeline.generate_latents(&mut [first], on_event)?;
            let size = ((width / LATENT_CELL) as usize, (height / LATENT_CELL) as usize);
            StartingImage::Latents(Box::new(upscale_latents(latents, size, interpolation)?))
        }
    };
    let first_pass = Some(request.steps);
    let second = GenerationRequest { width, height, steps: hires.steps, ..first };
    let input = ImageInput { image, strength: hires.strength, mask: None, first_pass };
    if request.compat == Compat::A1111 {
        noise.restart();
    }
    let control_maps = control.whole((width, height));
    pipeline.generate_controlled(&second, Some(&input), &control_maps, noise, on_event)
}

/// What a picture is enlarged by.
pub(super) struct UpscaleRun<'a> {
    pub(super) request: &'a GenerationRequest,
    pub(super) upscale: &'a Upscale,
    pub(super) control: &'a ControlPictures,
}

/// Enlarges a picture and paints over it in tiles of the request's size that overlap by a quarter and
/// fade into each other. With a strength of 0 nothing is painted.
pub(super) fn upscale(
    pipeline: &mut DiffusionPipeline,
    UpscaleRun { request, upscale, control }: UpscaleRun<'_>,
    source: &Rgb32FImage,
    noise: &mut dyn NoiseSource,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Rgb32FImage, PipelineError> {
    let (width, height) = enlarged(source.dimensions(), upscale.scale);
    let network = upscale.upscaler.as_deref();
    let large = larger(pipeline, source, (width, height), network, on_event)?;
    if upscale.image.strength == 0.0 {
        return Ok(large);
    }
    let large_maps = control.whole((width, height));
    let tile = (request.width.min(width), request.height.min(height));
    let tiles = Tiles::new((width, height), tile, OVERLAP, LATENT_CELL);
    let mut request = GenerationRequest {
        mode: Mode::TextToImage,
        width: tile.0,
        height: tile.1,
        ..request.clone()
    };
    for unit in &mut request.control.0 {
        // A tile by itself starts from no file.
        unit.image.get_or_insert_with(|| upscale.image.init.clone());
    }
    let mut blend = tiles.blend();
    for (left, top) in tiles.positions() {
        let rectangle =
            Rectangle { left: i64::from(left), top: i64::from(top), width: tile.0, height: tile.1 };
        let part = |whole: &Rgb32FImage| picture::view(whole, rectangle, tile.0, tile.1);
        let maps: Vec<Rgb32FImage> = large_maps.iter().map(part).collect();
        let input = ImageInput {
            image: StartingImage::Pixels(part(&large)),
            strength: upscale.image.strength,
            mask: None,
            first_pass: None,
        };
        let painted =
            pipeline.generate_controlled(&request, Some(&input), &maps, noise, on_event)?;
        blend.add((left, top), |x, y| painted.get_pixel(x, y).0);
    }
    Ok(Rgb32FImage::from_fn(width, height, |x, y| Rgb(blend.value(x, y))))
}

/// The picture at a larger size, by a network or with Lanczos.
fn larger(
    pipeline: &mut DiffusionPipeline,
    image: &Rgb32FImage,
    size: (u32, u32),
    network: Option<&Path>,
    on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
) -> Result<Rgb32FImage, PipelineError> {
    let Some(network) = network else { return Ok(picture::resized(image, size.0, size.1)) };
    begin(Stage::Enlarge, on_event)?;
    let upscaler = pipeline.upscaler(network)?;
    upscaler.enlarge(image, size, &mut || on_event(ProgressEvent::Checkpoint))
}

/// The size times `scale`, in multiples of [`LATENT_CELL`].
pub(crate) fn enlarged(size: (u32, u32), scale: f64) -> (u32, u32) {
    let cells = |side: u32| {
        let cells = (f64::from(side) * scale / f64::from(LATENT_CELL)).round().max(1.0);
        cells as u32 * LATENT_CELL
    };
    (cells(size.0), cells(size.1))
}
