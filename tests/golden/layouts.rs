//! The ways in which a folder's weights are published: types, shards, variants, names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use emberbrush_layers::weights::WeightSource;
use emberbrush_pipeline::checkpoint::{
    CheckpointError, component::ComponentWeights, files::CheckpointFiles, folder, inspect::inspect,
};
use emberbrush_tests::{CheckpointFolder, checkpoint};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};

const WHOLE: &str = "unet/diffusion_pytorch_model.safetensors";

/// Every tensor of a fixture's UNet: shape and values. Fixtures are stored in f16.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f16>)>;

fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F16);
            let values = view.data().chunks(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]));
            (name.to_owned(), (view.shape().to_vec(), values.collect()))
        })
        .collect()
}

fn write<'a>(
    path: &Path,
    dtype: Dtype,
    tensors: impl Iterator<Item = (&'a String, &'a (Vec<usize>, Vec<f16>))>,
) {
    let encoded: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|&value| match dtype {
                Dtype::F32 => f32::from(value).to_le_bytes().to_vec(),
                Dtype::BF16 => bf16::from_f32(value.to_f32()).to_le_bytes().to_vec(),
                _ => value.to_le_bytes().to_vec(),
            });
            (name.clone(), shape.clone(), bytes.collect())
        })
        .collect();
    let views = encoded.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// The UNet's weights as the checkpoint in `folder` gives them, as f32.
fn loaded(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let files = folder::locate(folder).unwrap();
    let weights = ComponentWeights::open(&files, "unet").unwrap();
    weights
        .unused_keys()
        .into_iter()
        .map(|key| {
            let data = weights.read(&key).unwrap().convert::<f32>();
            (key, data.try_to_vec::<f32>().unwrap())
        })
        .collect()
}

fn expected(tensors: &Tensors, as_stored: impl Fn(f16) -> f32) -> BTreeMap<String, Vec<f32>> {
    tensors
        .iter()
        .map(|(name, (_, values))| (name.clone(), values.iter().map(|&v| as_stored(v)).collect()))
        .collect()
}

/// A checkpoint without its UNet's weights, and those weights.
fn without_unet() -> (CheckpointFolder, Tensors) {
    let folder = checkpoint("sd15-tiny");
    let tensors = tensors(&folder.join(WHOLE));
    fs::remove_file(folder.join(WHOLE)).unwrap();
    (folder, tensors)
}

#[test]
fn f32_f16_and_bf16_give_the_stored_values() {
    for (dtype, name) in [(Dtype::F32, "f32"), (Dtype::F16, "f16"), (Dtype::BF16, "bf16")] {
        let (folder, tensors) = without_unet();
        write(&folder.join(WHOLE), dtype, tensors.iter());
        let as_stored = |value: f16| match dtype {
            Dtype::BF16 => bf16::from_f32(value.to_f32()).to_f32(),
            _ => value.to_f32(),
        };
        assert_eq!(loaded(&folder), expected(&tensors, as_stored), "{name}");
        let inspection = inspect(&folder::locate(&folder).unwrap()).unwrap();
        let unet = inspection.components.iter().find(|part| part.name == "unet").unwrap();
        assert_eq!(unet.elements_by_dtype.keys().collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn variants_are_found_where_there_is_no_full_precision() {
    for variant in ["fp16", "bf16"] {
        let (folder, tensors) = without_unet();
        let path = folder.join(format!("unet/diffusion_pytorch_model.{variant}.safetensors"));
        write(&path, Dtype::F16, tensors.iter());
        assert_eq!(loaded(&folder), expected(&tensors, f16::to_f32), "{variant}");
    }
}

/// Writes the UNet in two shards and the index that names them.
fn write_shards(folder: &Path, tensors: &Tensors, index: &str, shard: impl Fn(usize) -> String) {
    let middle = tensors.len() / 2;
    let mut weight_map = BTreeMap::new();
    for number in 0..2 {
        let part: Vec<_> = tensors
            .iter()
            .enumerate()
            .filter(|(place, _)| usize::from(*place >= middle) == number)
            .map(|(_, tensor)| tensor)
            .collect();
        for (name, _) in &part {
            weight_map.insert((*name).clone(), shard(number));
        }
        write(&folder.join("unet").join(shard(number)), Dtype::F16, part.into_iter());
    }
    let json = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": weight_map });
    fs::write(folder.join("unet").join(index), json.to_string()).unwrap();
}

#[test]
fn shards_are_put_together() {
    for (index, variant) in [
        ("diffusion_pytorch_model.safetensors.index.json", ""),
        ("diffusion_pytorch_model.safetensors.index.fp16.json", ".fp16"),
    ] {
        let (folder, tensors) = without_unet();
        let shard = |number: usize| {
            format!("diffusion_pytorch_model{variant}-{:05}-of-00002.safetensors", number + 1)
        };
        write_shards(&folder, &tensors, index, shard);
        assert_eq!(loaded(&folder), expected(&tensors, f16::to_f32), "{index}");
    }
}

#[test]
fn a_missing_shard_and_a_missing_tensor_are_named() {
    let (folder, tensors) = without_unet();
    let shard = |number: usize| format!("shard-{number}.safetensors");
    let index = "diffusion_pytorch_model.safetensors.index.json";
    write_shards(&folder, &tensors, index, shard);
    let open = || ComponentWeights::open(&CheckpointFiles::Folder(folder.to_path_buf()), "unet");

    let path = folder.join("unet").join(index);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("conv_in.bias", "conv_in.bent", 1)).unwrap();
    let error = open().unwrap_err();
    assert!(
        matches!(&error, CheckpointError::ShardWithout { key, .. } if key == "conv_in.bent"),
        "{error}"
    );

    fs::write(&path, text).unwrap();
    fs::remove_file(folder.join("unet/shard-1.safetensors")).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(error.contains("shard-1.safetensors"), "{error}");
}
