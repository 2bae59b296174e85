//! Single-file checkpoints: what they are taken to be, and that they hold what folders hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::{
    checkpoint::{
        clip_tokenizer::Vocabulary,
        component::ComponentWeights,
        files::CheckpointFiles,
        folder::{self, Family},
        inspect::inspect,
    },
    metadata::ModelHash,
};
use emberbrush_tests::{
    checkpoint, fixtures,
    single_file::{
        CheckpointFile, StoredTensor, Tensors, single_file, single_file_table, single_file_tensors,
        write_hollow,
    },
};
use emberbrush_text_encoder::keys::Piece;
use half::f16;
use serde_json::Value;
use sha2::{Digest, Sha256};

const REFERENCE: [&str; 3] = ["sd15-tiny", "sd21-tiny", "sdxl-tiny"];

fn sha256(path: &Path) -> String {
    let hash = Sha256::digest(fs::read(path).unwrap());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_reference_files_are_rebuilt_byte_for_byte() {
    for name in REFERENCE {
        assert_eq!(sha256(single_file(name).path()), single_file_table(name).0, "{name}");
    }
}

/// The tables of the crates against what was found in the files by content.
#[test]
fn every_name_is_translated_both_ways() {
    let mut translated = 0;
    for name in REFERENCE {
        let (up, levels) = match name {
            "sdxl-tiny" => (vec![true, true, false], 4),
            _ => (vec![false, true, true, true], 4),
        };
        let layout = emberbrush_unet::keys::LdmLayout {
            layers_per_block: 2,
            transformers_on_the_way_up: up,
        };
        for (ldm, source) in single_file_table(name).1 {
            let sources: Vec<&str> = source.split(' ').filter(|part| part.contains(':')).collect();
            for (third, source) in sources.iter().enumerate() {
                let (part, published) = source.split_once(':').unwrap();
                if let Some(rest) = ldm.strip_prefix("model.diffusion_model.") {
                    use emberbrush_unet::keys;
                    assert_eq!(keys::published_name(rest, 2).as_deref(), Some(published));
                    assert_eq!(keys::ldm_name(published, &layout).as_deref(), Some(rest));
                } else if let Some(rest) = ldm.strip_prefix("first_stage_model.") {
                    use emberbrush_vae::keys;
                    // The reference names the middle attention as older files do.
                    let older = keys::published_name(rest, levels).unwrap();
                    let present = keys::older_name(&older).unwrap_or_else(|| older.clone());
                    assert!(published == older || published == present, "{ldm}");
                    assert_eq!(keys::ldm_name(&older, levels).as_deref(), Some(rest));
                } else if ldm.contains(".model.") {
                    use emberbrush_text_encoder::keys;
                    let rest = ldm.split_once(".model.").unwrap().1;
                    let piece = match sources.len() {
                        1 if rest == "text_projection" => Piece::Transposed,
                        1 => Piece::Whole,
                        _ => Piece::Third(third),
                    };
                    let held = keys::published_from_open_clip(rest);
                    assert_eq!(held.get(third), Some(&(published.to_owned(), piece)));
                    let stored = keys::open_clip_name(published);
                    assert_eq!(stored, Some((rest.to_owned(), piece)));
                } else {
                    assert!(ldm.ends_with(published), "{part}: {ldm}");
                }
                translated += 1;
            }
        }
    }
    assert_eq!(translated, 3187);
}

/// All weights of a network as f32.
fn loaded(files: &CheckpointFiles, component: &str) -> BTreeMap<String, Vec<f32>> {
    let weights = ComponentWeights::open(files, component).unwrap();
    weights
        .unused_keys()
        .into_iter()
        .filter(|key| !key.ends_with("position_ids") && key != "logit_scale")
        .map(|key| {
            let values = weights.read(&key).unwrap().convert::<f32>().try_to_vec::<f32>().unwrap();
            // Folders of Stable Diffusion 1 and 2 have older names in the autoencoder.
            let key = key
                .replace(".query.", ".to_q.")
                .replace(".key.", ".to_k.")
                .replace(".value.", ".to_v.")
                .replace(".proj_attn.", ".to_out.0.");
            (key, values)
        })
        .collect()
}

#[test]
fn they_hold_what_folders_hold() {
    for name in REFERENCE {
        let (file, folder) = (single_file(name), checkpoint(name));
        let single = folder::locate_with_config(file.path(), Some(&folder)).unwrap();
        let folder = folder::locate(&folder).unwrap();
        for component in ["text_encoder", "text_encoder_2", "unet", "vae"] {
            if !folder.contains(&format!("{component}/config.json")) {
                continue;
            }
            let mut found = loaded(&single, component);
            if name == "sd21-tiny" {
                found.remove("text_projection.weight");
            }
            let expected = loaded(&folder, component);
            assert_eq!(
                found.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>(),
                "{name}, {component}"
            );
            assert!(found == expected, "{name}, {component}: values");
        }
        let CheckpointFiles::SingleFile(opened) = &single else { panic!("{name}") };
        assert_eq!(opened.unused_keys(), [""; 0], "{name}");
    }
}

#[test]
fn the_vocabulary_in_the_program_is_clips() {
    let stored =
        |file: &str| fs::read_to_string(fixtures().join("checkpoints/shared").join(file)).unwrap();
    assert_eq!(Vocabulary::Merges.read().unwrap(), stored("merges.txt"));
    let parse = |text: &str| serde_json::from_str::<BTreeMap<String, u32>>(text).unwrap();
    assert_eq!(parse(&Vocabulary::Vocab.read().unwrap()), parse(&stored("vocab.json")));
}

/// A file like `layout`, of no numbers but those of `small`, after `change`.
fn hollow(
    name: &str,
    layout: &str,
    small: &Tensors,
    change: impl FnOnce(&mut BTreeMap<String, Vec<usize>>),
) -> CheckpointFile {
    CheckpointFile::new(name, |path| write_hollow(path, layout, small, change))
}

fn unchanged(_: &mut BTreeMap<String, Vec<usize>>) {}

/// Takes so many channels in place of four.
fn with_channels(channels: usize) -> impl FnOnce(&mut BTreeMap<String, Vec<usize>>) {
    move |tensors| {
        tensors.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap()[1] = channels;
    }
}

fn no_tensors() -> Tensors {
    Tensors::new()
}

#[test]
fn families_are_told_by_names_and_shapes() {
    for (name, family, side, parameters) in [
        ("sd15", Family::StableDiffusion1, 512, 1_066_235_307),
        ("sd21", Family::StableDiffusion2, 512, 1_291_001_004),
        ("sdxl", Family::StableDiffusionXl, 1024, 3_468_837_868),
        ("sdxl-refiner", Family::StableDiffusionXlRefiner, 1024, 3_037_840_364),
    ] {
        let file = hollow("model.safetensors", name, &no_tensors(), unchanged);
        let files = folder::locate(file.path()).unwrap();
        let found = inspect(&files).unwrap();
        assert_eq!(found.family, family);
        assert_eq!(found.layout, "single file");
        assert_eq!(found.native_size, Some(side), "{name}");
        assert_eq!(found.in_channels, 4, "{name}");
        assert_eq!(found.parameters, parameters, "{name}");
        // The configurations are those that diffusers publishes, where they say anything.
        let published: Value = serde_json::from_slice(
            &fs::read(fixtures().join(format!("layouts/{name}.configs.json"))).unwrap(),
        )
        .unwrap();
        for (path, config) in published.as_object().unwrap() {
            let made: Value = files.json(path).unwrap();
            for (key, value) in config.as_object().unwrap() {
                assert_eq!(&made[key], value, "{name}, {path}, {key}");
            }
        }
        let CheckpointFiles::SingleFile(opened) = &files else { panic!("{name}") };
        assert_eq!(opened.unused_keys(), [""; 0], "{name}");
    }
}

#[test]
fn inpainting_models_of_each_family_are_told() {
    for (name, class) in [
        ("sd15", "StableDiffusionInpaintPipeline"),
        ("sd21", "StableDiffusionInpaintPipeline"),
        ("sdxl", "StableDiffusionXLInpaintPipeline"),
    ] {
        let file = hollow("inpaint.safetensors", name, &no_tensors(), with_channels(9));
        let files = folder::locate(file.path()).unwrap();
        assert_eq!(inspect(&files).unwrap().in_channels, 9);
        let index: Value = files.json("model_index.json").unwrap();
        assert_eq!(index["_class_name"], class);
    }
}

#[test]
fn what_the_unet_predicts_is_told_where_the_file_says_it() {
    let predicts = |name: &str, small: &Tensors| {
        let file = hollow("model.safetensors", name, small, unchanged);
        let files = folder::locate(file.path()).unwrap();
        let found = inspect(&files).unwrap();
        let scheduler: Value = files.json("scheduler/scheduler_config.json").unwrap();
        let zero_snr = scheduler["rescale_betas_zero_snr"] == true;
        (found.prediction_type, found.native_size.unwrap(), zero_snr)
    };
    let mark = |name: &str| (name.to_owned(), StoredTensor::of_f16(&[0], []));
    let expected = |prediction: &str, side, zero_snr| (prediction.to_owned(), side, zero_snr);

    assert_eq!(predicts("sdxl", &no_tensors()), expected("epsilon", 1024, false));
    let v_pred = Tensors::from([mark("v_pred")]);
    assert_eq!(predicts("sdxl", &v_pred), expected("v_prediction", 1024, false));
    let both = Tensors::from([mark("v_pred"), mark("ztsnr")]);
    assert_eq!(predicts("sdxl", &both), expected("v_prediction", 1024, true));

    // Stable Diffusion 2 says it by the spread of one norm's biases.
    let key = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";
    let spread = |size: f32| {
        let values = (0..320).map(|index| f16::from_f32(if index % 2 == 0 { size } else { -size }));
        Tensors::from([(key.to_owned(), StoredTensor::of_f16(&[320], values))])
    };
    assert_eq!(predicts("sd21", &spread(0.05)), expected("epsilon", 512, false));
    assert_eq!(predicts("sd21", &spread(0.13)), expected("v_prediction", 768, false));
    let mut base = spread(0.13);
    let bytes = 875_000_i64.to_le_bytes().to_vec();
    let step = StoredTensor { dtype: safetensors::Dtype::I64, shape: vec![], bytes };
    base.insert("global_step".to_owned(), step);
    assert_eq!(predicts("sd21", &base), expected("epsilon", 512, false));
}

#[test]
fn a_few_steps_are_recommended_to_those_that_need_no_more() {
    for (name, scheduler, side, steps) in [
        ("sd_xl_turbo_1.0_fp16.safetensors", "EulerAncestralDiscreteScheduler", 512, Some(4)),
        ("sdxl_lightning_8step.safetensors", "EulerDiscreteScheduler", 1024, Some(8)),
        ("sdxl_lcm.safetensors", "LCMScheduler", 1024, Some(4)),
        ("juggernaut.safetensors", "EulerDiscreteScheduler", 1024, None),
    ] {
        let file = hollow(name, "sdxl", &no_tensors(), unchanged);
        let files = folder::locate(file.path()).unwrap();
        let found = inspect(&files).unwrap();
        assert_eq!(
            (found.scheduler.as_str(), found.native_size),
            (scheduler, Some(side)),
            "{name}"
        );
        let recommended = folder::recommended_settings(&files).unwrap();
        assert_eq!(recommended.steps, steps, "{name}");
        assert_eq!(recommended.guidance_scale, steps.map(|_| 1.0), "{name}");
    }
}

#[test]
fn what_is_missing_and_what_is_too_much_is_told() {
    let mut tensors = single_file_tensors("sd15-tiny", &checkpoint("sd15-tiny"));
    tensors.insert("left.over".to_owned(), StoredTensor::of_f16(&[1], [f16::ONE]));
    tensors.insert("model_ema.decay".to_owned(), StoredTensor::of_f16(&[1], [f16::ONE]));
    tensors.retain(|name, _| !name.starts_with("first_stage_model."));
    let file = CheckpointFile::of("model.safetensors", &tensors);
    let config = checkpoint("sd15-tiny");
    let files = folder::locate_with_config(file.path(), Some(&config)).unwrap();
    let CheckpointFiles::SingleFile(opened) = &files else { panic!("a single file") };
    assert_eq!(opened.unused_keys(), ["left.over"]);
    let message = ComponentWeights::open(&files, "vae").unwrap_err().to_string();
    assert!(message.contains("no autoencoder") && message.contains("--vae"), "{message}");
    let message = ComponentWeights::open(&files, "text_encoder_2").unwrap_err().to_string();
    assert!(message.contains("no text_encoder_2"), "{message}");

    let message = folder::locate_with_config(file.path(), Some(Path::new("nowhere"))).unwrap_err();
    assert!(message.to_string().contains("nowhere"), "{message}");
    let message = folder::locate_with_config(&config, Some(&config)).unwrap_err();
    assert!(message.to_string().contains("--config is for single files"), "{message}");
}

/// Stable Diffusion 1's first files had no root in the names of the text encoder.
#[test]
fn the_oldest_names_are_read() {
    let mut tensors = Tensors::new();
    for (name, tensor) in single_file_tensors("sd15-tiny", &checkpoint("sd15-tiny")) {
        tensors.insert(name.replace("transformer.text_model.", "transformer."), tensor);
    }
    let file = CheckpointFile::of("old.safetensors", &tensors);
    let folder = checkpoint("sd15-tiny");
    let old = folder::locate_with_config(file.path(), Some(&folder)).unwrap();
    let folder = folder::locate(&folder).unwrap();
    assert!(loaded(&old, "text_encoder") == loaded(&folder, "text_encoder"));
}

#[test]
fn the_hash_is_that_of_the_file() {
    let file = single_file("sd15-tiny");
    let config = checkpoint("sd15-tiny");
    let files = folder::locate_with_config(file.path(), Some(&config)).unwrap();
    let hash = single_file_table("sd15-tiny").0;
    assert_eq!(ModelHash::start(&files).get().as_deref(), Some(&hash[..10]));
    assert_eq!(files.name(), "sd15-tiny");
}
