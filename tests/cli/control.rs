//! `emberbrush` with ControlNets, as a person runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use emberbrush_pipeline::{metadata, picture};
use emberbrush_tests::{
    CheckpointFolder, Golden, checkpoint, controlnet, fixtures, runs,
    single_file::{read_safetensors, write_torch_dictionary},
};
use image::GrayImage;
use program::{Workshop, text};
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn golden() -> Golden {
    Golden::open("controlnet", &burn::tensor::Device::flex())
}

/// A folder with the goldens' pictures.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for name in ["image", "lines", "colours"] {
        golden()
            .colours(&format!("{name}_u8"))
            .save(workshop.path(&format!("{name}.png")))
            .unwrap();
    }
    golden().greys("mask_u8").save(workshop.path("mask.png")).unwrap();
    workshop
}

fn case(name: &str) -> Value {
    runs::case("controlnet", name)
}

fn plain(name: &str) -> CheckpointFolder {
    controlnet(name, &Map::new())
}

/// The arguments that stand for a golden case, without its ControlNets' models.
fn arguments(case: &Value) -> Vec<String> {
    let text = |key: &str| case[key].as_str().unwrap().to_owned();
    let list = |value: &Value| match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.clone(),
        single => vec![single.clone()],
    };
    let mut arguments = vec!["generate".to_owned(), text("prompt"), "--device=cpu".to_owned()];
    arguments.extend(["--negative".to_owned(), text("negative_prompt")]);
    arguments.push(format!("--steps={}", case["num_inference_steps"]));
    arguments.push(format!("--cfg={}", case["guidance_scale"]));
    arguments.push(format!("--seed={}", case["seed"]));
    arguments.push(format!("--sampler={}", runs::sampler(case)));
    for (flag, key) in [
        ("weight", "controlnet_conditioning_scale"),
        ("start", "control_guidance_start"),
        ("end", "control_guidance_end"),
    ] {
        arguments.extend(list(&case[key]).iter().map(|value| format!("--control-{flag}={value}")));
    }
    for map in case["maps"].as_array().unwrap() {
        arguments.push(format!("--control-image={}.png", map.as_str().unwrap()));
    }
    if case["guess_mode"] == json!(true) {
        arguments.push("--control-guess".to_owned());
    }
    let pipeline = case["pipeline"].as_str().unwrap();
    if pipeline.contains("Img2Img") || pipeline.contains("Inpaint") {
        arguments.extend(["--init=image.png".to_owned(), "--raw".to_owned()]);
        arguments.push(format!("--strength={}", case["strength"]));
    } else {
        arguments.extend(["--width=64".to_owned(), "--height=64".to_owned()]);
    }
    if pipeline.contains("Inpaint") {
        arguments.extend(["--mask=mask.png".to_owned(), "--count=1".to_owned()]);
    }
    arguments
}

#[track_caller]
fn assert_golden(name: &str, path: &Path) {
    let image = picture::read(path).unwrap().pixels.into_rgb8();
    let furthest = runs::furthest(&image, &golden().bytes(&format!("{name}.image_u8")));
    assert!(furthest <= 1, "{name}: {furthest} grey levels");
}

/// Makes a golden case with ControlNets at these places.
#[track_caller]
fn make(name: &str, workshop: &Workshop, nets: &[&Path], output: &str) -> program::Run {
    let case = case(name);
    let model = checkpoint(case["checkpoint"].as_str().unwrap());
    let mut arguments = arguments(&case);
    arguments.push(format!("--model={}", text(&model)));
    arguments.extend(nets.iter().map(|net| format!("--control={}", text(net))));
    arguments.extend(["-o".to_owned(), output.to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = workshop.run(&arguments).succeeded();
    assert_golden(name, &workshop.path(output));
    run
}

#[test]
fn pictures_are_those_of_diffusers() {
    let workshop = workshop();
    let rgb = plain("sd15-tiny");
    let changes = json!({ "controlnet_conditioning_channel_order": "bgr" });
    let bgr = controlnet("sd15-tiny", changes.as_object().unwrap());
    make("two", &workshop, &[&rgb, &bgr], "two.png");
    make("guess", &workshop, &[&rgb], "guess.png");
    make("img2img", &workshop, &[&rgb], "img2img.png");
    make("inpaint9", &workshop, &[&rgb, &bgr], "inpaint9.png");
    let xl = plain("sdxl-tiny");
    make("sdxl", &workshop, &[&xl], "sdxl.png");
    make("sdxl_inpaint", &workshop, &[&xl], "sdxl_inpaint.png");

    // The picture carries all of it, and is made again.
    let settings = metadata::read(&workshop.path("two.png")).unwrap().fields;
    assert_eq!(settings["control-image"], json!(["lines.png", "colours.png"]));
    assert_eq!(settings["control-start"], json!([0.0, 0.25]));
    let model = checkpoint("sd15-tiny");
    let again = ["generate", "--from", "two.png", "--model", text(&model), "-o", "again.png"];
    workshop.run(&again).succeeded();
    assert_golden("two", &workshop.path("again.png"));
}

/// Writes a ControlNet's tensors under other names, with one that nothing needs.
fn renamed(folder: &Path, to: &Path, name: impl Fn(&str) -> String) {
    let stored = std::fs::read(folder.join(WEIGHTS)).unwrap();
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let mut tensors: BTreeMap<String, TensorView<'_>> =
        stored.tensors().into_iter().map(|(key, tensor)| (name(&key), tensor)).collect();
    let unused = stored.tensor("conv_in.bias").unwrap();
    tensors.insert("lvmin_thing".to_owned(), unused);
    std::fs::write(to, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

#[test]
fn single_files_are_used_like_folders() {
    let workshop = workshop();
    for (family, name, golden) in [("sd15", "sd15-tiny", "one"), ("sdxl", "sdxl-tiny", "sdxl")] {
        let folder = plain(name);
        let path = fixtures().join(format!("goldens/controlnet_ldm_{family}.json"));
        let ldm: BTreeMap<String, String> =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        // lllyasviel's names, the same without prefix, and those of diffusers.
        let bare = |key: &str| ldm[key].strip_prefix("control_model.").unwrap().to_owned();
        renamed(&folder, &workshop.path("ldm.safetensors"), |key| ldm[key].clone());
        renamed(&folder, &workshop.path("bare, net.safetensors"), bare);
        renamed(&folder, &workshop.path("diffusers.safetensors"), str::to_owned);
        let pickled = read_safetensors(&workshop.path("ldm.safetensors"));
        write_torch_dictionary(&workshop.path("ldm.pth"), None, &pickled);
        let safe = ["ldm.safetensors", "bare, net.safetensors", "diffusers.safetensors"];
        for file in safe.into_iter().chain(["ldm.pth"]) {
            let run = make(golden, &workshop, &[Path::new(file)], &format!("{family}-{file}.png"));
            let message = run.stderr();
            let warning = format!("{file} holds tensors that are not used: lvmin_thing");
            assert!(message.contains(&warning), "{message}");
        }
    }
    // A folder with the half-precision variant alone, and one without configuration.
    let folder = plain("sd15-tiny");
    let variant = folder.join("diffusion_pytorch_model.fp16.safetensors");
    std::fs::rename(folder.join(WEIGHTS), variant).unwrap();
    make("one", &workshop, &[&folder], "variant.png");
    std::fs::remove_file(folder.join("config.json")).unwrap();
    make("one", &workshop, &[&folder], "unconfigured.png");
}

#[test]
fn what_cannot_be_used_is_refused_before_a_checkpoint_is_loaded() {
    let workshop = workshop();
    let (sd15, sdxl) = (plain("sd15-tiny"), plain("sdxl-tiny"));
    let model = checkpoint("sd15-tiny");
    let refused = |more: &[&str], parts: &[&str]| {
        let mut arguments = vec!["generate", "a", "--model", text(&model), "--width", "64"];
        arguments.extend(["--height", "64", "-o", "x.png"]);
        arguments.extend(more);
        workshop.run(&arguments).assert_refused(parts);
    };
    let sd15 = text(&sd15).to_owned();
    refused(
        &["--control", text(&sdxl), "--control-image", "lines.png"],
        &["cannot be used", "[16, 16, 16, 16, 32, 32, 32, 48, 48] channels", "48, 48]"],
    );
    refused(&["--control", "missing", "--control-image", "lines.png"], &["missing: there is no"]);
    refused(&["--control", text(&model), "--control-image", "lines.png"], &["--model"]);
    refused(&["--control", &sd15], &["ControlNet 1: give a control-image"]);
    refused(&["--control", &sd15, "--control-image", "none.png"], &["none.png: cannot be read"]);
    let image = ["--control", &sd15, "--control-image", "lines.png"];
    let with = |more: &[&'static str]| [&image[..], more].concat();
    refused(&with(&["--control-weight=-1"]), &["weight must be 0 to 10"]);
    refused(&with(&["--control-start=0.5", "--control-end=0.5"]), &["begin before it ends"]);
    refused(&with(&["--control-end=0.5", "--control-end=0.7"]), &["2 values for 1"]);
    let canny = ["--control-preprocess=canny", "--canny-low=300"];
    refused(&with(&canny), &["canny-low must be from 0 to canny-high"]);
    let union = fixtures().join("controlnets/sd15-tiny").join(WEIGHTS);
    let stored = std::fs::read(union).unwrap();
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let bias = stored.tensor("conv_in.bias").unwrap();
    let union = safetensors::serialize([("task_embedding", bias)], None).unwrap();
    std::fs::write(workshop.path("union.safetensors"), union).unwrap();
    let arguments = ["--control", "union.safetensors", "--control-image", "lines.png"];
    refused(&arguments, &["ControlNet union"]);
    assert_eq!(workshop.files().iter().filter(|file| file.ends_with("x.png")).count(), 0);
}

/// Whatever a picture starts from, another map gives another picture.
#[test]
fn every_kind_of_run_is_steered() {
    let workshop = workshop();
    let (model, net) = (checkpoint("sd15-tiny"), plain("sd15-tiny"));
    let photo = fixtures().join("photos/chelsea.jpg");
    let photo = text(&photo);
    let mask = GrayImage::from_fn(300, 200, |x, y| {
        image::Luma([if (90..170).contains(&x) && (60..130).contains(&y) { 255 } else { 0 }])
    });
    mask.save(workshop.path("photo-mask.png")).unwrap();
    let canny = ["--control-preprocess=canny", "--canny-low=40", "--canny-high=90"];
    let kinds: [(&str, &[&str], &[&str]); 6] = [
        ("text", &["--width=72", "--height=64"], &["--control-image=lines.png"]),
        ("hires", &["--width=64", "--height=64", "--hires=1.5"], &["--control-image=lines.png"]),
        ("image", &["--init", photo, "--width=96", "--height=64"], &canny),
        (
            "fill",
            &["--init", photo, "--mask=photo-mask.png", "--width=64", "--height=64", "--count=1"],
            &canny,
        ),
        ("outpaint", &["--init", photo, "--extend=left=32"], &["--control-image=lines.png"]),
        (
            "upscale",
            &["--init=image.png", "--upscale=1.5", "--strength=0.7", "--width=64", "--height=64"],
            &canny,
        ),
    ];
    for (kind, run, control) in kinds {
        let make = |more: &[&str], output: &str| {
            let mut arguments = vec!["generate", "a cat", "--model", text(&model), "--device=cpu"];
            arguments.extend(["--steps=3", "--seed=5", "--sampler=ddim", "-o", output]);
            arguments.extend(run);
            arguments.extend(more);
            let message = workshop.run(&arguments).succeeded().stderr();
            (picture::read(&workshop.path(output)).unwrap(), message)
        };
        let (plain, _) = make(&[], &format!("{kind}-plain.png"));
        let net = format!("--control={}", text(&net));
        let (steered, message) =
            make(&[&[net.as_str()], control].concat(), &format!("{kind}-steered.png"));
        assert_eq!(plain.pixels.dimensions_of(), steered.pixels.dimensions_of(), "{kind}");
        assert_ne!(plain, steered, "{kind}");
        if kind == "fill" || kind == "outpaint" {
            assert!(message.contains("0 pixels changed outside the mask"), "{kind}: {message}");
        }
    }
}

trait Dimensions {
    fn dimensions_of(&self) -> (u32, u32);
}

impl Dimensions for image::DynamicImage {
    fn dimensions_of(&self) -> (u32, u32) {
        (self.width(), self.height())
    }
}

#[test]
fn jobs_and_grids_name_controlnets() {
    let workshop = workshop();
    let (model, net) = (checkpoint("sd15-tiny"), plain("sd15-tiny"));
    let jobs = format!(
        "prompt,control,control-image,control-weight\na cat,{0},lines.png,0.5\na cat,{0},colours.png,\n\
         a cat,,,\n",
        text(&net)
    );
    std::fs::write(workshop.path("jobs.csv"), jobs).unwrap();
    let common = ["--model", text(&model), "--device=cpu", "--steps=2", "--seed=5"];
    let size = ["--width=64", "--height=64", "--json"];
    let batch =
        [&["batch", "jobs.csv", "-o", "jobs", "--name={index}"][..], &common, &size].concat();
    workshop.run(&batch).succeeded();
    let pictures = |folder: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(workshop.path(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let is_picture = |path: &PathBuf| path.extension().is_some_and(|end| end == "png");
        let mut paths: Vec<PathBuf> = paths.filter(is_picture).collect();
        paths.sort();
        paths
    };
    let made = pictures("jobs");
    let pixels: Vec<_> = made.iter().map(|path| picture::read(path).unwrap().pixels).collect();
    assert!(pixels.len() == 3 && pixels[0] != pixels[1] && pixels[1] != pixels[2]);
    let settings = metadata::read(&made[0]).unwrap().fields;
    assert_eq!((&settings["control-weight"], &settings["control-end"]), (&json!(0.5), &json!(1.0)));
    let control = format!("--control={}", text(&net));
    let grid = ["grid", "a cat", "--x=control-weight=0,1", "-o", "grid", &control];
    let grid = [&grid[..], &["--control-image=lines.png"], &common, &size].concat();
    workshop.run(&grid).succeeded();
    let mut weights: Vec<f64> = pictures("grid")
        .into_iter()
        .filter_map(|path| metadata::read(&path).ok())
        .filter_map(|settings| settings.fields.get("control-weight")?.as_f64())
        .collect();
    weights.sort_by(f64::total_cmp);
    assert_eq!(weights, [0.0, 1.0]);
}

#[test]
fn plans_count_controlnets() {
    let workshop = workshop();
    let (model, net) = (checkpoint("sd15-tiny"), plain("sd15-tiny"));
    let plan = |more: &[&str]| -> Value {
        let mut arguments = vec!["plan", "a", "--model", text(&model), "--device=cpu", "--json"];
        arguments.extend(["--width=64", "--height=64", "--control-image=lines.png"]);
        arguments.extend(more);
        let output = workshop.run(&arguments).succeeded().stdout();
        serde_json::from_str(output.trim()).unwrap()
    };
    let stage = |plan: &Value, name: &str, part: &str| -> u64 {
        let stages = plan["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["stage"] == name).unwrap();
        stage[part].as_u64().unwrap()
    };
    let net = format!("--control={}", text(&net));
    let one = plan(&[&net]);
    let parameters = stage(&one, "denoise", "weight_bytes") - stage(&one, "load", "weight_bytes");
    let stored = std::fs::read(fixtures().join("controlnets/sd15-tiny").join(WEIGHTS)).unwrap();
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let bytes: usize = stored.tensors().iter().map(|(_, tensor)| tensor.data().len()).sum();
    assert_eq!(parameters, bytes as u64, "as stored");
    // The same file twice is loaded once.
    let two = plan(&[&net, &net]);
    assert_eq!(stage(&two, "denoise", "weight_bytes"), stage(&one, "denoise", "weight_bytes"));
}
