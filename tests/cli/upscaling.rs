//! `emberbrush generate` with ESRGAN upscalers, as a person runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::path::Path;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use emberbrush_layers::weights::Weights;
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{
    fixtures,
    runs::furthest,
    single_file::{read_safetensors, write_torch_dictionary},
    values,
};
use emberbrush_upscaler::{RrdbNet, RrdbNetConfig};
use image::{Rgb32FImage, RgbImage};
use program::{Workshop, text};
use serde_json::Value;

fn upscaler(name: &str) -> String {
    text(&fixtures().join(format!("decoders/upscalers/{name}.safetensors"))).to_owned()
}

/// A picture with something to see everywhere, of odd sides.
fn picture(width: u32, height: u32) -> RgbImage {
    let wave = |value: f32| (127.5 + 127.5 * value.sin()) as u8;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32, y as f32);
        image::Rgb([wave(x * 0.21 + y * 0.05), wave(y * 0.3), wave((x * y).sqrt())])
    })
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    picture(301, 94).save(workshop.path("photo.png")).unwrap();
    workshop
}

/// What the network makes of the whole picture at once, its edges drawn out to a multiple.
fn whole(name: &str, picture: &RgbImage) -> RgbImage {
    let file = SafetensorsFile::open(upscaler(name)).unwrap();
    let (config, naming) = RrdbNetConfig::recognise(&file).unwrap();
    let weights = Weights::new(&file, &Device::flex(), FloatDType::F32);
    let network = RrdbNet::new(&config, naming, &weights).unwrap();
    let side = |side: u32| side.next_multiple_of(config.folding as u32);
    let (width, height) = (side(picture.width()), side(picture.height()));
    let padded = Rgb32FImage::from_fn(width, height, |x, y| {
        let pixel = picture.get_pixel(x.min(picture.width() - 1), y.min(picture.height() - 1));
        image::Rgb(pixel.0.map(|value| f32::from(value) / 255.0))
    });
    let data = TensorData::new(padded.into_raw(), [1, height as usize, width as usize, 3]);
    let pixels = Tensor::<4>::from_data(data, &Device::flex()).permute([0, 3, 1, 2]);
    let go_on = &mut || std::ops::ControlFlow::Continue(());
    let enlarged = network.forward(pixels, go_on).unwrap().permute([0, 2, 3, 1]);
    let [_, _, columns, _] = enlarged.dims();
    let (scale, values) = (config.scale() as u32, values(&enlarged));
    RgbImage::from_fn(picture.width() * scale, picture.height() * scale, |x, y| {
        let start = (y as usize * columns + x as usize) * 3;
        let value =
            |channel: usize| (values[start + channel].clamp(0.0, 1.0) * 255.0).round() as u8;
        image::Rgb([value(0), value(1), value(2)])
    })
}

const ONLY: [&str; 8] =
    ["generate", "--init", "photo.png", "--strength", "0", "--device", "cpu", "--upscale"];

/// The pictures take two tiles, which fade into each other: nothing of them is to be seen.
#[test]
fn tiles_give_the_picture_that_the_whole_gives() {
    let workshop = workshop();
    for (name, scale, width) in [("x4", "4", 304), ("x2-folded", "2", 496), ("x1-folded", "1", 904)]
    {
        let photo = picture(width, 48);
        photo.save(workshop.path("photo.png")).unwrap();
        let out = format!("{name}.png");
        let more = [scale, "--upscaler", &upscaler(name), "-o", &out];
        workshop.run(&[&ONLY[..], &more].concat()).succeeded();
        let made = image::open(workshop.path(&out)).unwrap().to_rgb8();
        let difference = furthest(&made, &whole(name, &photo));
        assert!(difference <= 1, "{name}: {difference} grey levels");
    }
}

/// As Real-ESRGAN publishes its networks.
#[test]
fn files_of_torch_save_give_the_same_picture() {
    let workshop = workshop();
    picture(64, 48).save(workshop.path("photo.png")).unwrap();
    let tensors = read_safetensors(Path::new(&upscaler("x4")));
    let mut pictures = Vec::new();
    for within in [None, Some("params_ema")] {
        write_torch_dictionary(&workshop.path("x4.pth"), within, &tensors);
        let run =
            workshop.run(&[&ONLY[..], &["4", "--upscaler", "x4.pth", "-o", "out.png"]].concat());
        let message = run.succeeded().stderr();
        assert!(!message.contains("Warning"), "{message}");
        pictures.push(image::open(workshop.path("out.png")).unwrap().to_rgb8());
        std::fs::remove_file(workshop.path("out.png")).unwrap();
    }
    let more = ["4", "--upscaler", &upscaler("x4"), "-o", "safe.png"];
    workshop.run(&[&ONLY[..], &more].concat()).succeeded();
    let expected = image::open(workshop.path("safe.png")).unwrap().to_rgb8();
    assert!(pictures.iter().all(|picture| *picture == expected));
}

#[test]
fn any_scale_is_reached() {
    let workshop = workshop();
    picture(101, 38).save(workshop.path("photo.png")).unwrap();
    for (name, scale, size) in [
        // More than the network has: it is run twice.
        ("x2-sequential", "3", (304, 112)),
        // Less.
        ("x4-esrgan", "1.5", (152, 56)),
        // A network that only restores.
        ("x1-sequential", "2", (200, 80)),
        ("x4-sequential-plus", "1", (104, 40)),
    ] {
        let out = format!("{name}.png");
        let more = [scale, "--upscaler", &upscaler(name), "-o", &out];
        workshop.run(&[&ONLY[..], &more].concat()).succeeded();
        let made = image::open(workshop.path(&out)).unwrap().to_rgb8();
        assert_eq!(made.dimensions(), size, "{name}");
        assert!(made.pixels().any(|pixel| pixel != made.get_pixel(0, 0)), "{name}");
    }
}

#[test]
fn a_network_comes_before_the_painting_and_is_recorded() {
    let workshop = workshop();
    let network = upscaler("x4-esrgan");
    picture(64, 40).save(workshop.path("photo.png")).unwrap();
    let base = ["generate", "a red apple", "--steps", "2", "--device", "cpu", "--seed", "3"];
    let base = [&base[..], &["--width", "64", "--height", "64"]].concat();
    let tiles = ["--init", "photo.png", "--upscale", "2", "--strength", "0.5"];
    let run = |more: &[&str]| workshop.run(&[&base[..], more].concat()).succeeded();
    run(&[&tiles[..], &["-o", "lanczos.png"]].concat());
    run(&[&tiles[..], &["--upscaler", &network, "-o", "network.png"]].concat());
    let hires = ["--hires", "1.5", "--hires-steps", "2"];
    run(&[&hires[..], &["-o", "hires-lanczos.png"]].concat());
    run(&[&hires[..], &["--hires-upscaler", &network, "-o", "hires-network.png"]].concat());
    let open = |name: &str| image::open(workshop.path(name)).unwrap().to_rgb8();
    assert!(furthest(&open("lanczos.png"), &open("network.png")) > 8);
    assert!(furthest(&open("hires-lanczos.png"), &open("hires-network.png")) > 8);

    for (name, key, field) in [
        ("network.png", "SD upscale upscaler: x4-esrgan", "upscaler"),
        ("hires-network.png", "Hires upscaler: x4-esrgan", "hires-upscaler"),
    ] {
        let file = std::fs::File::open(workshop.path(name)).unwrap();
        let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        let parameters = &reader.info().uncompressed_latin1_text[0].text;
        assert!(parameters.contains(key), "{parameters}");
        let settings = workshop.run(&["settings", name, "--json"]).succeeded();
        let settings: Value = serde_json::from_str(settings.stdout().trim()).unwrap();
        assert_eq!(settings[field], *network);
        workshop
            .run(&["generate", "--from", name, "--device", "cpu", "-o", "again.png"])
            .succeeded();
        assert!(open(name) == open("again.png"), "{name}: made again, the picture is the same");
        std::fs::remove_file(workshop.path("again.png")).unwrap();
    }
}

#[test]
fn memory_is_planned_and_jobs_name_upscalers() {
    let workshop = workshop();
    let network = upscaler("x4");
    let plan = ["plan", "--init", "photo.png", "--upscale", "4", "--upscaler", &network, "--json"];
    let plan = workshop.run(&[&plan[..], &["--device", "cpu"]].concat()).succeeded();
    let plan: Value = serde_json::from_str(plan.stdout().trim()).unwrap();
    let stages = plan["stages"].as_array().unwrap();
    let place = |name: &str| stages.iter().position(|stage| stage["stage"] == name).unwrap();
    assert!(place("enlarge") < place("denoise"));
    let enlarge = &stages[place("enlarge")];
    assert_eq!((enlarge["width"].as_u64(), enlarge["height"].as_u64()), (Some(301), Some(94)));
    // 8 features at 4 times the tile's 192 × 94 pixels, and as many before the convolution.
    let features = 8 * 4 * (16 * 192 * 94);
    assert!(enlarge["working_bytes"].as_u64().unwrap() > 2 * features);

    let job = serde_json::json!({
        "prompt": "", "init": workshop.path("photo.png"), "scale": 2, "strength": 0,
        "upscaler": network,
    });
    std::fs::write(workshop.path("jobs.jsonl"), job.to_string()).unwrap();
    workshop.run(&["batch", "jobs.jsonl", "-o", "out", "--device", "cpu"]).succeeded();
    let made = std::fs::read_dir(workshop.path("out")).unwrap().flatten();
    let made =
        made.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "png"));
    let made = image::open(made.expect("a picture")).unwrap().to_rgb8();
    assert_eq!(made.dimensions(), (600, 192));
}

#[test]
fn what_is_no_upscaler_is_refused_before_anything_is_made() {
    let workshop = workshop();
    let refuse = |file: &str, parts: &[&str]| {
        let more = ["2", "--upscaler", file, "-o", "out.png"];
        workshop.run(&[&ONLY[..], &more].concat()).assert_refused(parts);
        let hires = ["generate", "a cat", "--hires", "2", "--device", "cpu", "-o", "out.png"];
        workshop.run(&[&hires[..], &["--hires-upscaler", file]].concat()).assert_refused(parts);
    };
    let vae = fixtures().join("decoders/kl-ldm.safetensors");
    refuse(text(&vae), &["kl-ldm.safetensors", "no ESRGAN upscaler", "conv_first"]);
    refuse("nowhere.safetensors", &["nowhere.safetensors", "cannot be read"]);
    let content = std::fs::read(upscaler("x4")).unwrap();
    std::fs::write(workshop.path("half.safetensors"), &content[..content.len() / 2]).unwrap();
    refuse("half.safetensors", &["half.safetensors", "truncated"]);
    std::fs::write(workshop.path("text.safetensors"), "not tensors at all").unwrap();
    refuse("text.safetensors", &["text.safetensors"]);
    let alone = ["generate", "a cat", "--init", "photo.png", "--upscaler", "x", "--device", "cpu"];
    assert_eq!(workshop.run(&alone).code(), Some(2), "it needs --upscale");
    assert!(!workshop.path("out.png").exists());
}
