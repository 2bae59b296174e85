//! Models in another layout, or with weights of another type.

use std::{fs, ops::ControlFlow, path::Path};

use emberbrush_library::{
    convert::{WeightType, convert},
    error::LibraryError,
    progress::Progress,
};
use emberbrush_tests::{
    checkpoint,
    single_file::{StoredTensor, Tensors, read_safetensors, single_file, write_safetensors},
};
use half::f16;
use safetensors::Dtype;

const NETWORKS: [&str; 4] = [
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
];

fn write(from: &Path, to: &Path, dtype: Option<WeightType>) -> Result<(), LibraryError> {
    convert(from, None, to, dtype, &mut |_| ControlFlow::Continue(()))
}

/// The weights of a folder, by file.
fn weights(folder: &Path) -> Vec<(&'static str, Tensors)> {
    let there = NETWORKS.into_iter().filter(|file| folder.join(file).is_file());
    there.map(|file| (file, read_safetensors(&folder.join(file)))).collect()
}

/// Fails unless both hold the same bits under the same names.
#[track_caller]
fn assert_same(what: &str, actual: &Tensors, expected: &Tensors) {
    for (name, tensor) in expected {
        let found = actual.get(name).unwrap_or_else(|| panic!("{what}: no {name}"));
        assert_eq!((&found.shape, found.dtype), (&tensor.shape, tensor.dtype), "{what}: {name}");
        assert!(found.bytes == tensor.bytes, "{what}: {name}");
    }
    assert_eq!(actual.len(), expected.len(), "{what}");
}

#[test]
fn a_folder_becomes_the_single_file_that_is_published_and_comes_back_bit_for_bit() {
    let work = tempfile::tempdir().unwrap();
    for name in ["sd15-tiny", "sd21-tiny", "sdxl-tiny"] {
        let folder = checkpoint(name);
        let single = work.path().join(format!("{name}.safetensors"));
        write(&folder, &single, None).unwrap();
        // The reference holds more: schedules, and layers that no encoder uses.
        let reference = read_safetensors(single_file(name).path());
        let written = read_safetensors(&single);
        for (key, tensor) in &written {
            let expected =
                reference.get(key).unwrap_or_else(|| panic!("{name}: no tensor is called {key}"));
            assert_eq!(tensor.shape, expected.shape, "{name}: {key}");
            assert!(as_f16(tensor) == as_f16(expected), "{name}: {key}");
        }

        let back = work.path().join(name);
        let mut go_on = |_: Progress<'_>| ControlFlow::Continue(());
        convert(&single, Some(&folder), &back, None, &mut go_on).unwrap();
        let (before, after) = (weights(&folder), weights(&back));
        assert_eq!(before.len(), after.len());
        for ((file, before), (_, after)) in before.iter().zip(&after) {
            // What single files have no name for, and no network reads.
            let read: Tensors = before
                .iter()
                .map(|(key, tensor)| (present_name(key), tensor.clone()))
                .filter(|(key, _)| after.contains_key(key) || !is_left_out(key))
                .collect();
            assert_same(&format!("{name}/{file}"), after, &read);
        }
    }
}

/// Today's name of a layer of an autoencoder's attention: a fixture has the older ones.
fn present_name(key: &str) -> String {
    let older = [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];
    older.into_iter().fold(key.to_owned(), |key, (older, present)| {
        key.replace(&format!("attentions.0.{older}."), &format!("attentions.0.{present}."))
    })
}

fn is_left_out(key: &str) -> bool {
    key.ends_with("position_ids") || key.ends_with("logit_scale")
}

/// Bytes in the type of the references.
fn as_f16(tensor: &StoredTensor) -> Vec<u8> {
    match tensor.dtype {
        Dtype::F32 => {
            let values = tensor.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
        }
        _ => tensor.bytes.clone(),
    }
}

#[test]
fn types_are_rounded_and_come_back_exactly() {
    let work = tempfile::tempdir().unwrap();
    let folder = checkpoint("sd15-tiny");
    let path = |name: &str| work.path().join(name);
    write(&folder, &path("half"), Some(WeightType::F16)).unwrap();
    write(&path("half"), &path("full"), Some(WeightType::F32)).unwrap();
    write(&path("full"), &path("again"), Some(WeightType::F16)).unwrap();
    write(&folder, &path("brain"), Some(WeightType::Bf16)).unwrap();
    for file in NETWORKS.into_iter().filter(|file| folder.join(file).is_file()) {
        let of = |folder: &Path| read_safetensors(&folder.join(file));
        let (before, half) = (of(&folder), of(&path("half")));
        assert_same(file, &of(&path("again")), &half);
        for (key, tensor) in &before {
            assert_eq!(half[key].bytes, as_f16(tensor), "{key}");
        }
        let (brain, full) = (of(&path("brain")), of(&path("full")));
        let is = |tensors: &Tensors, dtype| {
            tensors.values().all(|tensor| tensor.dtype == dtype || tensor.dtype == Dtype::I64)
        };
        assert!(is(&half, Dtype::F16) && is(&full, Dtype::F32) && is(&brain, Dtype::BF16));
    }
    assert!(
        fs::read(folder.join("vae/config.json")).unwrap()
            == fs::read(path("half/vae/config.json")).unwrap()
    );
    assert!(path("half/tokenizer/merges.txt").is_file());
}

#[test]
fn what_a_type_cannot_hold_is_refused_by_name_and_nothing_is_left() {
    let work = tempfile::tempdir().unwrap();
    let folder = checkpoint("sd15-tiny");
    let unet = folder.join("unet/diffusion_pytorch_model.safetensors");
    let mut tensors = read_safetensors(&unet);
    let spoilt = tensors.get_mut("conv_out.bias").unwrap();
    let values = [70_000_f32, 0.0, 0.0, 0.0];
    assert_eq!(spoilt.shape, [values.len()]);
    spoilt.dtype = Dtype::F32;
    spoilt.bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    write_safetensors(&unet, &tensors);
    let output = work.path().join("half");
    let failed = write(&folder, &output, Some(WeightType::F16)).unwrap_err().to_string();
    assert!(failed.contains("conv_out.bias") && failed.contains("70000"), "{failed}");
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
    write(&folder, &output, Some(WeightType::Bf16)).unwrap();
    let failed = write(&folder, &output, Some(WeightType::Bf16)).unwrap_err().to_string();
    assert!(failed.contains("it exists"), "{failed}");
}
