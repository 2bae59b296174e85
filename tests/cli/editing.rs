//! `emberbrush generate` with pictures to start from, as a person runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use emberbrush_pipeline::schedulers::Sampler;
use emberbrush_tests::{checkpoint, fixtures};
use image::{DynamicImage, GrayImage, RgbImage};
use program::{Workshop, text};
use serde_json::Value;

fn golden() -> emberbrush_tests::Golden {
    emberbrush_tests::Golden::open("pipelines", &burn::tensor::Device::flex())
}

fn bytes(key: &str) -> Vec<u8> {
    golden().data(key).convert::<u8>().try_to_vec().unwrap()
}

/// A folder with the golden picture as `image.png` and its mask as `mask.png`.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    let image = RgbImage::from_raw(64, 64, bytes("image_u8_hwc")).unwrap();
    image.save(workshop.path("image.png")).unwrap();
    let mask = GrayImage::from_raw(64, 64, bytes("mask_u8_hw")).unwrap();
    mask.save(workshop.path("mask.png")).unwrap();
    workshop
}

/// Every case that was given no latents: the seed alone decides.
#[test]
fn raw_pictures_are_those_of_diffusers() {
    let index: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("goldens/pipelines.json")).unwrap())
            .unwrap();
    let mut compared = 0;
    for (place, case) in (9000..).zip(index["cases"].as_array().unwrap()) {
        if !case["latents"].is_null() {
            continue;
        }
        let name = case["name"].as_str().unwrap();
        let sampler = Sampler::from_class_name(case["scheduler"].as_str().unwrap()).unwrap();
        let karras = case["scheduler_overrides"]["use_karras_sigmas"] == Value::Bool(true);
        let workshop = workshop();
        let model = checkpoint(case["checkpoint"].as_str().unwrap());
        let (seed, steps) = (format!("{place}"), case["num_inference_steps"].to_string());
        let (cfg, strength) = (case["guidance_scale"].to_string(), case["strength"].to_string());
        let sampler = sampler.to_string();
        let mut arguments = vec!["generate", case["prompt"].as_str().unwrap()];
        arguments.extend(["--negative", case["negative_prompt"].as_str().unwrap()]);
        arguments.extend(["--model", text(&model), "--device", "cpu", "--steps", &steps]);
        arguments.extend(["--cfg", &cfg, "--sampler", &sampler, "--seed", &seed]);
        arguments.extend(["--schedule", if karras { "karras" } else { "automatic" }]);
        arguments.extend(["--init", "image.png", "--raw", "--strength", &strength]);
        if name.contains("inpaint") {
            arguments.extend(["--mask", "mask.png"]);
        }
        arguments.extend(["-o", "out.png"]);
        workshop.run(&arguments).succeeded();
        let image = image::open(workshop.path("out.png")).unwrap().to_rgb8();
        let expected = bytes(&format!("{name}.image_u8"));
        let furthest =
            image.as_raw().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
        compared += 1;
    }
    assert_eq!(compared, 9);
}

/// The default model fills a part of a picture of its own size or another.
const FILL: [&str; 8] =
    ["generate", "--init", "image.png", "--mask", "mask.png", "--steps", "3", "--device"];

#[test]
fn a_fill_gives_three_variations_and_counts_what_changed() {
    let workshop = workshop();
    let run =
        workshop.run(&[&FILL[..], &["cpu", "--seed", "5", "-o", "new/"]].concat()).succeeded();
    let lines = run.stderr().matches("0 pixels changed outside the mask, of ").count();
    assert_eq!(lines, 3, "{}", run.stderr());
    let paths: Vec<_> = run.stdout().lines().map(str::to_owned).collect();
    assert_eq!(paths.len(), 3);
    let before = image::open(workshop.path("image.png")).unwrap().to_rgb8();
    let after: Vec<_> =
        paths.iter().map(|path| image::open(workshop.path(path)).unwrap().to_rgb8()).collect();
    assert!(after[0] != after[1] && after[1] != after[2]);
    for after in after {
        assert_eq!(after.get_pixel(0, 0), before.get_pixel(0, 0));
        assert_ne!(after, before);
    }
}

#[test]
fn jpeg_says_that_it_changes_pixels() {
    let workshop = workshop();
    let run =
        workshop.run(&[&FILL[..], &["cpu", "--count", "1", "-o", "out.jpg"]].concat()).succeeded();
    assert!(run.stderr().contains("by the file format"), "{}", run.stderr());
    assert!(image::open(workshop.path("out.jpg")).is_ok());
}

#[test]
fn depth_and_alpha_come_through() {
    let workshop = workshop();
    let deep = image::open(workshop.path("image.png")).unwrap().to_rgba16();
    DynamicImage::ImageRgba16(deep).save(workshop.path("image.png")).unwrap();
    let more = ["cpu", "--count", "1", "--json", "-o", "out.tiff"];
    let run = workshop.run(&[&FILL[..], &more].concat()).succeeded();
    let event: Value = run
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|event| event["event"] == "image")
        .unwrap();
    assert_eq!(event["pixels_changed_outside_mask"], 0);
    assert_eq!(event["lossless"], true);
    let after = image::open(workshop.path("out.tiff")).unwrap();
    assert_eq!(after.color(), image::ColorType::Rgba16);
}

#[test]
fn image_to_image_takes_any_size_and_kind() {
    let workshop = Workshop::new();
    let photo = RgbImage::from_fn(150, 97, |x, y| image::Rgb([x as u8, y as u8, 90]));
    photo.save(workshop.path("photo.bmp")).unwrap();
    let base =
        ["generate", "a red apple", "--init", "photo.bmp", "--steps", "4", "--device", "cpu"];
    for (more, size) in [
        (&["--strength", "0.5"][..], (152, 96)),
        (&["--width", "64", "--height", "64", "--resize", "fit"], (64, 64)),
        (&["--width", "64", "--height", "64", "--resize", "stretch"], (64, 64)),
    ] {
        let run = workshop.run(&[&base[..], more, &["-o", "out.webp"]].concat()).succeeded();
        let path = run.stdout().trim().to_owned();
        let image = image::open(workshop.path(&path)).unwrap();
        assert_eq!((image.width(), image.height()), size, "{more:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let workshop = workshop();
    let refuse = |more: &[&str], parts: &[&str]| {
        let base = ["generate", "a cat", "--steps", "2", "--device", "cpu"];
        workshop.run(&[&base[..], more].concat()).assert_refused(parts);
    };
    GrayImage::new(64, 64).save(workshop.path("black.png")).unwrap();
    GrayImage::from_pixel(65, 64, image::Luma([255])).save(workshop.path("wide.png")).unwrap();
    let whole = std::fs::read(workshop.path("image.png")).unwrap();
    std::fs::write(workshop.path("half.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(workshop.path("text.png"), "not a picture").unwrap();
    let init = |mask: &'static str| ["--init", "image.png", "--mask", mask];
    refuse(&init("black.png"), &["mask is empty"]);
    refuse(&init("wide.png"), &["65×64", "64×64"]);
    refuse(&init("half.png"), &["half.png", "damaged"]);
    refuse(&init("nowhere.png"), &["nowhere.png"]);
    refuse(&["--init", "text.png"], &["text.png", "not a PNG"]);
    refuse(&["--init", "image.png", "--strength", "0"], &["strength", "above 0"]);
    refuse(&["--init", "image.png", "--strength", "1.5"], &["strength"]);
    refuse(&["--init", "image.png", "--strength", "nan"], &["strength"]);
    refuse(&["--init", "image.png", "--strength", "0.1"], &["leaves nothing to do"]);
    refuse(&["--init", "image.png", "--width", "60"], &["multiple of 8"]);
    refuse(&["--init", "image.png", "--mask", "mask.png", "--mask-grow=-60"], &["mask is empty"]);
    refuse(
        &["--init", "image.png", "--mask", "mask.png", "--feather", "4000"],
        &["1024 pixels at most"],
    );
    assert!(!workshop.path("out.png").exists());
}

/// Mean difference of neighbouring pixels across lines that run along the border of a rectangle
/// of `left, top, right, bottom`, up to 8 pixels from it on either side.
fn across_border(image: &RgbImage, [left, top, right, bottom]: [u32; 4]) -> f64 {
    let difference = |(x, y): (u32, u32), (a, b): (u32, u32)| -> f64 {
        let pairs = image.get_pixel(x, y).0.into_iter().zip(image.get_pixel(a, b).0);
        pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / 3.0
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for side in [left, right] {
        for x in side - 8..side + 8 {
            for y in top..=bottom {
                sum += difference((x, y), (x + 1, y));
                count += 1.0;
            }
        }
    }
    for side in [top, bottom] {
        for y in side - 8..side + 8 {
            for x in left..=right {
                sum += difference((x, y), (x, y + 1));
                count += 1.0;
            }
        }
    }
    sum / count
}

#[test]
fn fills_of_photographs_have_no_seams() {
    let workshop = Workshop::new();
    let photos = [
        ("astronaut", [24, 180, 90, 250]),
        ("chelsea", [40, 120, 100, 168]),
        ("coffee", [215, 20, 265, 60]),
        ("rocket", [140, 70, 180, 122]),
    ];
    for (name, [left, top, right, bottom]) in photos {
        let path = fixtures().join("photos").join(format!("{name}.jpg"));
        let photo = image::open(&path).unwrap().to_rgb8();
        let inside = |x, y| (left..=right).contains(&x) && (top..=bottom).contains(&y);
        GrayImage::from_fn(photo.width(), photo.height(), |x, y| {
            image::Luma([u8::from(inside(x, y)) * 255])
        })
        .save(workshop.path("mask.png"))
        .unwrap();
        let out = format!("{name}.png");
        let run = workshop
            .run(&[
                "generate",
                "--init",
                text(&path),
                "--mask",
                "mask.png",
                "--count",
                "1",
                "--seed",
                "1",
                "--steps",
                "10",
                "--device",
                "cpu",
                "-o",
                &out,
            ])
            .succeeded();
        assert!(run.stderr().contains("0 pixels changed outside"), "{}", run.stderr());
        let filled = image::open(workshop.path(&out)).unwrap().to_rgb8();
        let border = [left, top, right, bottom];
        let (before, after) = (across_border(&photo, border), across_border(&filled, border));
        assert!(after <= 1.5 * before, "{name}: {after:.2} across the border, {before:.2} before");
        let painted = photo
            .enumerate_pixels()
            .filter(|&(x, y, pixel)| inside(x, y) && filled.get_pixel(x, y) != pixel)
            .count() as u32;
        let area = (right - left + 1) * (bottom - top + 1);
        assert!(painted > area / 2, "{name}: {painted} of {area} pixels painted");
    }
}
