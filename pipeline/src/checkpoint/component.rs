//! One network of a checkpoint folder: its configuration and its weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use burn::tensor::TensorData;
use emberbrush_layers::weights::{WeightError, WeightSource};
use safetensors::Dtype;
use serde::Deserialize;

use super::{CheckpointError, files::CheckpointFiles, safetensors_file::SafetensorsFile};

/// The weights of one network, in one file or several, and which of them have been asked for.
#[derive(Debug)]
pub struct ComponentWeights {
    origin: String,
    files: Vec<SafetensorsFile>,
    file_of_key: BTreeMap<String, usize>,
    used: Mutex<BTreeSet<String>>,
}

/// What a file says about a tensor before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorHeader<'a> {
    /// The published name.
    pub key: &'a str,
    /// Number of elements.
    pub elements: u64,
    /// Bytes of an element as stored.
    pub element_bytes: u64,
}

/// `*.safetensors.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// Where the weights of a network are.
enum Found {
    /// In one file.
    Whole(String),
    /// In several, by this index.
    Shards(String),
}

impl Found {
    /// Looks in the folder `component` in this order, each whole or in shards: full precision,
    /// then the `fp16` and `bf16` variants.
    fn find(files: &CheckpointFiles, component: &str) -> Result<Self, CheckpointError> {
        for stem in ["diffusion_pytorch_model", "model"] {
            for variant in ["", ".fp16", ".bf16"] {
                let whole = format!("{component}/{stem}{variant}.safetensors");
                if files.contains(&whole) {
                    return Ok(Self::Whole(whole));
                }
                for index in [
                    format!("{component}/{stem}.safetensors.index{variant}.json"),
                    format!("{component}/{stem}{variant}.safetensors.index.json"),
                ] {
                    if files.contains(&index) {
                        return Ok(Self::Shards(index));
                    }
                }
            }
        }
        let pickles: Vec<String> = files
            .list(component)
            .into_iter()
            .filter(|name| [".bin", ".pt", ".ckpt", ".pth"].iter().any(|end| name.ends_with(end)))
            .collect();
        Err(match pickles.first() {
            Some(pickle) => CheckpointError::OnlyPickle {
                path: files.display(&format!("{component}/{pickle}")),
            },
            None => CheckpointError::NoWeights { path: files.display(component) },
        })
    }
}

/// The paths of the shards, each once.
fn shards(component: &str, weight_map: &BTreeMap<String, String>) -> Vec<String> {
    let shards: BTreeSet<String> =
        weight_map.values().map(|shard| format!("{component}/{shard}")).collect();
    shards.into_iter().collect()
}

impl ComponentWeights {
    /// Finds and opens the weights of the network in the folder `component`.
    pub fn open(files: &CheckpointFiles, component: &str) -> Result<Self, CheckpointError> {
        match Found::find(files, component)? {
            Found::Whole(name) => Self::from_files(files, component, &[name]),
            Found::Shards(index) => Self::from_shards(files, component, &index),
        }
    }

    /// The names of the files that hold the weights of the network in the folder `component`, in
    /// order.
    pub fn locate(
        files: &CheckpointFiles,
        component: &str,
    ) -> Result<Vec<String>, CheckpointError> {
        match Found::find(files, component)? {
            Found::Whole(name) => Ok(vec![name]),
            Found::Shards(index) => {
                let ShardIndex { weight_map } = files.json(&index)?;
                Ok(shards(component, &weight_map))
            }
        }
    }

    fn from_shards(
        files: &CheckpointFiles,
        component: &str,
        index: &str,
    ) -> Result<Self, CheckpointError> {
        let ShardIndex { weight_map } = files.json(index)?;
        let weights = Self::from_files(files, component, &shards(component, &weight_map))?;
        match weight_map.keys().find(|key| !weights.file_of_key.contains_key(*key)) {
            Some(key) => {
                Err(CheckpointError::ShardWithout { path: files.display(index), key: key.clone() })
            }
            None => Ok(weights),
        }
    }

    fn from_files(
        files: &CheckpointFiles,
        component: &str,
        names: &[String],
    ) -> Result<Self, CheckpointError> {
        let opened =
            names.iter().map(|name| files.safetensors(name)).collect::<Result<Vec<_>, _>>()?;
        let mut file_of_key = BTreeMap::new();
        for (index, file) in opened.iter().enumerate() {
            for key in file.metadata().offset_keys() {
                file_of_key.insert(key, index);
            }
        }
        let origin = match names {
            [one] => files.display(one),
            _ => files.display(component),
        };
        Ok(Self { origin, files: opened, file_of_key, used: Mutex::default() })
    }

    fn file(&self, key: &str) -> Option<&SafetensorsFile> {
        self.file_of_key.get(key).and_then(|&index| self.files.get(index))
    }

    /// The keys that nothing has read, in order.
    pub fn unused_keys(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.file_of_key.keys().filter(|key| !used.contains(*key)).cloned().collect()
    }

    /// Number of elements by stored type, over all tensors.
    pub fn elements_by_dtype(&self) -> BTreeMap<String, u64> {
        let mut elements = BTreeMap::new();
        for file in &self.files {
            for info in file.metadata().tensors().values() {
                let count: u64 = info.shape.iter().map(|&side| side as u64).product();
                *elements.entry(dtype_name(info.dtype)).or_default() += count;
            }
        }
        elements
    }

    /// What the files say about their tensors, in no particular order.
    pub fn headers(&self) -> impl Iterator<Item = TensorHeader<'_>> {
        self.file_of_key.iter().filter_map(|(key, &index)| {
            let info = self.files.get(index)?.metadata().info(key)?;
            let elements = info.shape.iter().map(|&side| side as u64).product();
            let element_bytes = info.dtype.bitsize() as u64 / 8;
            Some(TensorHeader { key, elements, element_bytes })
        })
    }

    /// Bytes of all tensors as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.metadata().data_len() as u64).sum()
    }
}

/// The type's name as people write it: `f16`, `bf16`, `i64`.
fn dtype_name(dtype: Dtype) -> String {
    format!("{dtype:?}").to_lowercase()
}

impl WeightSource for ComponentWeights {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.file(key)?.shape(key)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let file = self.file(key).ok_or_else(|| WeightError::Unreadable {
            origin: self.origin(),
            key: key.to_owned(),
            reason: "the file does not hold it".to_owned(),
        })?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        file.read(key)
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}
