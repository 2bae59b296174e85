//! Every family and layout of checkpoints through the command line: the pictures are those of
//! diffusers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::path::Path;

use emberbrush_tests::{
    checkpoint,
    families::{Families, Family, Starts, write_start},
    pipeline_case, runs,
    single_file::{
        CheckpointFile, StoredTensor, Tensors, read_safetensors, single_file, single_file_tensors,
        write_hollow, write_safetensors, write_torch,
    },
};
use emberbrush_unet::keys::{LdmLayout, ldm_name};
use half::{bf16, f16};
use program::{Workshop, text};
use safetensors::Dtype;
use serde_json::Value;

const SMALL: [&str; 6] = ["--width", "64", "--height", "64", "--device", "cpu"];

/// How many grey levels the picture of a run is from the expected one at most.
fn furthest(workshop: &Workshop, arguments: &[&str], expected: &[u8]) -> u8 {
    let more = ["--prompt-syntax", "literal", "--seed", "7", "-o", "out.png"];
    let run = workshop.run(&[&["generate"], arguments, &SMALL, &more].concat()).succeeded();
    assert!(!run.stderr().contains("unused"), "{}", run.stderr());
    let image = image::open(workshop.path("out.png")).unwrap().to_rgb8();
    runs::furthest(&image, expected)
}

/// The arguments for a family's picture, apart from the checkpoint.
fn arguments(families: &Families, family: &Family) -> Vec<String> {
    let mut arguments = vec![families.prompt.clone()];
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    add("--negative", families.negative.clone());
    add("--steps", family.steps.to_string());
    add("--cfg", family.cfg.to_string());
    add("--sampler", family.sampler.clone());
    if family.starts != Starts::Nothing {
        add("--init", "image.png".to_owned());
        add("--strength", family.strength.to_string());
        arguments.push("--raw".to_owned());
    }
    if family.starts == Starts::Inpaint {
        arguments.extend(["--mask", "mask.png", "--count", "1"].map(str::to_owned));
    }
    arguments
}

fn draws(families: &Families, name: &str, model: &Path, config: Option<&Path>) {
    let family = &families.families[name];
    let workshop = Workshop::new();
    write_start(&workshop.path(""));
    let arguments = arguments(families, family);
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.extend(["--model", text(model)]);
    if let Some(config) = config {
        all.extend(["--config", text(config)]);
    }
    let furthest = furthest(&workshop, &all, &Family::picture(name));
    assert!(furthest <= 1, "{name}, {}: {furthest} grey levels", model.display());
}

#[test]
fn folders_draw_as_in_diffusers() {
    let families = Families::read();
    for (name, family) in &families.families {
        draws(&families, name, &family.checkpoint(name), None);
    }
    assert_eq!(families.families.len(), 7);
}

/// Their shapes are those of no published family, so configurations are given.
#[test]
fn single_files_draw_as_in_diffusers() {
    let families = Families::read();
    let mut drawn = 0;
    for (name, family) in &families.families {
        // The reference files have a layout for each base, of which the refiner is no part.
        if name == "sdxl-refiner" {
            continue;
        }
        let folder = family.checkpoint(name);
        let mut tensors = single_file_tensors(&family.base, &folder);
        if name == "sd15-lcm" {
            let unet = read_safetensors(&folder.join("unet/diffusion_pytorch_model.safetensors"));
            let tensor = unet["time_embedding.cond_proj.weight"].clone();
            tensors.insert("model.diffusion_model.time_embed.cond_proj.weight".to_owned(), tensor);
        }
        let file = CheckpointFile::of("single.safetensors", &tensors);
        draws(&families, name, file.path(), Some(&folder));
        drawn += 1;
    }
    assert_eq!(drawn, 6);
}

/// The refiner's single file, which holds OpenCLIP's encoder alone, at the first place.
fn refiner_file(folder: &Path) -> CheckpointFile {
    let layout = LdmLayout {
        layers_per_block: 2,
        transformers_on_the_way_up: vec![false, true, true, false],
    };
    let mut tensors = Tensors::new();
    for (name, tensor) in single_file_tensors("sdxl-tiny", folder) {
        let is_other = ["model.diffusion_model.", "conditioner.embedders.0."]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if !is_other {
            tensors.insert(name.replace("embedders.1.", "embedders.0."), tensor);
        }
    }
    let unet = read_safetensors(&folder.join("unet/diffusion_pytorch_model.safetensors"));
    for (key, tensor) in unet {
        let name = ldm_name(&key, &layout).unwrap();
        tensors.insert(format!("model.diffusion_model.{name}"), tensor);
    }
    CheckpointFile::of("refiner.safetensors", &tensors)
}

#[test]
fn the_refiner_in_one_file_draws_as_in_diffusers() {
    let families = Families::read();
    let folder = families.families["sdxl-refiner"].checkpoint("sdxl-refiner");
    draws(&families, "sdxl-refiner", refiner_file(&folder).path(), Some(&folder));
}

/// A checkpoint whose UNet's weights are written otherwise draws the same picture.
fn draws_with(rewrite: impl FnOnce(&Path, Tensors)) {
    let folder = checkpoint("sd15-tiny");
    let path = folder.join("unet/diffusion_pytorch_model.safetensors");
    let tensors = read_safetensors(&path);
    std::fs::remove_file(path).unwrap();
    rewrite(&folder.join("unet"), tensors);
    let (case, expected) = pipeline_case("sd15_ddim");
    let arguments = case_arguments(&case, "ddim");
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--model", text(&folder)]);
    let furthest = furthest(&Workshop::new(), &arguments, &expected);
    assert!(furthest <= 1, "{furthest} grey levels");
}

/// Of a picture's golden: what the command line says, apart from the checkpoint.
fn case_arguments(case: &Value, sampler: &str) -> Vec<String> {
    let mut arguments = vec![case["prompt"].as_str().unwrap().to_owned()];
    let negative = case["negative_prompt"].as_str().unwrap_or_default();
    let (steps, cfg) = (&case["num_inference_steps"], &case["guidance_scale"]);
    for (flag, value) in [
        ("--negative", negative.to_owned()),
        ("--steps", steps.to_string()),
        ("--cfg", cfg.to_string()),
        ("--sampler", sampler.to_owned()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    arguments
}

#[test]
fn shards_draw_the_same() {
    draws_with(|folder, tensors| {
        let mut shards = [Tensors::new(), Tensors::new()];
        let mut weight_map = serde_json::Map::new();
        for (number, (key, tensor)) in tensors.into_iter().enumerate() {
            weight_map
                .insert(key.clone(), Value::from(format!("shard-{}.safetensors", number % 2)));
            shards[number % 2].insert(key, tensor);
        }
        for (number, shard) in shards.iter().enumerate() {
            write_safetensors(&folder.join(format!("shard-{number}.safetensors")), shard);
        }
        let index = serde_json::json!({ "metadata": {}, "weight_map": weight_map });
        let path = folder.join("diffusion_pytorch_model.safetensors.index.json");
        std::fs::write(path, index.to_string()).unwrap();
    });
}

#[test]
fn a_pickle_draws_the_same() {
    draws_with(|folder, tensors| {
        let path = folder.join("diffusion_pytorch_model.bin");
        write_torch(&path, "sd15-tiny-unet", &tensors);
    });
    let folder = checkpoint("sd15-tiny");
    let tensors = single_file_tensors("sd15-tiny", &folder);
    let file = CheckpointFile::new("m.ckpt", |path| write_torch(path, "sd15-tiny", &tensors));
    let (case, expected) = pipeline_case("sd15_ddim");
    let arguments = case_arguments(&case, "ddim");
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--model", text(file.path()), "--config", text(&folder)]);
    let furthest = furthest(&Workshop::new(), &arguments, &expected);
    assert!(furthest <= 1, "{furthest} grey levels");
}

/// bf16 has 8 bits where f16 has 11, so the picture is another one: that of the same numbers in
/// f32.
#[test]
fn bf16_draws_what_its_numbers_draw_in_f32() {
    let rounded = |tensor: &StoredTensor, dtype: Dtype| {
        let bytes = tensor.bytes.chunks(2).flat_map(|pair| {
            let value = bf16::from_f32(f16::from_le_bytes([pair[0], pair[1]]).to_f32());
            match dtype {
                Dtype::BF16 => value.to_le_bytes().to_vec(),
                _ => value.to_f32().to_le_bytes().to_vec(),
            }
        });
        StoredTensor { dtype, shape: tensor.shape.clone(), bytes: bytes.collect() }
    };
    let folder = checkpoint("sd15-tiny");
    let tensors = single_file_tensors("sd15-tiny", &folder);
    let draw = |dtype: Dtype| {
        let tensors = tensors
            .iter()
            .map(|(name, tensor)| match tensor.dtype {
                Dtype::F16 => (name.clone(), rounded(tensor, dtype)),
                _ => (name.clone(), tensor.clone()),
            })
            .collect();
        let file = CheckpointFile::of("model.safetensors", &tensors);
        let workshop = Workshop::new();
        let model = ["--model", text(file.path()), "--config", text(&folder), "--steps", "2"];
        workshop
            .run(
                &[&["generate", "a cat", "--seed", "7", "-o", "a.png"][..], &SMALL, &model]
                    .concat(),
            )
            .succeeded();
        image::open(workshop.path("a.png")).unwrap().to_rgb8()
    };
    assert_eq!(draw(Dtype::BF16), draw(Dtype::F32));
}

#[test]
fn the_reference_files_draw_as_in_diffusers() {
    for (name, case, sampler) in [
        ("sd15-tiny", "sd15_ddim", "ddim"),
        ("sd21-tiny", "sd21_v_ddim", "ddim"),
        ("sdxl-tiny", "sdxl_euler", "euler"),
    ] {
        let (file, folder) = (single_file(name), checkpoint(name));
        let (case, expected) = pipeline_case(case);
        let arguments = case_arguments(&case, sampler);
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(["--model", text(file.path()), "--config", text(&folder)]);
        let furthest = furthest(&Workshop::new(), &arguments, &expected);
        assert!(furthest <= 1, "{name}: {furthest} grey levels");
    }
}

#[test]
fn a_single_file_is_planned_and_inspected_as_its_folder() {
    let (file, folder) = (single_file("sd15-tiny"), checkpoint("sd15-tiny"));
    let workshop = Workshop::new();
    let object = |arguments: &[&str]| -> Value {
        let run = workshop.run(&[arguments, &["--json"]].concat()).succeeded();
        serde_json::from_str(run.stdout().trim()).unwrap()
    };
    let single = ["--model", text(file.path()), "--config", text(&folder)];
    let plan = |model: &[&str]| object(&[&["plan", "a cat"], &SMALL[..], model].concat());
    let weights = |plan: Value| {
        let stages = plan["stages"].as_array().unwrap().clone();
        stages.iter().map(|stage| stage["weight_bytes"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(weights(plan(&single)), weights(plan(&["--model", text(&folder)])));

    let found = object(&["inspect", text(file.path()), "--config", text(&folder)]);
    let expected = object(&["inspect", text(&folder)]);
    assert_eq!(found["layout"], "single file");
    for key in
        ["family", "in_channels", "prediction_type", "scheduler", "parameters", "stored_bytes"]
    {
        assert_eq!(found[key], expected[key], "{key}");
    }
    let components = |object: &Value| {
        let components = object["components"].as_array().unwrap().clone();
        let facts = components
            .into_iter()
            .map(|component| (component["name"].clone(), component["elements_by_dtype"].clone()));
        facts.collect::<Vec<_>>()
    };
    assert_eq!(components(&found), components(&expected));

    // Of full size, without a folder to help.
    write_hollow(&workshop.path("xl.safetensors"), "sdxl", &Tensors::new(), |_| {});
    let run = workshop.run(&["inspect", "xl.safetensors"]).succeeded();
    for part in [
        "xl: Stable Diffusion XL",
        "layout      single file",
        "predicts    epsilon, scheduler EulerDiscreteScheduler",
        "native size 1024×1024",
        "parameters  3468.8 M, 6937.7 MB",
        "text_encoder_2  694.66 M parameters",
    ] {
        assert!(run.stdout().contains(part), "{part}: {}", run.stdout());
    }
    workshop.run(&["inspect", "nowhere.ckpt"]).assert_refused(&["nowhere.ckpt", "no such file"]);
}

/// Without flags pictures are made as those who distilled the checkpoint say, and flags go before.
#[test]
fn checkpoints_of_few_steps_choose_their_settings() {
    let families = Families::read();
    for (name, sampler, cfg) in [("sd15-lcm", "lcm", 8.5), ("sdxl-turbo", "euler-a", 1.0)] {
        let workshop = Workshop::new();
        let checkpoint = families.families[name].checkpoint(name);
        // The name tells of Turbo; the configuration of the other.
        std::fs::rename(&*checkpoint, workshop.path(name)).unwrap();
        let settings = |more: &[&str]| -> Value {
            let file = format!("{}.png", more.len());
            let arguments = ["generate", "a cat", "--model", name, "-o", &file];
            workshop.run(&[&arguments, &SMALL[..], more].concat()).succeeded();
            let run = workshop.run(&["settings", &file, "--json"]).succeeded();
            serde_json::from_str(&run.stdout()).unwrap()
        };
        let own = settings(&[]);
        assert_eq!(own["steps"], 4, "{name}: {own}");
        assert_eq!(own["sampler"], sampler, "{name}: {own}");
        assert_eq!(own["cfg"], cfg, "{name}: {own}");
        let other = settings(&["--steps", "2", "--cfg", "3"]);
        assert_eq!((&other["steps"], &other["cfg"]), (&2.into(), &3.0.into()), "{name}: {other}");
    }
}
