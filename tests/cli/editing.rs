//! `emberbrush generate` with pictures to start from, as a person runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use emberbrush_pipeline::{
    picture::{FileFormat, Picture, encode},
    request::GenerationRequest,
};
use emberbrush_tests::{
    checkpoint,
    runs::{self, furthest},
};
use image::{DynamicImage, GrayImage, RgbImage};
use program::{Workshop, text};
use serde_json::Value;

fn golden() -> emberbrush_tests::Golden {
    emberbrush_tests::Golden::open("pipelines", &burn::tensor::Device::flex())
}

/// A folder with the golden picture as `image.png` and its mask as `mask.png`.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    golden().colours("image_u8_hwc").save(workshop.path("image.png")).unwrap();
    golden().greys("mask_u8_hw").save(workshop.path("mask.png")).unwrap();
    workshop
}

/// Every case that was given no latents: the seed alone decides.
#[test]
fn raw_pictures_are_those_of_diffusers() {
    let mut compared = 0;
    for (place, case) in (9000..).zip(runs::cases("pipelines")) {
        if !case["latents"].is_null() {
            continue;
        }
        let name = case["name"].as_str().unwrap();
        let GenerationRequest { sampler, schedule, .. } = runs::request(&case, 0);
        let workshop = workshop();
        let model = checkpoint(case["checkpoint"].as_str().unwrap());
        let (seed, steps) = (format!("{place}"), case["num_inference_steps"].to_string());
        let (cfg, strength) = (case["guidance_scale"].to_string(), case["strength"].to_string());
        let (sampler, schedule) = (sampler.to_string(), schedule.to_string());
        let mut arguments = vec!["generate", case["prompt"].as_str().unwrap()];
        arguments.extend(["--negative", case["negative_prompt"].as_str().unwrap()]);
        arguments.extend(["--model", text(&model), "--device", "cpu", "--steps", &steps]);
        arguments.extend(["--cfg", &cfg, "--sampler", &sampler, "--seed", &seed]);
        arguments.extend(["--schedule", &schedule]);
        arguments.extend(["--init", "image.png", "--raw", "--strength", &strength]);
        if name.contains("inpaint") {
            arguments.extend(["--mask", "mask.png"]);
        }
        arguments.extend(["-o", "out.png"]);
        workshop.run(&arguments).succeeded();
        let image = image::open(workshop.path("out.png")).unwrap().to_rgb8();
        let furthest = furthest(&image, &golden().bytes(&format!("{name}.image_u8")));
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
        compared += 1;
    }
    assert_eq!(compared, 9);
}

/// The default model fills a part of a picture, larger or smaller than the picture is.
const FILL: [&str; 12] = [
    "generate",
    "--init",
    "image.png",
    "--mask",
    "mask.png",
    "--steps",
    "3",
    "--width",
    "128",
    "--height",
    "128",
    "--device",
];

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

/// The model in the box recommends it.
#[test]
fn what_a_prompt_asks_for_keeps_its_colours_unless_they_shall_match() {
    let workshop = workshop();
    let fill = |prompt: &'static str, flags: &[&'static str]| {
        let more = ["cpu", "--count", "1", "--seed", "5", "-o", "new/", prompt];
        let run = workshop.run(&[&FILL[..], &more, flags].concat()).succeeded();
        image::open(workshop.path(run.stdout().trim())).unwrap().to_rgb8()
    };
    let (kept, matched) = (["--no-colour-match"], ["--colour-match"]);
    assert!(fill("a star", &[]) == fill("a star", &kept));
    assert!(fill("a star", &[]) != fill("a star", &matched));
    assert!(fill("", &[]) == fill("", &matched));
    assert!(fill("", &[]) != fill("", &kept));
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
    refuse(&["--init", "image.png", "--strength", "0.1"], &["steps is made", "raise the strength"]);
    refuse(&["--init", "image.png", "--width", "60"], &["multiple of 8"]);
    refuse(&["--init", "image.png", "--mask", "mask.png", "--mask-grow=-60"], &["mask is empty"]);
    refuse(
        &["--init", "image.png", "--mask", "mask.png", "--feather", "4000"],
        &["1024 pixels at most"],
    );
    assert!(!workshop.path("out.png").exists());
}

/// A PNG of the golden picture with a colour profile.
fn with_profile(profile: &[u8]) -> Vec<u8> {
    let picture = Picture {
        pixels: golden().colours("image_u8_hwc").into(),
        icc_profile: Some(profile.to_vec()),
    };
    encode(&picture, FileFormat::Png, &[]).unwrap()
}

#[test]
fn colour_profiles_that_cannot_be_used_or_kept_are_told() {
    let workshop = workshop();
    let fill = |output: &str| {
        let more = ["cpu", "--count", "1", "-o", output];
        workshop.run(&[&FILL[..], &more].concat()).succeeded().stderr()
    };
    assert!(!fill("plain.bmp").contains("Warning"));

    std::fs::write(workshop.path("image.png"), with_profile(b"not a profile")).unwrap();
    let told = fill("broken.png");
    assert!(told.contains("image.png: the colour profile is damaged"), "{told}");
    assert!(told.contains("sRGB is assumed") && told.contains("0 pixels changed"), "{told}");

    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    std::fs::write(workshop.path("image.png"), with_profile(&profile)).unwrap();
    assert!(!fill("kept.png").contains("Warning"));
    let told = fill("lost.bmp");
    assert!(told.contains("bmp files hold no colour profile"), "{told}");
}

#[test]
fn a_lossy_webp_says_that_it_changes_pixels_and_carries_its_settings() {
    let workshop = workshop();
    let run = |more: &[&str]| {
        workshop
            .run(&[&FILL[..], &["cpu", "--count", "1", "--seed", "5"], more].concat())
            .succeeded()
    };
    let lossless = run(&["-o", "whole.webp"]);
    assert!(lossless.stderr().contains("0 pixels changed"), "{}", lossless.stderr());
    let lossy = run(&["-o", "lossy.webp", "--quality", "80"]);
    assert!(lossy.stderr().contains("by the file format"), "{}", lossy.stderr());
    let length = |name: &str| std::fs::metadata(workshop.path(name)).unwrap().len();
    assert!(length("lossy.webp") < length("whole.webp"));
    let settings = workshop.run(&["settings", "lossy.webp", "--json"]).succeeded();
    let settings: Value = serde_json::from_str(settings.stdout().trim()).unwrap();
    assert_eq!(settings["seed"], 5);
    assert_eq!(settings["source"], "emberbrush");
}

/// What other programs read of an edit: A1111's text alone.
#[test]
fn edits_are_described_with_the_keys_of_a1111() {
    let workshop = workshop();
    let text_of = |name: &str| {
        let file = std::fs::File::open(workshop.path(name)).unwrap();
        let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        reader.info().uncompressed_latin1_text[0].text.clone()
    };
    let more = ["cpu", "--count", "1", "--mask-blur", "6", "--invert-mask", "-o", "fill.png"];
    workshop.run(&[&FILL[..], &more].concat()).succeeded();
    let text = text_of("fill.png");
    let expected = "Denoising strength: 1, Mask blur: 6, Mask mode: Inpaint not masked, \
                    Inpaint area: Only masked, Masked area padding: 32, Masked content: fill, Version: ";
    assert!(text.contains(expected), "{text}");

    let hires = ["generate", "a red apple", "--steps", "2", "--device", "cpu", "--hires", "1.5"];
    let more = ["--hires-steps", "4", "--hires-upscaler", "latent-bicubic", "-o", "hires.png"];
    let size = ["--width", "128", "--height", "128"];
    workshop.run(&[&hires[..], &more, &size].concat()).succeeded();
    let text = text_of("hires.png");
    let expected = "Denoising strength: 0.5, Hires upscale: 1.5, Hires steps: 2, \
                    Hires upscaler: Latent (bicubic), Version: ";
    assert!(text.contains(expected), "{text}");
    let again = ["generate", "--from", "hires.png", "--device", "cpu", "-o", "again.png"];
    workshop.run(&again).succeeded();
    let [first, again] =
        ["hires.png", "again.png"].map(|name| image::open(workshop.path(name)).unwrap().to_rgb8());
    assert_eq!(first.dimensions(), (192, 192));
    assert!(first == again, "made again, the picture is the same");
}
