//! Memory on the command line: plans, refusals and stepping down.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod program;

use image::RgbImage;
use program::Workshop;
use serde_json::Value;

const LARGE: [&str; 10] = [
    "a red apple",
    "--seed",
    "7",
    "--steps",
    "1",
    "--width",
    "384",
    "--height",
    "384",
    "--device=cpu",
];

/// A run of `command` with `arguments` and `more`.
fn arguments<'a>(command: &'a str, arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&[command], arguments, more].concat()
}

/// What `plan --json` tells.
fn plan(workshop: &Workshop, more: &[&str]) -> Value {
    let run = workshop.run(&arguments("plan", &LARGE, &[more, &["--json"]].concat()));
    serde_json::from_str(&run.succeeded().stdout()).unwrap()
}

/// Bytes of the stage `name`.
fn stage(plan: &Value, name: &str) -> u64 {
    let stages = plan["stages"].as_array().unwrap();
    let stage = stages.iter().find(|stage| stage["stage"] == name).unwrap();
    stage["bytes"].as_u64().unwrap()
}

fn picture(workshop: &Workshop, name: &str) -> RgbImage {
    image::open(workshop.path(name)).unwrap().into_rgb8()
}

/// A limit as the flag takes it.
fn limit(bytes: u64) -> String {
    format!("--memory-limit={bytes}")
}

/// The process itself takes a little more or less from run to run.
const MARGIN: u64 = 4 << 20;

#[test]
fn a_plan_tells_stages_and_what_is_free_and_makes_nothing() {
    let workshop = Workshop::new();
    let plan = plan(&workshop, &[]);
    assert_eq!(plan["fits"], true);
    assert_eq!(plan["stepped_down"], serde_json::json!([]));
    assert!(plan["budget_bytes"].as_u64().unwrap() > 0);
    let stages: Vec<_> = plan["stages"].as_array().unwrap().iter().collect();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["load", "encode-prompt", "encode-picture", "denoise", "decode"]);
    let most = stages.iter().map(|stage| stage["bytes"].as_u64().unwrap()).max().unwrap();
    assert_eq!(plan["peak_bytes"].as_u64(), Some(most));

    let text = workshop.run(&arguments("plan", &LARGE, &["--hires", "2"])).succeeded().stdout();
    for part in ["decoding 384×384", "encoding the picture 768×768", "decoding 768×768", "peak"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(workshop.files().is_empty());
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    let workshop = Workshop::new();
    let more = ["--memory-limit", "30MiB", "-o", "new/a.png"];
    let parts =
        ["not enough memory: decoding 384×384 takes ", "--memory-limit allows 30.0 MiB", "smaller"];
    workshop.run(&arguments("generate", &LARGE, &more)).assert_refused(&parts);
    workshop.run(&arguments("plan", &LARGE, &more)).assert_refused(&parts);
    assert!(workshop.files().is_empty());
    workshop
        .run(&["grid", "a cat", "--x", "seed=1", "-o", "grid", "--memory-limit", "30MiB"])
        .assert_refused(&["1 of 1 pictures could not be made"]);
    assert!(!workshop.path("grid/sheet.png").exists());

    let refused = workshop.run(&arguments("generate", &LARGE, &["--memory-limit", "much"]));
    assert_eq!(refused.code(), Some(2), "{}", refused.stderr());
}

#[test]
fn low_memory_takes_less_where_all_would_fit() {
    let workshop = Workshop::new();
    let (normal, low) = (plan(&workshop, &[]), plan(&workshop, &["--memory", "low"]));
    let steps = serde_json::json!([
        { "step": "tiled-vae", "tile": 256 },
        { "step": "dropped-text-encoder" },
    ]);
    assert_eq!(low["stepped_down"], steps);
    assert!(stage(&low, "decode") < stage(&normal, "decode") - 2 * MARGIN, "{low}");
    let run = workshop.run(&arguments("generate", &LARGE, &["-o", "low.png", "--memory", "low"]));
    let stderr = run.succeeded().stderr();
    assert!(stderr.contains("To save memory: the VAE in tiles of 256 pixels"), "{stderr}");
}

#[test]
fn a_tight_limit_tiles_the_autoencoder_and_gives_nearly_the_same_picture() {
    let workshop = Workshop::new();
    let full = plan(&workshop, &[]);
    assert!(stage(&full, "decode") > stage(&full, "denoise") + 4 * MARGIN, "{full}");
    let limit = limit(stage(&full, "decode") - 2 * MARGIN);
    let tight = plan(&workshop, &[&limit]);
    assert_eq!(tight["stepped_down"], serde_json::json!([{ "step": "tiled-vae", "tile": 256 }]));
    assert!(stage(&tight, "decode") < stage(&full, "decode") - 2 * MARGIN);

    workshop.run(&arguments("generate", &LARGE, &["-o", "full.png"])).succeeded();
    let run = workshop.run(&arguments("generate", &LARGE, &["-o", "tight.png", &limit]));
    let stderr = run.succeeded().stderr();
    assert!(stderr.contains("To save memory: the VAE in tiles of 256 pixels"), "{stderr}");
    let (full, tight) = (picture(&workshop, "full.png"), picture(&workshop, "tight.png"));
    let differences = full.as_raw().iter().zip(tight.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let mean = differences.clone().map(f64::from).sum::<f64>() / full.as_raw().len() as f64;
    let most = differences.max().unwrap();
    assert!(mean <= 1.0 && most <= 8 && most > 0, "mean {mean:.2}, at most {most}");
}

#[test]
fn dropped_text_encoders_are_read_again_and_give_the_same_pictures() {
    let workshop = Workshop::new();
    // Tiles that were asked for in this size stay, and leave the text encoder to be dropped.
    let small =
        ["a {red|green} apple", "--seed", "7", "--steps", "1", "--width", "256", "--height"];
    let small = [&small[..], &["256", "--count", "2", "--device=cpu", "--vae-tile", "0"]].concat();
    let json = ["--json"];
    let of = |more: &[&str]| -> Value {
        let run = workshop.run(&arguments("plan", &small, &[more, &json].concat()));
        serde_json::from_str(&run.succeeded().stdout()).unwrap()
    };
    let full = of(&[]);
    assert!(stage(&full, "decode") > stage(&full, "load") + 2 * MARGIN, "{full}");
    // Of what the text encoder holds, 4.1 MiB, half.
    let limit = limit(stage(&full, "decode") - MARGIN / 2);
    assert_eq!(
        of(&[&limit])["stepped_down"],
        serde_json::json!([{ "step": "dropped-text-encoder" }])
    );
    workshop.run(&arguments("generate", &small, &["-o", "full"])).succeeded();
    let run = workshop.run(&arguments("generate", &small, &["-o", "tight", &limit]));
    let stderr = run.succeeded().stderr();
    let told = stderr.matches("To save memory: the text encoder dropped after the prompt").count();
    assert_eq!(told, 1, "{stderr}");
    let mut names: Vec<_> = std::fs::read_dir(workshop.path("full"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2);
    for name in names {
        let read = |folder: &str| image::open(workshop.path(folder).join(&name)).unwrap();
        assert_eq!(read("full"), read("tight"), "{name:?}");
    }
}
