//! Files of low-rank adapters.

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use burn::tensor::{DType, Device, Tensor, TensorData};
use emberbrush_layers::weights::{WeightError, WeightSource};
use serde_json::{Map, Value};

use super::{
    AdapterError,
    decomposition::{Decomposition, Parts, Stored},
    names::{self, AdaptedNetwork, Part},
};
use crate::{
    checkpoint::{folder::Family, tensor_file::TensorFile},
    metadata::adapters::{hash_of_file, hash_of_tensors},
};

/// Where diffusers writes the settings that an adapter was trained with.
const ADAPTER_METADATA: &str = "lora_adapter_metadata";

/// Where kohya's sd-scripts write a hash of the tensors.
const MODEL_HASH: &str = "sshs_model_hash";

/// PEFT's name for the lengths of a layer's outputs.
const MAGNITUDE_VECTOR: &str = "magnitude_vector";

/// Added to lengths before they divide, as LyCORIS adds torch's `finfo(float32).eps`.
const LENGTH_EPSILON: f32 = f32::EPSILON;

/// An adapter, of which the header is read.
#[derive(Debug)]
pub struct LoraFile {
    path: String,
    file: TensorFile,
    layers: Vec<AdaptedLayer>,
    /// Keys that are no part of an adapter that is known.
    unknown: Vec<String>,
    hash: OnceLock<Option<String>>,
}

/// What an adapter changes in one layer.
#[derive(Debug)]
pub(super) struct AdaptedLayer {
    /// The layer's name in the file.
    pub(super) name: String,
    pub(super) decomposition: Decomposition,
    alpha: Option<Stored>,
    magnitude: Option<Stored>,
    /// The key that a person is told where the layer does not fit.
    pub(super) shown_key: String,
    /// All keys.
    pub(super) keys: Vec<String>,
}

impl AdaptedLayer {
    /// Whether a weight of this shape can be changed.
    pub(super) fn fits(&self, weight: &[usize]) -> bool {
        let (&[rows, ..], [_, inner @ ..]) = (weight, weight) else { return false };
        let columns = inner.iter().product();
        let lengths = self.magnitude.as_ref().is_none_or(|magnitude| {
            let length: usize = magnitude.shape.iter().product();
            let of_outputs = magnitude.key.contains(MAGNITUDE_VECTOR);
            length == rows || !of_outputs && inner.first() == Some(&length)
        });
        self.decomposition.dims() == [rows, columns] && lengths
    }
}

impl LoraFile {
    /// Opens a file and reads what it changes, by names and shapes alone.
    ///
    /// # Errors
    ///
    /// A file that is broken or holds no adapter, and parts that do not go together.
    pub fn open(path: &Path) -> Result<Self, AdapterError> {
        let shown = path.display().to_string();
        let file = TensorFile::open(path)?;
        let mut unknown = Vec::new();
        let mut found: BTreeMap<String, (Parts, Vec<String>)> = BTreeMap::new();
        let mut keys = file.keys();
        keys.sort();
        for key in keys {
            let Some((layer, part)) = names::split(&key) else {
                unknown.push(key);
                continue;
            };
            let (parts, keys) = found.entry(layer.to_owned()).or_default();
            let shape = file.shape(&key).unwrap_or_default();
            parts.insert(part, Stored { key: key.clone(), shape });
            keys.push(key);
        }
        let mut layers = Vec::with_capacity(found.len());
        for (name, (mut parts, keys)) in found {
            let alpha = parts.remove(&Part::Alpha);
            let magnitude = parts.remove(&Part::Magnitude);
            if parts.is_empty() {
                unknown.extend(keys);
                continue;
            }
            let decomposition = Decomposition::new(&shown, &name, &mut parts)?;
            if let Some(left) = parts.into_values().next() {
                return Err(AdapterError::Parts { path: shown, layer: left.key });
            }
            let shown_key = keys.iter().find(|key| !key.ends_with("alpha")).cloned();
            let shown_key = shown_key.unwrap_or_default();
            layers.push(AdaptedLayer { name, decomposition, alpha, magnitude, shown_key, keys });
        }
        if layers.is_empty() {
            return Err(AdapterError::NoAdapter {
                path: shown,
                example: unknown.into_iter().next().unwrap_or_default(),
            });
        }
        Ok(Self { path: shown, file, layers, unknown, hash: OnceLock::new() })
    }

    /// The file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The size of the file in bytes; 0 where it cannot be told any more.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// The hash by which A1111 knows it: the one that its trainer wrote into it, or that of its
    /// tensors. `None` where the file cannot be read any more.
    pub fn hash(&self) -> Option<String> {
        let compute = || {
            let path = Path::new(&self.path);
            match (self.stated(MODEL_HASH).and_then(|hash| hash.get(..12)), &self.file) {
                (Some(hash), _) => Some(hash.to_owned()),
                (None, TensorFile::Safetensors(_)) => hash_of_tensors(path).ok(),
                (None, TensorFile::Pickle(_)) => hash_of_file(path).ok(),
            }
        };
        self.hash.get_or_init(compute).clone()
    }

    /// The family that it was trained for, by the width of text.
    pub fn family(&self) -> Option<Family> {
        self.layers.iter().find_map(|layer| {
            let (networks, name) = names::networks(&layer.name);
            let width = layer.decomposition.dims()[1];
            match networks {
                [AdaptedNetwork::TextEncoder2] => Some(Family::StableDiffusionXl),
                _ if layer.name.starts_with("lora_te1_") => Some(Family::StableDiffusionXl),
                [AdaptedNetwork::TextEncoder] if name.ends_with("self_attn_q_proj") => {
                    family_of_width(width)
                }
                _ if name.ends_with("attn2_to_k") || name.ends_with("attn2_to_v") => {
                    family_of_width(width)
                }
                _ => None,
            }
        })
    }

    pub(super) fn layers(&self) -> &[AdaptedLayer] {
        &self.layers
    }

    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// What is added to the weight of a layer at full strength, as the matrix of its rows, which
    /// are given as `weight`.
    ///
    /// # Errors
    ///
    /// Tensors that cannot be read, or hold values that are no numbers.
    pub(super) fn difference(
        &self,
        layer: &AdaptedLayer,
        weight: &Tensor<2>,
        network: AdaptedNetwork,
    ) -> Result<Tensor<2>, WeightError> {
        let device = weight.device();
        let read = |stored: &Stored, shape| self.tensor(stored, shape, &device);
        let scale = self.scale(layer, network)?;
        let difference = layer.decomposition.value(read)? * scale;
        let Some(magnitude) = &layer.magnitude else { return Ok(difference) };
        // DoRA (Liu et al. 2024, equation 5): the merged weight's direction, and a length for each
        // of its outputs (PEFT) or, as LyCORIS began, of its inputs.
        let merged = weight.clone() + difference;
        let [rows, columns] = merged.dims();
        let elements: usize = magnitude.shape.iter().product();
        let rescaled = if elements == rows && magnitude.shape.first() != Some(&1)
            || magnitude.key.contains(MAGNITUDE_VECTOR)
        {
            let norm = merged.clone().square().sum_dim(1).sqrt();
            merged * (read(magnitude, [rows, 1])? / (norm + LENGTH_EPSILON))
        } else {
            let kernel = columns / elements.max(1);
            let inputs: Tensor<3> = merged.reshape([rows, elements, kernel]);
            let norm = inputs.clone().square().sum_dim(0).sum_dim(2).sqrt();
            let lengths: Tensor<3> = read(magnitude, [1, elements])?.reshape([1, elements, 1]);
            (inputs * (lengths / (norm + LENGTH_EPSILON))).reshape([rows, columns])
        };
        Ok(rescaled - weight.clone())
    }

    /// `alpha / rank`, where `alpha` is the rank if it is not stated.
    fn scale(&self, layer: &AdaptedLayer, network: AdaptedNetwork) -> Result<f64, WeightError> {
        let Some(rank) = layer.decomposition.rank() else { return Ok(1.0) };
        let rank = rank as f64;
        let Some(alpha) = &layer.alpha else {
            let stated = self.stated_alpha(layer, network);
            return Ok(stated.map_or(1.0, |(alpha, rank_stabilised)| {
                alpha / if rank_stabilised { rank.sqrt() } else { rank }
            }));
        };
        let data = self.numbers(alpha)?;
        Ok(data.first().map_or(1.0, |&alpha| f64::from(alpha) / rank))
    }

    /// What the header says beside the tensors.
    fn stated(&self, name: &str) -> Option<&str> {
        let TensorFile::Safetensors(file) = &self.file else { return None };
        file.metadata().metadata().as_ref()?.get(name).map(String::as_str)
    }

    /// The `lora_alpha` that the header states for a layer, and whether it is divided by the
    /// rank's root.
    fn stated_alpha(&self, layer: &AdaptedLayer, network: AdaptedNetwork) -> Option<(f64, bool)> {
        let settings: Map<String, Value> =
            serde_json::from_str(self.stated(ADAPTER_METADATA)?).ok()?;
        let of_network = |name: &str| settings.get(&format!("{}.{name}", network.component()));
        let pattern = of_network("alpha_pattern").and_then(Value::as_object);
        let of_layer = pattern.and_then(|pattern| {
            pattern.iter().find(|(name, _)| layer.name.ends_with(name.as_str()))
        });
        let alpha = of_layer.map(|(_, alpha)| alpha).or_else(|| of_network("lora_alpha"))?;
        let rank_stabilised = of_network("use_rslora").and_then(Value::as_bool);
        Some((alpha.as_f64()?, rank_stabilised.unwrap_or(false)))
    }

    fn tensor(
        &self,
        stored: &Stored,
        shape: [usize; 2],
        device: &Device,
    ) -> Result<Tensor<2>, WeightError> {
        let values = self.numbers(stored)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), (device, DType::F32)))
    }

    /// The values of a tensor in f32.
    fn numbers(&self, stored: &Stored) -> Result<Vec<f32>, WeightError> {
        finite_numbers(&self.file, &stored.key)
    }
}

/// The family whose UNet looks at text of so many channels.
fn family_of_width(channels: usize) -> Option<Family> {
    match channels {
        768 => Some(Family::StableDiffusion1),
        1024 => Some(Family::StableDiffusion2),
        2048 => Some(Family::StableDiffusionXl),
        _ => None,
    }
}

/// The values of a tensor in f32, all of them numbers.
pub(super) fn finite_numbers(
    source: &dyn WeightSource,
    key: &str,
) -> Result<Vec<f32>, WeightError> {
    let unreadable = |reason: &str| WeightError::Unreadable {
        origin: source.origin(),
        key: key.to_owned(),
        reason: reason.to_owned(),
    };
    let values = source
        .read(key)?
        .convert_dtype(DType::F32)
        .try_to_vec::<f32>()
        .map_err(|_| unreadable("its elements are no floating-point numbers"))?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(unreadable("it holds values that are no numbers (NaN or infinite)"))
    }
}
