//! `emberbrush generate`, `inspect`, `devices` and `bench`, as a person runs them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::fs;

use emberbrush_tests::{
    checkpoint, pipeline_case,
    runs::{self, furthest},
};
use program::{Workshop, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A size that is quick, whatever the model in the box was trained for.
const SMALL: [&str; 4] = ["--width", "64", "--height", "64"];

/// Every text-to-image case without noise in its steps: seed 7 gives the initial latents.
#[test]
fn seed_7_gives_the_pictures_of_diffusers() {
    let samplers = [
        ("DDIMScheduler", "ddim"),
        ("PNDMScheduler", "pndm"),
        ("EulerDiscreteScheduler", "euler"),
        ("HeunDiscreteScheduler", "heun"),
        ("DPMSolverMultistepScheduler", "dpmpp-2m"),
        ("UniPCMultistepScheduler", "unipc"),
    ];
    let mut compared = Vec::new();
    for case in runs::cases("pipelines") {
        let name = case["name"].as_str().unwrap().to_owned();
        let plain = case["pipeline"].as_str().unwrap().trim_end_matches("Pipeline");
        let mut overrides = case["scheduler_overrides"].as_object().unwrap().clone();
        let karras = overrides.remove("use_karras_sigmas").is_some();
        let Some((_, sampler)) = samplers.iter().find(|(class, _)| case["scheduler"] == *class)
        else {
            continue;
        };
        if !matches!(plain, "StableDiffusion" | "StableDiffusionXL")
            // No flag says that a picture was cropped.
            || !case["original_size"].is_null()
            || case["latents"] != "initial_latents"
            || name.contains("lora")
            || name.contains("textual_inversion")
        {
            continue;
        }
        let workshop = Workshop::new();
        let model = checkpoint(case["checkpoint"].as_str().unwrap());
        let scheduler = model.join("scheduler/scheduler_config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&scheduler).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(overrides);
        fs::write(&scheduler, config.to_string()).unwrap();
        // diffusers counts the layers that are left out.
        let clip_skip = case["clip_skip"].as_u64().unwrap_or(0) + 1;
        let guidance_rescale = case["guidance_rescale"].as_f64().unwrap_or(0.0);
        workshop
            .run(&[
                "generate",
                case["prompt"].as_str().unwrap(),
                "--negative",
                case["negative_prompt"].as_str().unwrap_or_default(),
                "--model",
                text(&model),
                "--steps",
                &case["num_inference_steps"].to_string(),
                "--cfg",
                &case["guidance_scale"].to_string(),
                "--sampler",
                sampler,
                "--schedule",
                if karras { "karras" } else { "automatic" },
                "--clip-skip",
                &clip_skip.to_string(),
                "--guidance-rescale",
                &guidance_rescale.to_string(),
                "--seed",
                "7",
                "--width",
                "64",
                "--height",
                "64",
                "--device",
                "cpu",
                "--prompt-syntax",
                "literal",
                "-o",
                "out.png",
            ])
            .succeeded();
        let image = image::open(workshop.path("out.png")).unwrap().to_rgb8();
        let furthest = furthest(&image, &pipeline_case(&name).1);
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
        compared.push(name);
    }
    assert_eq!(compared.len(), 17, "{compared:?}");
}

/// A job tells the sizes for which there are no flags.
#[test]
fn a_second_prompt_and_the_sizes_of_a_crop_give_the_picture_of_diffusers() {
    let (case, expected) = pipeline_case("sdxl_euler_sizes_two_prompts");
    // Heights and tops come first in diffusers.
    let pair = |key: &str| json!([case[key][1], case[key][0]]);
    let job = json!({
        "prompt": case["prompt"], "negative": case["negative_prompt"],
        "prompt-2": case["prompt_2"], "negative-2": case["negative_prompt_2"],
        "steps": case["num_inference_steps"], "cfg": case["guidance_scale"],
        "sampler": "euler", "seed": 7, "width": 64, "height": 64,
        "size-conditions": {
            "original": pair("original_size"),
            "crop": pair("crops_coords_top_left"),
            "target": pair("target_size"),
        },
    });
    let workshop = Workshop::new();
    fs::write(workshop.path("jobs.jsonl"), job.to_string()).unwrap();
    let model = checkpoint("sdxl-tiny");
    let batch = ["batch", "jobs.jsonl", "-o", "out", "--name", "{seed}", "--device", "cpu"];
    workshop.run(&[&batch[..], &["--model", text(&model)]].concat()).succeeded();
    let image = image::open(workshop.path("out/7.png")).unwrap().to_rgb8();
    let furthest = furthest(&image, &expected);
    assert!(furthest <= 1, "{furthest} grey levels");
}

#[test]
fn without_a_model_the_one_in_the_box_draws() {
    let workshop = Workshop::new();
    let run = workshop
        .run(&[
            "generate",
            "a red apple",
            "--steps",
            "2",
            "--seed",
            "3",
            "--device",
            "cpu",
            "-o",
            "apple.png",
        ])
        .succeeded();
    assert_eq!(run.stdout().trim(), "apple.png");
    assert!(run.stderr().contains("step 2/2"), "{}", run.stderr());
    assert_eq!(workshop.files(), ["apple.png"]);
    let recommended = emberbrush_assets::DEFAULT_MODEL
        .iter()
        .find(|(path, _)| *path == "defaults.json")
        .map(|(_, content)| serde_json::from_slice::<Value>(content).unwrap())
        .unwrap();
    let picture = image::open(workshop.path("apple.png")).unwrap();
    assert_eq!(recommended["width"], picture.width());
    assert_eq!(recommended["height"], picture.height());
}

#[test]
fn picture_k_has_seed_plus_k_and_equals_the_one_made_alone() {
    let workshop = Workshop::new();
    let common = ["generate", "a cat", "--steps", "2", "--device", "cpu", "--sampler", "euler-a"];
    let common = [&common[..], &SMALL].concat();
    let three = [&common[..], &["--seed", "10", "--count", "3", "-o", "three/"]].concat();
    workshop.run(&three).succeeded();
    let alone = [&common[..], &["--seed", "12", "-o", "alone.png"]].concat();
    workshop.run(&alone).succeeded();
    let of_three = image::open(workshop.path("three/12-a-cat.png")).unwrap().to_rgb8();
    assert_eq!(of_three, image::open(workshop.path("alone.png")).unwrap().to_rgb8());
    assert!(
        workshop.path("three/10-a-cat.png").exists()
            && workshop.path("three/11-a-cat.png").exists()
    );
}

#[test]
fn the_two_sources_of_random_numbers_differ() {
    let workshop = Workshop::new();
    for rng in ["torch", "philox"] {
        let output = format!("{rng}.png");
        workshop
            .run(
                &[
                    &[
                        "generate", "a cat", "--steps", "1", "--seed", "5", "--rng", rng,
                        "--device", "cpu", "-o", &output,
                    ][..],
                    &SMALL,
                ]
                .concat(),
            )
            .succeeded();
    }
    let [torch, philox] =
        ["torch.png", "philox.png"].map(|name| image::open(workshop.path(name)).unwrap().to_rgb8());
    assert_ne!(torch, philox);
}

#[test]
fn the_png_carries_its_settings() {
    let workshop = Workshop::new();
    workshop
        .run(&[
            "generate",
            "a cat",
            "--negative",
            "dog",
            "--steps",
            "2",
            "--cfg",
            "3.5",
            "--sampler",
            "dpmpp-2m",
            "--schedule",
            "karras",
            "--seed",
            "9",
            "--width",
            "128",
            "--height",
            "96",
            "--device",
            "cpu",
            "-o",
            "cat.png",
        ])
        .succeeded();
    let file = fs::File::open(workshop.path("cat.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let chunk = &reader.info().uncompressed_latin1_text[0];
    assert_eq!(chunk.keyword, "parameters");
    let expected = "a cat\nNegative prompt: dog\nSteps: 2, Sampler: DPM++ 2M, Schedule type: Karras, \
                    CFG scale: 3.5, Seed: 9, Size: 128x96, Model hash: ";
    let text = &chunk.text;
    assert!(text.starts_with(expected), "{text}");
    let weights: Vec<u8> = emberbrush_assets::DEFAULT_MODEL
        .iter()
        .filter(|(path, _)| path.starts_with("unet/") && path.ends_with(".safetensors"))
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .collect();
    let hash: String = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect();
    let rest = &text[expected.len()..];
    assert_eq!(&rest[..10], &hash[..10]);
    assert!(
        rest[10..].starts_with(", Model: emberbrush-default, RNG: CPU, Version: emberbrush "),
        "{text}"
    );
}

#[test]
fn json_is_one_object_a_line() {
    let workshop = Workshop::new();
    let run = workshop
        .run(&[
            "generate", "a cat", "--steps", "2", "--seed", "1", "--width", "64", "--height", "64",
            "--device", "cpu", "-o", "cat.png", "--json",
        ])
        .succeeded();
    let objects: Vec<Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> =
        objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["loaded", "begin", "stage", "stage", "step", "step", "stage", "image"]);
    assert_eq!(objects[7]["path"], "cat.png");
    assert_eq!(objects[7]["seed"], 1);
}

#[test]
fn an_existing_file_is_kept_and_the_new_name_is_printed() {
    let workshop = Workshop::new();
    fs::write(workshop.path("cat.png"), "precious").unwrap();
    let run = workshop
        .run(
            &[
                &["generate", "a cat", "--steps", "1", "--device", "cpu", "-o", "cat.png"][..],
                &SMALL,
            ]
            .concat(),
        )
        .succeeded();
    assert_eq!(run.stdout().trim(), "cat-1.png");
    assert_eq!(fs::read(workshop.path("cat.png")).unwrap(), b"precious");
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_at_the_next_block_and_leaves_nothing() {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };
    let workshop = Workshop::new();
    // A machine that does something else meanwhile may hold one of the runs up.
    let stop = || {
        let mut child = workshop
            .program(&[
                "generate", "a cat", "--steps", "900", "--width", "256", "--height", "256",
                "--device", "cpu", "-o", "cat.png",
            ])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("step 1/") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "ended before its first step");
        }
        let asked = Instant::now();
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130));
        assert!(rest.contains("Cancelled"), "{rest}");
        assert_eq!(workshop.files(), [""; 0]);
        asked.elapsed()
    };
    assert!((0..5).any(|_| stop() < Duration::from_secs(1)), "took more than a second five times");
}

#[test]
fn inspect_tells_family_sizes_and_types() {
    let workshop = Workshop::new();
    for (name, family, channels) in [
        ("sd15-tiny", "sd1", 4),
        ("sd21-tiny", "sd2", 4),
        ("sdxl-tiny", "sdxl", 4),
        ("sd15-inpaint-tiny", "sd1", 9),
    ] {
        let model = checkpoint(name);
        let run = workshop.run(&["inspect", text(&model), "--json"]).succeeded();
        let object: Value = serde_json::from_str(run.stdout().trim()).unwrap();
        assert_eq!(object["family"], family, "{name}");
        assert_eq!(object["in_channels"], channels, "{name}");
        let unet = object["components"]
            .as_array()
            .unwrap()
            .iter()
            .find(|part| part["name"] == "unet")
            .unwrap();
        let elements = unet["elements_by_dtype"]["f16"].as_u64().unwrap();
        assert_eq!(unet["parameters"].as_u64(), Some(elements), "{name}");
        assert!(elements > 1_000_000, "{name}");
    }
    let model = checkpoint("sd21-tiny");
    let run = workshop.run(&["inspect", text(&model)]).succeeded();
    assert!(run.stdout().contains("v_prediction") && run.stdout().contains("Stable Diffusion 2.x"));
}

#[test]
fn devices_lists_the_cpu_and_marks_one_as_automatic() {
    let run = Workshop::new().run(&["devices", "--json"]).succeeded();
    let devices: Vec<Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(devices[0]["id"], "cpu");
    assert_eq!(devices.iter().filter(|device| device["automatic"] == true).count(), 1);
    let taken = devices.iter().find(|device| device["automatic"] == true).unwrap();
    assert_ne!(taken["kind"], "software");
}

#[test]
fn bench_measures_each_part() {
    for model in ["sd15-tiny", "sd15-inpaint-tiny"] {
        let model = checkpoint(model);
        let size = ["--width", "64", "--height", "64", "--steps", "2", "--device", "cpu", "--json"];
        let run = Workshop::new().run(&[&["bench", "--model", text(&model)], &size[..]].concat());
        let object: Value = serde_json::from_str(run.succeeded().stdout().trim()).unwrap();
        for key in ["load_s", "text_s", "unet_step_s", "vae_decode_s"] {
            assert!(object[key].as_f64().unwrap() > 0.0, "{key}");
        }
        if cfg!(target_os = "linux") {
            assert!(object["peak_rss_mb"].as_f64().unwrap() > 5.0);
        }
    }
}

#[test]
fn bench_compares_ways_that_leave_operations_out() {
    let size = ["--width", "64", "--height", "64", "--steps", "4", "--device", "cpu", "--json"];
    let run = Workshop::new().run(&[&["bench", "--savings", "1"], &size[..]].concat()).succeeded();
    let ways: Vec<Value> =
        run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for flag in ["skip-negative-after", "deep-cache", "token-merging", "reuse-cross-attention"] {
        let is_of = |way: &&Value| way["way"].as_str().unwrap().contains(flag);
        let found: Vec<&Value> = ways.iter().filter(is_of).collect();
        assert!(found.len() > 1, "{flag}: {ways:?}");
        for way in found {
            assert!(way["mean"].as_f64().unwrap() > 0.0, "{way}");
            assert!(way["psnr_db"].as_f64().unwrap() > 5.0, "{way}");
            assert!(way["unet_share"].as_f64().unwrap() > 0.0, "{way}");
        }
    }
}
