//! The checkpoints of `make_families.py`: what it changes in the tiny ones.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    CheckpointFolder, checkpoint, fixtures,
    single_file::{Tensors, read_safetensors, write_safetensors},
};

/// What pictures start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Starts {
    /// Noise.
    Nothing,
    /// The picture in `goldens/pipelines.safetensors`.
    Image,
    /// The same and its mask.
    Inpaint,
}

/// One checkpoint, and how its picture was drawn.
#[derive(Debug, Clone, Deserialize)]
pub struct Family {
    /// The tiny checkpoint of which it is made.
    pub base: String,
    /// What its configurations say otherwise.
    json: BTreeMap<String, Map<String, Value>>,
    /// Folders that it does not have.
    lacks: Vec<String>,
    /// Whether its UNet has no tensor of the base's.
    whole_unet: bool,
    /// The sampler's name on the command line.
    pub sampler: String,
    /// Guidance.
    pub cfg: f64,
    /// Steps.
    pub steps: u32,
    /// What the picture starts from.
    pub starts: Starts,
    /// How much of it is new.
    pub strength: f64,
}

/// All of them, and what their pictures have in common.
#[derive(Debug, Clone, Deserialize)]
pub struct Families {
    /// The prompt.
    pub prompt: String,
    /// The negative prompt.
    pub negative: String,
    /// The seed.
    pub seed: u64,
    /// By name.
    pub families: BTreeMap<String, Family>,
}

impl Families {
    /// Reads `families/families.json`.
    pub fn read() -> Self {
        let text = fs::read(fixtures().join("families/families.json")).expect("families");
        serde_json::from_slice(&text).expect("families.json")
    }
}

impl Family {
    /// Lays the checkpoint out, called `name` in the fixtures.
    pub fn checkpoint(&self, name: &str) -> CheckpointFolder {
        let folder = checkpoint(&self.base);
        for lacking in &self.lacks {
            fs::remove_dir_all(folder.join(lacking)).expect("folder to remove");
        }
        for (path, changes) in &self.json {
            let path = folder.join(path);
            let text = fs::read(&path).expect("configuration");
            let mut json: Map<String, Value> = serde_json::from_slice(&text).expect("JSON");
            json.extend(changes.clone());
            fs::write(path, Value::Object(json).to_string()).expect("write configuration");
        }
        let path = folder.join("unet/diffusion_pytorch_model.safetensors");
        let mut unet = if self.whole_unet { Tensors::new() } else { read_safetensors(&path) };
        unet.extend(weights(name));
        write_safetensors(&path, &unet);
        folder
    }

    /// The picture that diffusers draws with it, `[64, 64, 3]`.
    pub fn picture(name: &str) -> Vec<u8> {
        let pictures = read_safetensors(&fixtures().join("families/pictures.safetensors"));
        pictures.get(name).expect("picture").bytes.clone()
    }
}

fn weights(name: &str) -> Tensors {
    let prefix = format!("{name}.");
    read_safetensors(&fixtures().join("families/weights.safetensors"))
        .into_iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect()
}

/// Writes the picture and the mask from which pictures start into `folder`, as `image.png` and
/// `mask.png`.
pub fn write_start(folder: &Path) {
    let goldens = read_safetensors(&fixtures().join("goldens/pipelines.safetensors"));
    let save = |key: &str, file: &str, colour: image::ColorType| {
        let bytes = &goldens.get(key).expect("picture").bytes;
        image::save_buffer(folder.join(file), bytes, 64, 64, colour).expect("write picture");
    };
    save("image_u8_hwc", "image.png", image::ColorType::Rgb8);
    save("mask_u8_hw", "mask.png", image::ColorType::L8);
}
