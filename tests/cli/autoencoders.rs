//! `--vae` and `--preview-decoder`, as a person uses them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use burn::tensor::Device;
use emberbrush_pipeline::checkpoint::safetensors_file::SafetensorsFile;
use emberbrush_tests::{CheckpointFolder, Golden, checkpoint, fixtures, runs::furthest};
use image::{GrayImage, RgbImage};
use program::{Workshop, text};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

fn decoders(name: &str) -> String {
    text(&fixtures().join("decoders").join(name)).to_owned()
}

fn bytes(key: &str) -> Vec<u8> {
    let golden = Golden::open("decoders", &Device::flex());
    golden.data(key).convert::<u8>().try_to_vec().unwrap()
}

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    let image = RgbImage::from_raw(64, 64, bytes("image_u8")).unwrap();
    image.save(workshop.path("image.png")).unwrap();
    let mask = GrayImage::from_raw(64, 64, bytes("mask_u8")).unwrap();
    mask.save(workshop.path("mask.png")).unwrap();
    workshop
}

/// The arguments of the golden pictures.
fn drawing(model: &CheckpointFolder) -> Vec<&str> {
    let mut arguments = vec!["generate", "a photo of a cat", "--negative", "blurry", "--model"];
    arguments.extend([text(model), "--device", "cpu", "--steps", "5", "--cfg", "5"]);
    arguments.extend(["--sampler", "ddim", "--seed", "3", "--prompt-syntax", "literal"]);
    arguments
}

/// What turns the golden drawing from words into one of the other two.
fn kind(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &["--width", "64", "--height", "64"],
        "image" => &["--init", "image.png", "--raw", "--strength", "0.6"],
        _ => &["--init", "image.png", "--mask", "mask.png", "--raw", "--strength", "0.6"],
    }
}

#[track_caller]
fn assert_golden(workshop: &Workshop, file: &str, golden: &str) {
    let image = image::open(workshop.path(file)).unwrap().to_rgb8();
    let furthest = furthest(&image, &bytes(golden));
    assert!(furthest <= 1, "{golden}: {furthest} grey levels");
}

/// A file of Stable Diffusion's autoencoder, its names changed.
fn renamed(workshop: &Workshop, name: &str, rename: impl Fn(&str) -> String) -> String {
    let file = SafetensorsFile::open(decoders("kl-ldm.safetensors")).unwrap();
    let keys = file.metadata().offset_keys();
    let tensors: Vec<_> = keys
        .iter()
        .map(|key| {
            let data = emberbrush_layers::weights::WeightSource::read(&file, key).unwrap();
            (rename(key), data)
        })
        .collect();
    let views = tensors.iter().map(|(key, data)| {
        let bytes: &[u8] = data.bytes();
        (key.clone(), TensorView::new(Dtype::F16, data.shape().to_vec(), bytes).unwrap())
    });
    let path = workshop.path(name);
    safetensors::serialize_to_file(views, None, &path).unwrap();
    text(&path).to_owned()
}

/// Every kind of picture with every kind of autoencoder is the one that diffusers makes.
#[test]
fn pictures_are_those_that_diffusers_makes_with_the_autoencoder() {
    let workshop = workshop();
    let model = checkpoint("sd15-tiny");
    let sd21 = checkpoint("sd21-tiny");
    let folder = sd21.join("vae");
    let ldm = renamed(&workshop, "vae-ldm.safetensors", |key| format!("first_stage_model.{key}"));
    for (vae, golden, kinds) in [
        (decoders("tiny"), "tiny", &["text", "image", "fill"][..]),
        (decoders("tiny_decoder.safetensors"), "tiny", &["text", "image"]),
        (decoders("tiny/diffusion_pytorch_model.safetensors"), "tiny", &["fill"]),
        (decoders("kl-ldm.safetensors"), "ldm", &["text", "image", "fill"]),
        (ldm, "ldm", &["text"]),
        (text(&folder).to_owned(), "sd21", &["text"]),
        (text(&sd21).to_owned(), "sd21", &["text"]),
        (text(&folder.join("diffusion_pytorch_model.safetensors")).to_owned(), "sd21", &["text"]),
    ] {
        for &case in kinds {
            let arguments = [&drawing(&model)[..], kind(case), &["--vae", &vae, "-o", "out.png"]];
            let run = workshop.run(&arguments.concat()).succeeded();
            assert!(!run.stderr().contains("Warning"), "{vae}: {}", run.stderr());
            assert_golden(&workshop, "out.png", &format!("{golden}.{case}"));
            std::fs::remove_file(workshop.path("out.png")).unwrap();
        }
    }
}

#[test]
fn settings_name_the_autoencoder_and_it_is_found_again() {
    let workshop = workshop();
    let model = checkpoint("sd15-tiny");
    std::fs::copy(decoders("kl-ldm.safetensors"), workshop.path("other.safetensors")).unwrap();
    let more = ["--vae", "other.safetensors", "-o", "first.png"];
    workshop.run(&[&drawing(&model)[..], kind("text"), &more].concat()).succeeded();
    let hash = {
        use sha2::Digest;
        let content = std::fs::read(decoders("kl-ldm.safetensors")).unwrap();
        let digest = sha2::Sha256::digest(content);
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..10].to_owned()
    };
    let settings = workshop.run(&["settings", "first.png", "--json"]).succeeded();
    let settings: Value = serde_json::from_str(settings.stdout().trim()).unwrap();
    assert_eq!(
        (&settings["vae"], &settings["vae-hash"]),
        (&"other.safetensors".into(), &hash.clone().into())
    );
    let file = std::fs::File::open(workshop.path("first.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let parameters = &reader.info().uncompressed_latin1_text[0].text;
    assert!(
        parameters.contains(&format!("VAE hash: {hash}, VAE: other.safetensors")),
        "{parameters}"
    );

    let again = ["generate", "--from", "first.png", "--model", text(&model), "--device", "cpu"];
    workshop.run(&[&again[..], &["-o", "again.png"]].concat()).succeeded();
    assert_golden(&workshop, "again.png", "ldm.text");
    std::fs::remove_file(workshop.path("other.safetensors")).unwrap();
    workshop
        .run(&[&again[..], &["-o", "lost.png"]].concat())
        .assert_refused(&["autoencoder other.safetensors", "--vae"]);
}

#[test]
fn batches_plans_and_measurements_take_it() {
    let workshop = workshop();
    let model = checkpoint("sd15-tiny");
    let (tiny, base) = (decoders("tiny"), ["--model", text(&model), "--device", "cpu"]);
    let plan = |more: &[&str]| -> Value {
        let size = ["plan", "a cat", "--width", "512", "--height", "512", "--json"];
        let run = workshop.run(&[&size[..], &base, more].concat()).succeeded();
        serde_json::from_str(run.stdout().trim()).unwrap()
    };
    let decode = |plan: &Value| {
        let stages = plan["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["stage"] == "decode").unwrap();
        ["weight_bytes", "working_bytes"].map(|key| stage[key].as_u64().unwrap())
    };
    let ([own_weights, own_working], [weights, working]) =
        (decode(&plan(&[])), decode(&plan(&["--vae", &tiny])));
    assert!(weights < own_weights && working < own_working, "8 channels where there were 16");

    std::fs::write(workshop.path("jobs.txt"), "a photo of a cat\n").unwrap();
    let more =
        ["--steps", "5", "--cfg", "5", "--sampler", "ddim", "--seed", "3", "--negative", "blurry"];
    let size = ["--width", "64", "--height", "64", "--vae", &tiny, "--name", "out"];
    let batch = ["batch", "jobs.txt", "-o", "made"];
    workshop.run(&[&batch[..], &base, &more, &size].concat()).succeeded();
    let made = image::open(workshop.path("made/out.png")).unwrap().to_rgb8();
    let golden = bytes("tiny.text");
    let differs = made.as_raw().iter().zip(&golden).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    assert_eq!(differs, 0);
    // A job may name one of its own; where it is not there, that job alone fails.
    let job = |vae: Value| json!({ "prompt": "a photo of a cat", "seed": 3, "vae": vae });
    let jobs = [job(json!(tiny)), job(Value::Null), job(json!("nowhere"))];
    std::fs::write(workshop.path("jobs.jsonl"), jobs.map(|job| job.to_string()).join("\n"))
        .unwrap();
    let own =
        ["batch", "jobs.jsonl", "-o", "own", "--name", "{index}", "--width=64", "--height=64"];
    workshop.run(&[&own[..], &base, &more].concat()).assert_refused(&[
        "line 3",
        "nowhere",
        "1 of 3 pictures",
    ]);
    let [named, unnamed] =
        ["own/1.png", "own/2.png"].map(|name| image::open(workshop.path(name)).unwrap().to_rgb8());
    assert!(named == made, "as with --vae");
    assert!(unnamed != made);

    // The same folder with another autoencoder is another job set.
    let other = [&batch[..], &base, &more, &["--width", "64", "--height", "64", "--name", "out"]];
    assert_eq!(workshop.run(&other.concat()).code(), Some(1));

    let bench =
        ["bench", "--steps", "1", "--width", "64", "--height", "64", "--vae", &tiny, "--json"];
    let bench = workshop.run(&[&bench[..], &base].concat()).succeeded();
    let bench: Value = serde_json::from_str(bench.stdout().trim()).unwrap();
    assert!(bench["vae_decode_s"].as_f64().unwrap() > 0.0);
    let grid = ["grid", "a cat", "--x", "steps=1,2", "--vae", &tiny, "-o", "grid"];
    let small = ["--width", "64", "--height", "64", "--seed", "1"];
    workshop.run(&[&grid[..], &base, &small].concat()).succeeded();
    assert!(workshop.path("grid/sheet.png").exists());
}

#[test]
fn what_is_no_autoencoder_is_refused_and_strays_are_told() {
    let workshop = workshop();
    let model = checkpoint("sd15-tiny");
    let run = |vae: &str| {
        let more = ["--steps", "1", "--vae", vae, "-o", "out.png"];
        let base = ["generate", "a cat", "--model", text(&model), "--device", "cpu"];
        workshop.run(&[&base[..], kind("text"), &more].concat())
    };
    let upscaler = decoders("upscalers/x4.safetensors");
    run(&upscaler).assert_refused(&["x4.safetensors", "holds no autoencoder"]);
    run("nowhere").assert_refused(&["nowhere", "no such file"]);
    run(&decoders("tiny_encoder.safetensors")).assert_refused(&["encoder of TAESD alone"]);
    run(&decoders("upscalers")).assert_refused(&["upscalers", "config.json"]);
    let broken =
        renamed(&workshop, "broken.safetensors", |key| key.replace("decoder.conv_in", "other"));
    run(&broken).assert_refused(&["broken.safetensors", "`decoder.conv_in.weight` is missing"]);
    assert!(!workshop.path("out.png").exists());
    // The encoder is missing only where a picture is encoded.
    std::fs::copy(decoders("tiny_decoder.safetensors"), workshop.path("alone.safetensors"))
        .unwrap();
    run("alone.safetensors").succeeded();
    let more = ["--vae", "alone.safetensors", "-o", "image.png"];
    workshop
        .run(&[&drawing(&model)[..], kind("image"), &more].concat())
        .assert_refused(&["alone.safetensors", "encoder.layers.0"]);

    let stray = renamed(&workshop, "stray.safetensors", |key| match key {
        "quant_conv.bias" => "something.else".to_owned(),
        _ => key.to_owned(),
    });
    let run = run(&stray).succeeded();
    assert!(run.stderr().contains("not used: vae: something.else"), "{}", run.stderr());
}

#[test]
fn previews_are_written_for_each_step() {
    let workshop = workshop();
    let model = checkpoint("sd15-tiny");
    let draw = |more: &[&str]| workshop.run(&[&drawing(&model)[..], kind("text"), more].concat());
    draw(&["--previews", "fast", "-o", "fast.png"]).succeeded();
    let names = |folder: &str| {
        let mut names: Vec<_> = std::fs::read_dir(workshop.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let expected: Vec<String> = (1..=5).map(|step| format!("3-{step:03}.png")).collect();
    assert_eq!(names("fast"), expected);
    assert_eq!(image::open(workshop.path("fast/3-005.png")).unwrap().width(), 8);

    let tiny = decoders("tiny_decoder.safetensors");
    let more = ["--previews", "tiny", "--preview-decoder", &tiny];
    draw(&[&more[..], &["-o", "tiny.png"]].concat()).succeeded();
    assert_eq!(names("tiny"), expected);
    // What the last step predicts is what is decoded at the end, here by the same network.
    draw(&["--vae", &tiny, "-o", "decoded.png"]).succeeded();
    let last = image::open(workshop.path("tiny/3-005.png")).unwrap().to_rgb8();
    let decoded = image::open(workshop.path("decoded.png")).unwrap().to_rgb8();
    let furthest = furthest(&last, &decoded);
    assert!(furthest <= 1, "{furthest} grey levels");

    draw(&["--previews", "none", "--preview-decoder", &decoders("kl-ldm.safetensors")])
        .assert_refused(&["kl-ldm.safetensors", "small autoencoder"]);
}
