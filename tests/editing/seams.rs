//! Fills of photographs do not show where they begin, and change nothing outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::PathBuf};

use emberbrush_pipeline::{
    checkpoint::{files::CheckpointFiles, folder},
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    picture::{self, Picture},
    request::{
        GenerationRequest, InitImage, Inpaint, MaskArea, MaskMode, MaskedContent, Mode, ResizeMode,
    },
};
use emberbrush_tests::{checkpoint, fixtures};
use image::{GrayImage, RgbImage};

/// How much more the pixels on both sides of the border may differ than in the photograph.
const MOST: f64 = 1.5;

/// How far from the border pixels are compared.
const REACH: u32 = 8;

/// A part of each photograph: left, top, right and bottom, all painted.
const PHOTOS: [(&str, [u32; 4]); 4] = [
    ("astronaut", [24, 180, 90, 250]),
    ("chelsea", [40, 120, 100, 168]),
    ("coffee", [215, 20, 265, 60]),
    ("rocket", [140, 70, 180, 122]),
];

/// The mean difference between each pixel inside a rectangle, up to [`REACH`] from its border, and
/// its mirror image outside.
fn across_border(image: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    let mut compare = |(x, y): (u32, u32), (a, b): (u32, u32)| {
        let pairs = image.get_pixel(x, y).0.into_iter().zip(image.get_pixel(a, b).0);
        sum += pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / 3.0;
        count += 1.0;
    };
    for distance in 1..=REACH {
        for y in top..=bottom {
            compare((left + distance - 1, y), (left - distance, y));
            compare((right + 1 - distance, y), (right + distance, y));
        }
        for x in left..=right {
            compare((x, top + distance - 1), (x, top - distance));
            compare((x, bottom + 1 - distance), (x, bottom + distance));
        }
    }
    sum / count
}

fn inpaint(strength: f64) -> Inpaint {
    let init = PathBuf::from("photo.jpg");
    Inpaint {
        image: InitImage { init, strength, resize: ResizeMode::Crop, raw: false },
        mask: PathBuf::from("mask.png"),
        invert_mask: false,
        mask_mode: MaskMode::Hard,
        mask_grow: 4,
        feather: 0,
        mask_blur: 4.0,
        masked_content: MaskedContent::Fill,
        mask_area: MaskArea::Masked,
        mask_padding: 32,
        match_colours: true,
    }
}

/// Fills a part of each photograph and compares what lies on both sides of its border. The pictures
/// go to the folder `EMBERBRUSH_SEAMS` where one is named.
fn fill(pipeline: &mut DiffusionPipeline, strength: f64, prompt: &str) {
    let defaults = pipeline.defaults();
    for (name, border) in PHOTOS {
        let path = fixtures().join("photos").join(format!("{name}.jpg"));
        let photo = picture::read(&path).unwrap();
        let [left, top, right, bottom] = border;
        let inside = |x, y| (left..=right).contains(&x) && (top..=bottom).contains(&y);
        let mask = GrayImage::from_fn(photo.width(), photo.height(), |x, y| {
            image::Luma([u8::from(inside(x, y)) * 255])
        });
        let mode = Mode::Inpaint(inpaint(strength));
        let mask = Picture::new(mask.into());
        let sources = Sources::new(&mode, photo.clone(), Some(&mask)).unwrap();
        let (width, height) = sources.working_size(&mode, defaults.native_side);
        let request = GenerationRequest {
            mode,
            width,
            height,
            steps: 8,
            guidance_scale: defaults.recommended.guidance_scale.unwrap_or(7.5),
            sampler: defaults.sampler,
            seed: 1,
            ..GenerationRequest::new(prompt)
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        let filled = editing::edit(pipeline, &request, Some(&sources), 0, go_on).unwrap().picture;
        assert_eq!(sources.recount(&filled).unwrap().changed, 0, "{name}");
        let (photo, filled) = (photo.pixels.to_rgb8(), filled.pixels.to_rgb8());
        let (before, after) = (across_border(&photo, border), across_border(&filled, border));
        let what = format!("{}, {name}, strength {strength}", pipeline.name());
        println!("{what}: {before:.2} before, {after:.2} after, {:.2} times", after / before);
        if let Some(folder) = std::env::var_os("EMBERBRUSH_SEAMS") {
            let file = format!("{}-{name}-{strength}.png", pipeline.name());
            filled.save(PathBuf::from(folder).join(file)).unwrap();
        }
        assert!(after <= MOST * before, "{what}: {after:.2} across the border, {before:.2} before");
        let painted = photo
            .enumerate_pixels()
            .filter(|&(x, y, pixel)| inside(x, y) && filled.get_pixel(x, y) != pixel)
            .count() as u32;
        let area = (right - left + 1) * (bottom - top + 1);
        assert!(painted > area / 2, "{what}: {painted} of {area} pixels painted");
    }
}

fn load(files: &CheckpointFiles) -> DiffusionPipeline {
    let device = device::open(DeviceChoice::Cpu).unwrap();
    DiffusionPipeline::load(files, device, ComputeDtype::F32).unwrap().0
}

#[test]
fn fills_of_photographs_have_no_seams() {
    let mut pipeline = load(&CheckpointFiles::Embedded {
        name: emberbrush_assets::DEFAULT_MODEL_NAME,
        files: emberbrush_assets::DEFAULT_MODEL,
    });
    for (strength, prompt) in [(0.5, ""), (0.75, "a red apple"), (1.0, "a red apple")] {
        fill(&mut pipeline, strength, prompt);
    }
}

/// Weights that are random paint the worst that there is.
#[test]
fn fills_of_inpainting_models_have_no_seams() {
    let folder = checkpoint("sd15-inpaint-tiny");
    let mut pipeline = load(&folder::locate(&folder).unwrap());
    assert!(pipeline.defaults().is_inpainting_model);
    for strength in [0.5, 1.0] {
        fill(&mut pipeline, strength, "");
    }
}
