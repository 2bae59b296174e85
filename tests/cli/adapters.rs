//! `--lora` and `--embedding`, as a person uses them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{fs, path::PathBuf};

use emberbrush_tests::{
    Golden, checkpoint, fixtures, pipeline_case,
    runs::{self, furthest},
    single_file::{read_safetensors, write_torch_dictionary},
    values,
};
use image::RgbImage;
use program::{Run, Workshop, text};
use serde_json::{Value, json};

fn lora(name: &str) -> PathBuf {
    fixtures().join("checkpoints/lora").join(name)
}

/// The flags of the goldens' pictures.
const FLAGS: [&str; 20] = [
    "generate",
    "a photo of a cat",
    "--negative",
    "blurry",
    "--steps",
    "3",
    "--cfg",
    "5",
    "--sampler",
    "ddim",
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
];

fn generate(workshop: &Workshop, more: &[&str]) -> Run {
    workshop.run(&[&FLAGS[..], more].concat())
}

fn picture(workshop: &Workshop, name: &str) -> RgbImage {
    image::open(workshop.path(name)).unwrap().to_rgb8()
}

fn golden(name: &str) -> RgbImage {
    let golden = Golden::open("adapters", &burn::tensor::Device::flex());
    let values = values(&golden.tensor::<3>(&format!("{name}.image")));
    RgbImage::from_raw(64, 64, values.into_iter().map(|value| value as u8).collect()).unwrap()
}

/// A safetensors file of f32 tensors.
fn write_file(path: &std::path::Path, tensors: &[(&str, &[usize], f32)]) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (key, shape, value) in tensors {
        let begin = data.len();
        for _ in 0..shape.iter().product() {
            data.extend(value.to_le_bytes());
        }
        let offsets = [begin, data.len()];
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets });
        header.insert((*key).to_owned(), entry);
    }
    let header = Value::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_kind_gives_the_picture_of_diffusers() {
    let model = checkpoint("sd15-tiny");
    let folder = fixtures().join("checkpoints/lora");
    for case in runs::cases("adapters") {
        let name = case["name"].as_str().unwrap();
        let workshop = Workshop::new();
        let mut more = vec!["--model", text(&model), "-o", "out.png", "--lora-dir", text(&folder)];
        for lora in case["loras"].as_array().unwrap() {
            more.extend(["--lora", lora.as_str().unwrap()]);
        }
        generate(&workshop, &more).succeeded();
        let furthest = furthest(&picture(&workshop, "out.png"), &golden(name));
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
}

#[test]
fn files_of_torch_save_are_found_by_name_and_give_the_same_picture() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    fs::create_dir(workshop.path("loras")).unwrap();
    for name in ["sd15-kohya", "sd15-lokr"] {
        let tensors = read_safetensors(&lora(&format!("{name}.safetensors")));
        let path = workshop.path("loras").join(format!("{name}.pt"));
        write_torch_dictionary(&path, None, &tensors);
        let out = format!("{name}.png");
        let more = ["--model", text(&model), "--lora-dir", "loras", "--lora", name, "-o", &out];
        let message = generate(&workshop, &more).succeeded().stderr();
        assert!(!message.contains("Warning"), "{message}");
        let furthest = furthest(&picture(&workshop, &out), &golden(name));
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
}

#[test]
fn adapters_are_written_into_the_picture_and_read_back() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    let folder = fixtures().join("checkpoints/lora");
    let model = ["--model", text(&model), "--lora-dir", text(&folder)];
    let selected = ["--lora", "sd15-loha:0.5", "--lora", "sd15-kohya:0:-0.7", "-o", "a.png"];
    generate(&workshop, &[&model[..], &selected].concat()).succeeded();
    let settings = workshop.run(&["settings", "a.png", "--json"]).succeeded();
    let settings: Value = serde_json::from_str(&settings.stdout()).unwrap();
    assert_eq!(settings["lora"], json!(["sd15-loha:0.5", "sd15-kohya:0:-0.7"]));
    let file = fs::File::open(workshop.path("a.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let parameters = &reader.info().uncompressed_latin1_text[0].text;
    assert!(
        parameters.starts_with("a photo of a cat <lora:sd15-loha:0.5> <lora:sd15-kohya:0:-0.7>\n"),
        "{parameters}"
    );
    let hashes = parameters.split("Lora hashes: ").nth(1).unwrap();
    let pattern = regex::Regex::new(r#"^"sd15-loha: [0-9a-f]{12}, sd15-kohya: [0-9a-f]{12}", "#);
    assert!(pattern.unwrap().is_match(hashes), "{hashes}");

    let again = ["generate", "--from", "a.png", "--device", "cpu", "-o", "again.png"];
    workshop.run(&[&again[..], &model].concat()).succeeded();
    assert_eq!(picture(&workshop, "again.png"), picture(&workshop, "a.png"));
}

/// Adapters come and go between the jobs of one loaded checkpoint, and each picture is the one
/// that is made alone.
#[test]
fn jobs_have_their_own_adapters() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    let folder = fixtures().join("checkpoints/lora");
    let selections = [json!("sd15-dora:0.8"), json!([]), json!(["sd15-lokr", "sd15-dora:-0.5"])];
    let jobs: Vec<String> = selections
        .iter()
        .chain(&selections[..1])
        .map(|lora| json!({ "prompt": "a cat", "seed": 3, "lora": lora }).to_string())
        .collect();
    fs::write(workshop.path("jobs.jsonl"), jobs.join("\n")).unwrap();
    let common = ["--steps", "2", "--cfg", "3", "--width", "64", "--height", "64"];
    let common = [&common[..], &["--device", "cpu", "--model", text(&model)]].concat();
    let common = [&common[..], &["--lora-dir", text(&folder)]].concat();
    let batch = ["batch", "jobs.jsonl", "-o", "out", "--name", "{index}"];
    workshop.run(&[&batch[..], &common].concat()).succeeded();
    for (index, lora) in selections.iter().chain(&selections[..1]).enumerate() {
        let single = format!("single{index}.png");
        let mut flags = vec!["generate", "a cat", "--seed", "3", "-o", &single];
        let one = lora.as_str().into_iter();
        let more = lora.as_array().into_iter().flatten().filter_map(Value::as_str);
        flags.extend(one.chain(more).flat_map(|lora| ["--lora", lora]));
        workshop.run(&[&flags[..], &common].concat()).succeeded();
        let made = picture(&workshop, &format!("out/{}.png", index + 1));
        assert_eq!(made, picture(&workshop, &single), "{lora}");
    }
    assert_ne!(picture(&workshop, "single0.png"), picture(&workshop, "single1.png"));
}

#[test]
fn keys_without_use_are_told_by_name() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    let layer = "lora_unet_mid_block_attentions_0_proj_in";
    write_file(
        &workshop.path("x.safetensors"),
        &[
            (&format!("{layer}.lora_down.weight"), &[2, 48, 1, 1], 0.1),
            (&format!("{layer}.lora_up.weight"), &[48, 2, 1, 1], 0.1),
            ("lora_unet_mid_block_gone.lora_down.weight", &[2, 48], 0.1),
            ("lora_unet_mid_block_gone.lora_up.weight", &[48, 2], 0.1),
            ("oft_blocks.of_another_kind", &[2], 0.1),
        ],
    );
    let more = ["--model", text(&model), "-o", "out.png", "--lora", "x.safetensors"];
    let run = generate(&workshop, &more).succeeded();
    for key in [
        "x.safetensors",
        "lora_unet_mid_block_gone.lora_down.weight",
        "lora_unet_mid_block_gone.lora_up.weight",
        "oft_blocks.of_another_kind",
    ] {
        assert!(run.stderr().contains(key), "{}", run.stderr());
    }
    assert!(!run.stderr().contains(layer), "{}", run.stderr());
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let model = checkpoint("sd15-tiny");
    let refused = |prepare: &dyn Fn(&Workshop), lora: &str, parts: &[&str]| {
        let workshop = Workshop::new();
        prepare(&workshop);
        let more = ["--model", text(&model), "-o", "out.png", "--lora", lora];
        generate(&workshop, &more).assert_refused(parts);
        assert!(!workshop.path("out.png").exists());
    };
    let down = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight";
    let up = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight";
    let with = |tensors: &'static [(&'static str, &'static [usize], f32)]| {
        move |workshop: &Workshop| write_file(&workshop.path("x.safetensors"), tensors)
    };
    let nothing = |_: &Workshop| {};
    refused(&nothing, "gone:0.5", &["gone", "there is no such file", "--lora-dir"]);
    refused(
        &nothing,
        text(&lora("sdxl-kohya.safetensors")),
        &["sdxl-kohya.safetensors", "does not fit", "sd15-tiny"],
    );
    const DOWN: &str = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight";
    const UP: &str = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight";
    refused(&with(&[(DOWN, &[2, 48], 0.1)]), "x.safetensors", &[up, "is missing", down]);
    refused(
        &with(&[(DOWN, &[2, 48], 0.1), (UP, &[48, 3], 0.1)]),
        "x.safetensors",
        &[up, down, "[48, 3]", "[2, 48]", "ranks"],
    );
    refused(
        &with(&[(DOWN, &[2, 40], 0.1), (UP, &[48, 2], 0.1)]),
        "x.safetensors",
        &["48 outputs and 40 inputs", "[48, 48, 1, 1]"],
    );
    refused(
        &with(&[(DOWN, &[2, 48], f32::NAN), (UP, &[48, 2], 0.1)]),
        "x.safetensors",
        &[down, "NaN"],
    );
    refused(&with(&[("a.weight", &[2], 0.0)]), "x.safetensors", &["no LoRA", "a.weight"]);
    let truncated = |workshop: &Workshop| {
        let bytes = fs::read(lora("sd15-kohya.safetensors")).unwrap();
        fs::write(workshop.path("x.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    };
    refused(&truncated, "x.safetensors", &["x.safetensors", "truncated"]);
    let pickle = |workshop: &Workshop| fs::write(workshop.path("x.pt"), b"PK\x03\x04....").unwrap();
    refused(&pickle, "x.pt", &["x.pt", "not a valid PyTorch"]);
    let workshop = Workshop::new();
    let run = generate(&workshop, &["--lora", "x:loud:2:3:400"]);
    assert_eq!(run.code(), Some(2), "{}", run.stderr());
    assert!(run.stderr().contains("FILE:WEIGHT"), "{}", run.stderr());
}

fn inversion(name: &str) -> PathBuf {
    fixtures().join("checkpoints/textual-inversion").join(name)
}

/// A picture of `pipelines.safetensors`, made with the flags of its case.
fn case_of_pipelines(name: &str, more: &[&str], workshop: &Workshop) -> u8 {
    let (case, expected) = pipeline_case(name);
    let model = checkpoint(case["checkpoint"].as_str().unwrap());
    let text_of = |key: &str| case[key].as_str().unwrap_or_default();
    let (steps, cfg) =
        (case["num_inference_steps"].to_string(), case["guidance_scale"].to_string());
    let flags = [
        &["generate", text_of("prompt"), "--negative", text_of("negative_prompt")][..],
        &["--model", text(&model), "--steps", &steps, "--cfg", &cfg, "--sampler", "ddim"],
        &["--seed", "7", "--width", "64", "--height", "64", "--device", "cpu"],
        &["--prompt-syntax", "literal", "-o", "out.png"],
        more,
    ];
    workshop.run(&flags.concat()).succeeded();
    furthest(&picture(workshop, "out.png"), &expected)
}

#[test]
fn diffusers_own_runs_with_adapters_come_out() {
    let workshop = Workshop::new();
    let kohya = lora("sd15-kohya.safetensors");
    let distance = case_of_pipelines("sd15_lora_kohya_ddim", &["--lora", text(&kohya)], &workshop);
    assert!(distance <= 1, "{distance} grey levels");
    // A1111's file has no token of its own, so that the file's name is it.
    let workshop = Workshop::new();
    fs::copy(inversion("sd15-a1111-3vec.safetensors"), workshop.path("<my-style>.safetensors"))
        .unwrap();
    let toy = inversion("sd15-diffusers-1vec.safetensors");
    let more = ["--embedding", "<my-style>.safetensors", "--embedding", text(&toy)];
    let distance = case_of_pipelines("sd15_textual_inversion_ddim", &more, &workshop);
    assert!(distance <= 1, "{distance} grey levels");
}

/// kohya's names of SDXL's blocks are those of single files. A prompt that names the LoRA is as good
/// as the flag.
#[test]
fn both_encoders_of_sdxl_are_adapted() {
    let model = checkpoint("sdxl-tiny");
    let embedding = inversion("sdxl-2vec.safetensors");
    let folder = fixtures().join("checkpoints/lora");
    let make = |prompt: &str, more: &[&str]| {
        let workshop = Workshop::new();
        let flags = [
            &["generate", prompt, "--negative", "blurry", "--steps", "3", "--cfg", "5"][..],
            &["--sampler", "euler", "--seed", "7", "--width", "64", "--height", "64"],
            &["--device", "cpu", "--model", text(&model), "-o", "out.png"],
            more,
        ];
        let run = workshop.run(&flags.concat()).succeeded();
        assert!(!run.stderr().contains("not used"), "{}", run.stderr());
        picture(&workshop, "out.png")
    };
    let literal = ["--prompt-syntax", "literal", "--embedding", text(&embedding)];
    let distance = furthest(&make("a sdxl-2vec cat", &literal), &golden("sdxl-2vec"));
    assert!(distance <= 1, "{distance} grey levels");
    let by_flag = make("a photo of a cat", &["--lora", "sdxl-kohya", "--lora-dir", text(&folder)]);
    let distance = furthest(&by_flag, &golden("sdxl-kohya"));
    assert!(distance <= 1, "{distance} grey levels");
    let by_prompt = make("a photo of a cat<lora:sdxl-kohya:1>", &["--lora-dir", text(&folder)]);
    assert_eq!(by_prompt, by_flag);
}

#[test]
fn prompts_name_the_embeddings_of_a_folder() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    let (folder, file) = (
        fixtures().join("checkpoints/textual-inversion"),
        inversion("sd15-a1111-3vec.safetensors"),
    );
    // SDXL's embedding in the folder is not named, and so is not in the way.
    let make = |prompt: &str, name: &str, more: &[&str]| {
        let flags = [
            &["generate", prompt, "--negative", "", "--steps", "2", "--cfg", "3", "--seed", "7"][..],
            &["--width", "64", "--height", "64", "--device", "cpu", "--model", text(&model)],
            &["-o", name],
            more,
        ];
        workshop.run(&flags.concat()).succeeded();
        picture(&workshop, name)
    };
    let weighted = "a cat, (SD15-A1111-3vec:1.3)";
    let by_name = make(weighted, "a.png", &["--embeddings", text(&folder)]);
    let by_file = make(weighted, "b.png", &["--embedding", text(&file)]);
    assert_eq!(by_name, by_file);
    assert_ne!(by_name, make(weighted, "c.png", &[]));
    let plain = make("a cat, sd15-a1111-3vec", "d.png", &["--embeddings", text(&folder)]);
    assert_ne!(by_name, plain, "the weight counts");

    let settings = workshop.run(&["settings", "b.png", "--json"]).succeeded();
    let settings: Value = serde_json::from_str(&settings.stdout()).unwrap();
    assert_eq!(settings["embedding"], json!([file]));
    let opened = fs::File::open(workshop.path("a.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(opened)).read_info().unwrap();
    let parameters = &reader.info().uncompressed_latin1_text[0].text;
    let hash = parameters.split("TI hashes: ").nth(1).unwrap();
    let pattern = regex::Regex::new(r#"^"sd15-a1111-3vec: [0-9a-f]{12}", "#).unwrap();
    assert!(pattern.is_match(hash), "{parameters}");
    let again = ["generate", "--from", "b.png", "--device", "cpu", "--model", text(&model)];
    workshop.run(&[&again[..], &["-o", "again.png"]].concat()).succeeded();
    assert_eq!(picture(&workshop, "again.png"), by_file);
}

#[test]
fn what_is_no_embedding_for_the_model_is_refused() {
    let model = checkpoint("sd15-tiny");
    let refused = |tensors: &[(&str, &[usize], f32)], file: &str, parts: &[&str]| {
        let workshop = Workshop::new();
        write_file(&workshop.path("x.safetensors"), tensors);
        let more = ["--model", text(&model), "-o", "out.png", "--embedding", file];
        generate(&workshop, &more).assert_refused(parts);
        assert!(!workshop.path("out.png").exists());
    };
    refused(&[], "gone.safetensors", &["gone.safetensors", "there is no such file"]);
    let sdxl = inversion("sdxl-2vec.safetensors");
    refused(&[], text(&sdxl), &["sdxl-2vec", "Stable Diffusion XL", "24 and 32", "32"]);
    let file = "x.safetensors";
    refused(&[("emb_params", &[2, 40], 0.1)], file, &[file, "40 channels", "sd15-tiny"]);
    refused(&[("emb_params", &[2, 32], f32::NAN)], file, &[file, "emb_params", "NaN"]);
    refused(&[("emb_params", &[2, 4, 8], 0.1)], file, &[file, "no embedding", "emb_params"]);
    refused(&[("emb_params", &[80, 32], 0.1)], file, &[file, "no embedding", "75"]);
    refused(&[("a", &[32], 0.1), ("b", &[32], 0.1)], file, &[file, "no embedding", "`a`"]);
}
