//! Outside the mask nothing changes, in any kind of picture, counted by two decoders.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    picture::{FileFormat, Picture, PictureError, Recount, encode, read_bytes},
    request::{
        GenerationRequest, InitImage, Inpaint, MaskArea, MaskMode, MaskedContent, Mode, ResizeMode,
    },
    schedulers::Sampler,
};
use emberbrush_tests::{CheckpointFolder, checkpoint};
use image::{DynamicImage, GrayImage, ImageBuffer};
use zune_core::{bytestream::ZCursor, result::DecodingResult};
use zune_png::PngDecoder;

const SIZE: (u32, u32) = (101, 75);

/// Deep colours with a transparent stripe; other kinds are made from it.
fn picture() -> DynamicImage {
    DynamicImage::ImageRgba16(ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| {
        let value = |factor: u32| (x * 601 * factor + y * 419 + 13) as u16;
        let alpha = if x % 10 == 0 { (y * 700) as u16 } else { u16::MAX };
        image::Rgba([value(1), value(2), value(3), alpha])
    }))
}

fn is_masked(x: u32, y: u32) -> bool {
    (30..62).contains(&x) && (20..45).contains(&y)
}

fn mask() -> Picture {
    let pixels =
        GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| image::Luma([u8::from(is_masked(x, y)) * 255]));
    Picture::new(DynamicImage::ImageLuma8(pixels))
}

fn inpaint() -> Inpaint {
    Inpaint {
        mask_grow: 2,
        feather: 3,
        mask_blur: 2.0,
        mask_padding: 8,
        ..Inpaint::new(InitImage::new("picture.png", 0.75), "mask.png")
    }
}

fn request(inpaint: Inpaint) -> GenerationRequest {
    GenerationRequest {
        mode: Mode::Inpaint(inpaint),
        width: 64,
        height: 48,
        steps: 2,
        guidance_scale: 1.0,
        sampler: Sampler::Ddim,
        seed: 1,
        ..GenerationRequest::new("")
    }
}

/// The folder is returned, too, since the encoder is read when it is first needed.
fn pipeline(name: &str) -> (CheckpointFolder, DiffusionPipeline) {
    let folder = checkpoint(name);
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let files = folder::locate(&folder).unwrap();
    (folder, DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap().0)
}

fn run(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    pixels: DynamicImage,
) -> (Sources, Picture) {
    let sources = Sources::new(&request.mode, Picture::new(pixels), Some(&mask())).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let edited = editing::edit(pipeline, request, Some(&sources), 0, go_on).unwrap();
    (sources, edited.picture)
}

/// The samples of a PNG and their number in a pixel, by a decoder that shares nothing with the
/// program's.
fn samples(bytes: &[u8]) -> (usize, Vec<u16>) {
    let mut decoder = PngDecoder::new(ZCursor::new(bytes));
    let values = match decoder.decode().unwrap() {
        DecodingResult::U8(values) => values.into_iter().map(u16::from).collect(),
        DecodingResult::U16(values) => values,
        _ => panic!("PNG has 8 or 16 bits"),
    };
    (decoder.colorspace().unwrap().num_components(), values)
}

#[test]
fn pixels_outside_the_mask_stay_in_every_kind_of_picture() {
    let (_folder, mut pipeline) = pipeline("sd15-tiny");
    let deep = picture();
    let kinds = [
        DynamicImage::ImageRgb8(deep.to_rgb8()),
        DynamicImage::ImageLuma8(deep.to_luma8()),
        DynamicImage::ImageRgba8(deep.to_rgba8()),
        DynamicImage::ImageLumaA16(deep.to_luma_alpha16()),
        deep,
    ];
    for pixels in kinds {
        let before = Picture::new(pixels.clone());
        let kind = pixels.color();
        let (sources, after) = run(&mut pipeline, &request(inpaint()), pixels);
        assert_eq!(after.pixels.color(), kind);

        let written = encode(&after, FileFormat::Png, &[]).unwrap();
        let Recount { outside, changed } =
            sources.recount(&read_bytes(&written, "written").unwrap()).unwrap();
        assert_eq!(changed, 0, "{kind:?}");
        assert!(outside > 4000, "{kind:?}: {outside}");

        // Counted anew: no pixel further from the mask than it grows, fades and blurs changed.
        let (channels, new) = samples(&written);
        let (_, old) = samples(&encode(&before, FileFormat::Png, &[]).unwrap());
        let reach = 2 + 3 + 5;
        let (mut far, mut painted) = (0, 0);
        let pairs = new.chunks_exact(channels).zip(old.chunks_exact(channels));
        for (place, (new, old)) in (0..).zip(pairs) {
            let (x, y) = (place % SIZE.0, place / SIZE.0);
            if is_masked(x, y) {
                painted += u32::from(new != old);
            } else if !near_mask(x, y, reach) {
                assert_eq!(new, old, "{kind:?} at {x}, {y}");
                far += 1;
            }
        }
        assert!(far > 3000, "{far}");
        assert!(painted > 700, "{kind:?}: only {painted} of 800 pixels were painted");
    }
}

fn near_mask(x: u32, y: u32, reach: i64) -> bool {
    let outside =
        |at: u32, from: i64, to: i64| (from - i64::from(at)).max(i64::from(at) - to).max(0);
    outside(x, 30, 61).max(outside(y, 20, 44)) <= reach
}

#[test]
fn the_recount_finds_a_single_bit() {
    let request = request(inpaint());
    let deep = picture();
    let sources = Sources::new(&request.mode, Picture::new(deep.clone()), Some(&mask())).unwrap();
    let DynamicImage::ImageRgba16(mut pixels) = deep else { panic!("16 bit") };
    pixels.get_pixel_mut(0, 0).0[3] ^= 1;
    pixels.get_pixel_mut(40, 30).0[0] ^= 1;
    let changed = Picture::new(DynamicImage::ImageRgba16(pixels));
    assert_eq!(sources.recount(&changed).unwrap().changed, 1, "the one inside does not count");
}

#[test]
fn every_choice_keeps_the_promise() {
    let mut models = [pipeline("sd15-tiny"), pipeline("sd15-inpaint-tiny")];
    let base = inpaint();
    let greys = Inpaint { mask_grow: 0, feather: 0, ..base.clone() };
    let whole = Inpaint { mask_area: MaskArea::Whole, ..base.clone() };
    let with_resize =
        |resize| Inpaint { image: InitImage { resize, ..base.image.clone() }, ..whole.clone() };
    let choices = [
        Inpaint { masked_content: MaskedContent::Original, ..base.clone() },
        Inpaint { masked_content: MaskedContent::LatentNoise, ..base.clone() },
        Inpaint { masked_content: MaskedContent::LatentNothing, ..base.clone() },
        Inpaint { mask_mode: MaskMode::Soft, ..greys.clone() },
        Inpaint { mask_mode: MaskMode::Differential, ..greys },
        with_resize(ResizeMode::Crop),
        with_resize(ResizeMode::Fit),
        with_resize(ResizeMode::Stretch),
    ];
    for (_, pipeline) in &mut models {
        let pixels = picture();
        for choice in &choices {
            let (sources, after) = run(pipeline, &request(choice.clone()), pixels.clone());
            let recount = sources.recount(&after).unwrap();
            assert_eq!(recount.changed, 0, "{choice:?}");
            assert_ne!(after.pixels, pixels, "{choice:?}");
        }
    }
}

#[test]
fn inverting_repaints_the_rest() {
    let (_folder, mut pipeline) = pipeline("sd15-tiny");
    let inverted =
        Inpaint { invert_mask: true, mask_grow: 0, feather: 0, mask_blur: 0.0, ..inpaint() };
    let (sources, after) = run(&mut pipeline, &request(inverted), picture());
    let recount = sources.recount(&after).unwrap();
    assert_eq!((recount.outside, recount.changed), (32 * 25, 0));
    // A fully white mask leaves nothing to keep, and works.
    let mode = request(inpaint()).mode;
    let white = Picture::new(GrayImage::from_pixel(SIZE.0, SIZE.1, image::Luma([255])).into());
    let sources = Sources::new(&mode, Picture::new(picture()), Some(&white)).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let edited =
        editing::edit(&mut pipeline, &request(inpaint()), Some(&sources), 0, go_on).unwrap();
    assert_eq!(sources.recount(&edited.picture).unwrap().outside, 0);
}

#[test]
fn a_mask_that_cropping_cuts_off_is_refused() {
    let (_folder, mut pipeline) = pipeline("sd15-tiny");
    let whole = Inpaint { mask_area: MaskArea::Whole, ..inpaint() };
    let mut tall = request(whole);
    tall.width = 16;
    tall.height = 64;
    let sources = Sources::new(&tall.mode, Picture::new(picture()), Some(&mask())).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let error = editing::edit(&mut pipeline, &tall, Some(&sources), 0, go_on).unwrap_err();
    assert!(error.to_string().contains("cropping"), "{error}");
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let mode = request(inpaint()).mode;
    let sources = |mask: Picture| Sources::new(&mode, Picture::new(picture()), Some(&mask));
    let small = Picture::new(DynamicImage::new_luma8(100, 75));
    assert!(matches!(sources(small).unwrap_err(), PictureError::MaskSize { .. }));
    let black = Picture::new(DynamicImage::new_luma8(SIZE.0, SIZE.1));
    assert!(matches!(sources(black).unwrap_err(), PictureError::EmptyMask));
}
