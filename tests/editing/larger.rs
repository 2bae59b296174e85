//! Pictures that grow: over their edges, in tiles, and in a second pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    picture::Picture,
    request::{
        Extension, GenerationRequest, HiresFix, HiresUpscaler, InitImage, Mode, Outpaint, Upscale,
        Upscaler,
    },
    schedulers::Sampler,
};
use emberbrush_tests::{CheckpointFolder, checkpoint};
use image::{DynamicImage, GenericImageView, ImageBuffer, RgbImage};

/// The folder is returned, too, since the encoder is read when it is first needed.
fn pipeline() -> (CheckpointFolder, DiffusionPipeline) {
    let folder = checkpoint("sd15-tiny");
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let files = folder::locate(&folder).unwrap();
    (folder, DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap().0)
}

fn request(mode: Mode) -> GenerationRequest {
    GenerationRequest {
        mode,
        width: 64,
        height: 64,
        steps: 4,
        guidance_scale: 1.0,
        sampler: Sampler::Ddim,
        seed: 1,
        ..GenerationRequest::new("a cat")
    }
}

fn init(strength: f64) -> InitImage {
    InitImage::new("picture.png", strength)
}

fn run(mode: Mode, pixels: Option<DynamicImage>) -> (Option<Sources>, Picture) {
    let (_folder, mut pipeline) = pipeline();
    let sources = pixels.map(|pixels| Sources::new(&mode, Picture::new(pixels), None).unwrap());
    let go_on = &mut |_| ControlFlow::Continue(());
    let edited = editing::edit(&mut pipeline, &request(mode), sources.as_ref(), 0, go_on).unwrap();
    (sources, edited.picture)
}

#[test]
fn a_picture_grows_around_itself_and_stays() {
    let deep = DynamicImage::ImageRgba16(ImageBuffer::from_fn(70, 50, |x, y| {
        let value = |factor: u32| (x * 601 * factor + y * 419 + 13) as u16;
        image::Rgba([value(1), value(2), value(3), value(5)])
    }));
    let extend = Extension { left: 90, top: 3, right: 0, bottom: 70 };
    let (sources, picture) =
        run(Mode::Outpaint(Outpaint { image: init(0.75), extend }), Some(deep.clone()));
    assert_eq!(picture.pixels.dimensions(), (160, 123));
    assert_eq!(picture.pixels.color(), deep.color());
    assert_eq!(picture.pixels.crop_imm(90, 3, 70, 50).to_rgba16(), deep.to_rgba16());
    let recount = sources.unwrap().recount(&picture).unwrap();
    assert_eq!((recount.outside, recount.changed), (70 * 50, 0));
    let new = picture.pixels.to_rgba16();
    assert!(new.enumerate_pixels().all(|(x, y, pixel)| {
        ((90..160).contains(&x) && (3..53).contains(&y)) || pixel.0[3] == u16::MAX
    }));
    let corner = new.get_pixel(0, 122).0;
    assert_ne!(&corner[..3], &[0; 3], "the far corner is painted");
}

#[test]
fn tiles_leave_no_borders() {
    let slope = RgbImage::from_fn(75, 60, |x, y| image::Rgb([(x * 3) as u8, (y * 4) as u8, 120]));
    let mode = Mode::Upscale(Upscale { image: init(0.5), scale: 2.0, upscaler: None });
    let (_, picture) = run(mode, Some(slope.into()));
    assert_eq!(picture.pixels.dimensions(), (152, 120));
    let picture = picture.pixels.to_rgb8();
    let jump = |x: u32| -> f64 {
        let pairs = (0..120)
            .flat_map(|y| picture.get_pixel(x, y).0.into_iter().zip(picture.get_pixel(x - 1, y).0));
        pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / 360.0
    };
    // Tiles of 64 begin at 0, 40 and 88 and end 64 pixels later.
    let borders = [40, 64, 88, 104].map(jump).into_iter().fold(0.0, f64::max);
    let everywhere = (1..152).map(jump).sum::<f64>() / 151.0;
    assert!(borders < 2.0 * everywhere, "{borders:.2} at borders, {everywhere:.2} everywhere");
}

fn second_pass(strength: f64, steps: u32) -> Mode {
    Mode::HiresFix(HiresFix { scale: 2.0, strength, steps, upscaler: Upscaler::default() })
}

#[test]
fn each_upscaler_enlarges_the_first_pass_in_its_own_way() {
    let pictures: Vec<Picture> = HiresUpscaler::ALL
        .into_iter()
        .map(|upscaler| {
            let hires = HiresFix { scale: 1.5, strength: 0.5, steps: 4, upscaler: upscaler.into() };
            run(Mode::HiresFix(hires), None).1
        })
        .collect();
    for (picture, upscaler) in pictures.iter().zip(HiresUpscaler::ALL) {
        assert_eq!(picture.pixels.dimensions(), (96, 96), "{upscaler}");
    }
    // The kernel is widened for smaller pictures only, so one pair is nearly the same.
    for pair in [[0, 1], [1, 3], [3, 4], [4, 5], [5, 6]] {
        let [one, other] = pair.map(|place| &pictures[place].pixels);
        assert_ne!(one, other, "{pair:?}");
    }
}

#[test]
fn the_second_pass_keeps_the_first_ones_composition() {
    let (_, small) = run(Mode::TextToImage, None);
    let hires = HiresFix { scale: 1.5, strength: 0.3, steps: 6, upscaler: Upscaler::default() };
    let (_, large) = run(Mode::HiresFix(hires), None);
    assert_eq!(large.pixels.dimensions(), (96, 96));
    let shrunk = large.pixels.thumbnail(8, 8).to_rgb8();
    let small = small.pixels.thumbnail(8, 8).to_rgb8();
    assert_ne!(shrunk, small);
    let mean = |one: &RgbImage, other: &RgbImage| {
        let pairs = one.as_raw().iter().zip(other.as_raw());
        pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / one.as_raw().len() as f64
    };
    let mirrored = image::imageops::rotate180(&small);
    assert!(mean(&shrunk, &small) < mean(&shrunk, &mirrored));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (mode, part) in [
        (Mode::Upscale(Upscale { image: init(0.5), scale: 0.5, upscaler: None }), "1 to 8"),
        (Mode::Upscale(Upscale { image: init(0.5), scale: f64::NAN, upscaler: None }), "1 to 8"),
        (second_pass(0.5, 0), "at least 1 step"),
        (second_pass(0.0, 9), "second pass"),
        (
            Mode::Outpaint(Outpaint { image: init(0.5), extend: Extension::default() }),
            "extended by 1 to",
        ),
    ] {
        let error = request(mode).check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
