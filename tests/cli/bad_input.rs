//! What a person can give wrongly: each a message that says what, where and what to do, and
//! nothing written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod program;

use std::{fs, path::Path};

use emberbrush_tests::{CheckpointFolder, checkpoint};
use program::{Run, Workshop, text};
use serde_json::{Value, json};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn generate(workshop: &Workshop, model: &Path, more: &[&str]) -> Run {
    let arguments = [
        &[
            "generate",
            "a cat",
            "--steps",
            "1",
            "--width",
            "64",
            "--height",
            "64",
            "--device",
            "cpu",
            "-o",
            "cat.png",
            "--model",
            text(model),
        ],
        more,
    ];
    workshop.run(&arguments.concat())
}

/// The refusal of `checkpoint` after `spoil` has changed it.
fn refusal(spoil: impl FnOnce(&CheckpointFolder)) -> Run {
    let model = checkpoint("sd15-tiny");
    spoil(&model);
    let workshop = Workshop::new();
    let run = generate(&workshop, &model, &[]);
    assert_eq!(workshop.files(), [""; 0], "nothing is written");
    run
}

/// Rewrites a safetensors file with another header.
fn with_header(path: &Path, change: impl FnOnce(&mut Value)) {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    change(&mut header);
    let header = header.to_string();
    let mut changed = (header.len() as u64).to_le_bytes().to_vec();
    changed.extend_from_slice(header.as_bytes());
    changed.extend_from_slice(&bytes[8 + length..]);
    fs::write(path, changed).unwrap();
}

#[test]
fn a_missing_folder() {
    let workshop = Workshop::new();
    let run = generate(&workshop, Path::new("no/such/model"), &[]);
    run.assert_refused(&["no/such/model", "no such file or folder"]);
    assert_eq!(workshop.files(), [""; 0]);
}

#[test]
fn a_folder_that_is_no_checkpoint() {
    let workshop = Workshop::new();
    fs::create_dir(workshop.path("empty")).unwrap();
    generate(&workshop, Path::new("empty"), &[]).assert_refused(&["empty", "model_index.json"]);
}

#[test]
fn a_checkpoint_of_another_kind_is_named() {
    refusal(|model| {
        fs::write(model.join("model_index.json"), r#"{"_class_name": "FluxPipeline"}"#).unwrap();
    })
    .assert_refused(&["model_index.json", "FluxPipeline"]);
}

#[test]
fn a_truncated_file() {
    refusal(|model| {
        let bytes = fs::read(model.join(UNET)).unwrap();
        fs::write(model.join(UNET), &bytes[..bytes.len() / 2]).unwrap();
    })
    .assert_refused(&[UNET, "truncated"]);
}

#[test]
fn an_empty_file() {
    refusal(|model| fs::write(model.join(UNET), b"").unwrap()).assert_refused(&[UNET, "0 bytes"]);
}

#[test]
fn a_header_that_claims_10_terabytes() {
    refusal(|model| {
        let mut bytes = fs::read(model.join(UNET)).unwrap();
        bytes[..8].copy_from_slice(&10_000_000_000_000_u64.to_le_bytes());
        fs::write(model.join(UNET), bytes).unwrap();
    })
    .assert_refused(&[UNET, "10000000000000 bytes"]);
}

#[test]
fn a_damaged_pickle_under_another_name() {
    for start in
        [&b"PK\x03\x04 zip archive of torch.save"[..], &b"\x80\x02}q\x00X\x05\x00\x00\x00"[..]]
    {
        refusal(|model| fs::write(model.join(UNET), start).unwrap())
            .assert_refused(&[UNET, "not a valid PyTorch checkpoint"]);
    }
}

#[test]
fn a_pickle_that_would_run_code() {
    let mut legacy =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    legacy.extend(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
    refusal(|model| {
        fs::remove_file(model.join(UNET)).unwrap();
        fs::write(model.join("unet/diffusion_pytorch_model.bin"), &legacy).unwrap();
    })
    .assert_refused(&[
        "diffusion_pytorch_model.bin",
        "`os.system`",
        "refused",
        ".safetensors",
    ]);
    let workshop = Workshop::new();
    fs::write(workshop.path("model.ckpt"), &legacy).unwrap();
    let run = generate(&workshop, Path::new("model.ckpt"), &[]);
    run.assert_refused(&["model.ckpt", "`os.system`", "refused"]);
}

#[test]
fn a_network_without_weights() {
    refusal(|model| {
        fs::rename(model.join(UNET), model.join("unet/weights.safetensors")).unwrap();
    })
    .assert_refused(&["unet", "there are no .safetensors or .bin weights"]);
}

#[test]
fn a_missing_tensor() {
    refusal(|model| {
        with_header(&model.join(UNET), |header| {
            let tensors = header.as_object_mut().unwrap();
            let tensor = tensors.remove("conv_in.weight").unwrap();
            tensors.insert("conv_in.wait".to_owned(), tensor);
        });
    })
    .assert_refused(&[UNET, "`conv_in.weight` is missing", "[16, 4, 3, 3]"]);
}

#[test]
fn a_tensor_of_another_shape() {
    refusal(|model| {
        with_header(&model.join(UNET), |header| {
            header["conv_in.weight"]["shape"] = json!([4, 16, 3, 3]);
        });
    })
    .assert_refused(&[UNET, "`conv_in.weight`", "[4, 16, 3, 3]", "[16, 4, 3, 3]"]);
}

#[test]
fn a_configuration_that_disagrees_with_the_weights() {
    refusal(|model| {
        let path = model.join("unet/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["cross_attention_dim"] = json!(48);
        fs::write(path, config.to_string()).unwrap();
    })
    .assert_refused(&[UNET, "attn2.to_k.weight", "config.json"]);
}

#[test]
fn a_configuration_that_is_not_json() {
    refusal(|model| fs::write(model.join("vae/config.json"), "{").unwrap())
        .assert_refused(&["vae/config.json", "line 1"]);
}

#[test]
fn a_missing_tokenizer() {
    refusal(|model| fs::remove_file(model.join("tokenizer/merges.txt")).unwrap())
        .assert_refused(&["tokenizer", "merges.txt"]);
}

#[test]
fn sizes_and_steps_that_no_model_can_do() {
    let workshop = Workshop::new();
    let model = checkpoint("sd15-tiny");
    let refused = |arguments: &[&str], parts: &[&str]| {
        let base =
            ["generate", "a cat", "--device", "cpu", "-o", "cat.png", "--model", text(&model)];
        workshop.run(&[&base[..], arguments].concat()).assert_refused(parts);
    };
    refused(&["--width", "100"], &["width", "multiple of 8", "96", "104"]);
    refused(&["--height", "0"], &["height", "multiple of 8"]);
    refused(&["--width", "80000"], &["width", "16384"]);
    refused(&["--steps", "0"], &["at least 1 step"]);
    refused(&["--steps", "5000"], &["5000"]);
    refused(&["--count", "0"], &["at least 1 image"]);
    refused(&["--cfg", "NaN"], &["guidance"]);
    refused(&["--sampler", "ddim", "--schedule", "karras"], &["karras"]);
    assert_eq!(workshop.files(), [""; 0]);
}

#[test]
fn a_device_that_is_not_there() {
    let workshop = Workshop::new();
    let run = |device: &str| workshop.run(&["generate", "a cat", "--device", device]);
    let unknown = run("toaster");
    assert_eq!(unknown.code(), Some(2), "{}", unknown.stderr());
    assert!(unknown.stderr().contains("no such device: `toaster`"), "{}", unknown.stderr());
    run("wgpu:77").assert_refused(&[if cfg!(feature = "wgpu") {
        "wgpu:77"
    } else {
        "not part of this build"
    }]);
    assert_eq!(workshop.files(), [""; 0]);
}

#[test]
fn half_precision_on_the_cpu_is_refused() {
    let workshop = Workshop::new();
    workshop
        .run(&["generate", "a cat", "--device", "cpu", "--dtype", "f16"])
        .assert_refused(&["cannot compute in f16", "--dtype auto"]);
}

#[test]
fn an_output_that_cannot_be_written() {
    let workshop = Workshop::new();
    fs::write(workshop.path("file"), "").unwrap();
    workshop
        .run(&["generate", "a cat", "--steps", "1", "--device", "cpu", "-o", "file/cat.png"])
        .assert_refused(&["file", "cannot be written"]);
    workshop
        .run(&["generate", "a cat", "--steps", "1", "--device", "cpu", "-o", "cat.gif"])
        .assert_refused(&["cat.gif", ".png"]);
    assert_eq!(workshop.files(), ["file"]);
}

#[test]
fn errors_are_objects_where_json_is_asked_for() {
    let run = Workshop::new().run(&["generate", "a cat", "--model", "nowhere", "--json"]);
    let object: Value = serde_json::from_str(run.stdout().trim()).unwrap();
    assert_eq!(object["event"], "error");
    assert!(object["message"].as_str().unwrap().contains("nowhere"));
}

#[test]
fn an_extra_tensor_is_a_warning() {
    let model = checkpoint("sd15-tiny");
    let path = model.join(UNET);
    with_header(&path, |header| {
        let end = header
            .as_object()
            .unwrap()
            .values()
            .filter_map(|tensor| tensor["data_offsets"][1].as_u64())
            .max()
            .unwrap();
        header["left.over"] =
            json!({ "dtype": "F16", "shape": [2], "data_offsets": [end, end + 4] });
    });
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0; 4]);
    fs::write(path, bytes).unwrap();
    let workshop = Workshop::new();
    let run = generate(&workshop, &model, &[]).succeeded();
    assert!(run.stderr().contains("unet: left.over"), "{}", run.stderr());
    assert_eq!(workshop.files(), ["cat.png"]);
}
