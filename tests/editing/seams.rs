//! Fills of photographs do not show where they begin, and change nothing outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{ops::ControlFlow, path::PathBuf};

use emberbrush_pipeline::{
    checkpoint::{files::CheckpointFiles, folder},
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    picture::{self, Picture},
    request::{GenerationRequest, InitImage, Inpaint, Mode},
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

/// The largest of the mean differences between neighbouring rows and columns of pixels that run along
/// a rectangle's border, up to [`REACH`] from it: an edge anywhere near the border is one of them.
fn along_border(image: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> f64 {
    let difference = |one: (u32, u32), other: (u32, u32)| {
        let pairs =
            image.get_pixel(one.0, one.1).0.into_iter().zip(image.get_pixel(other.0, other.1).0);
        pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / 3.0
    };
    // Pixels by which the lines lie outside of the border.
    let lines = (0..2 * REACH).map(|line| i64::from(line) - i64::from(REACH));
    let means = lines.map(|outside| {
        let moved = |side: u32, sign: i64| (i64::from(side) + sign * outside) as u32;
        let [left, top] = [left, top].map(|side| moved(side, -1));
        let [right, bottom] = [right, bottom].map(|side| moved(side, 1));
        let columns =
            (top..=bottom).flat_map(|y| [((left, y), (left - 1, y)), ((right, y), (right + 1, y))]);
        let rows =
            (left..=right).flat_map(|x| [((x, top), (x, top - 1)), ((x, bottom), (x, bottom + 1))]);
        let (mut sum, mut count) = (0.0, 0.0);
        for (one, other) in columns.chain(rows) {
            sum += difference(one, other);
            count += 1.0;
        }
        sum / count
    });
    means.fold(0.0, f64::max)
}

/// What is compared at a rectangle's border, by its name.
type Measure = (&'static str, fn(&RgbImage, [u32; 4]) -> f64);

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
        let mode = Mode::Inpaint(Inpaint::new(InitImage::new("photo.jpg", strength), "mask.png"));
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
        let measures: [Measure; 2] = [("across", across_border), ("along", along_border)];
        for (place, measure) in measures {
            let (before, after) = (measure(&photo, border), measure(&filled, border));
            let what = format!("{}, {name}, strength {strength}, {place}", pipeline.name());
            println!("{what}: {before:.2} before, {after:.2} after, {:.2} times", after / before);
            assert!(after <= MOST * before, "{what}: {after:.2} after, {before:.2} before");
        }
        let what = format!("{}, {name}, strength {strength}", pipeline.name());
        if let Some(folder) = std::env::var_os("EMBERBRUSH_SEAMS") {
            let file = format!("{}-{name}-{strength}.png", pipeline.name());
            filled.save(PathBuf::from(folder).join(file)).unwrap();
        }
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

/// A model of whole pictures is held to the photograph after every step. Weights that are random paint the worst that
/// there is.
#[test]
fn fills_of_models_that_were_not_trained_to_fill_have_no_seams() {
    let folder = checkpoint("sd15-tiny");
    let mut pipeline = load(&folder::locate(&folder).unwrap());
    assert!(!pipeline.defaults().is_inpainting_model);
    for strength in [0.5, 0.75] {
        fill(&mut pipeline, strength, "");
    }
}

#[test]
fn fills_of_inpainting_models_have_no_seams() {
    let folder = checkpoint("sd15-inpaint-tiny");
    let mut pipeline = load(&folder::locate(&folder).unwrap());
    assert!(pipeline.defaults().is_inpainting_model);
    for strength in [0.5, 1.0] {
        fill(&mut pipeline, strength, "");
    }
}
