//! One network of a checkpoint: its weights under their published names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::TensorData;
use emberbrush_layers::{
    stored_tensor::StoredTensor,
    weights::{WeightError, WeightSource},
};
use emberbrush_text_encoder::keys::Piece;
use safetensors::Dtype;
use serde::Deserialize;

use super::{CheckpointError, files::CheckpointFiles, tensor_file::TensorFile};

/// The weights of one network, in one file or several, and which of them have been asked for.
#[derive(Debug)]
pub struct ComponentWeights {
    origin: String,
    files: Vec<Arc<TensorFile>>,
    /// By published name.
    tensors: BTreeMap<String, Stored>,
    used: Mutex<BTreeSet<String>>,
}

/// Where a tensor is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    /// Which of the files.
    file: usize,
    /// Its name there.
    name: String,
    piece: Piece,
}

/// What a file says about a tensor before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorHeader<'a> {
    /// The published name.
    pub key: &'a str,
    /// The type of its elements as stored.
    pub dtype: Dtype,
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

/// How files of weights begin in diffusers' folders and, the last two, in transformers'.
const STEMS: [&str; 3] = ["diffusion_pytorch_model", "model", "pytorch_model"];

impl Found {
    /// Looks in the folder `component` in this order, each whole or in shards: safetensors in full
    /// precision, then the `fp16` and `bf16` variants, and the same for pickles.
    fn find(files: &CheckpointFiles, component: &str) -> Result<Self, CheckpointError> {
        for ending in ["safetensors", "bin"] {
            for stem in STEMS {
                for variant in ["", ".fp16", ".bf16"] {
                    let whole = format!("{component}/{stem}{variant}.{ending}");
                    if files.contains(&whole) {
                        return Ok(Self::Whole(whole));
                    }
                    for index in [
                        format!("{component}/{stem}.{ending}.index{variant}.json"),
                        format!("{component}/{stem}{variant}.{ending}.index.json"),
                    ] {
                        if files.contains(&index) {
                            return Ok(Self::Shards(index));
                        }
                    }
                }
            }
        }
        Err(CheckpointError::NoWeights { path: files.display(component) })
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
        if let CheckpointFiles::SingleFile(single) = files {
            let stored = |(key, stored): (&String, &super::single_file::StoredTensor)| {
                let name = stored.name.clone();
                (key.clone(), Stored { file: 0, name, piece: stored.piece })
            };
            return Ok(Self {
                origin: single.path().display().to_string(),
                files: vec![Arc::clone(single.tensors())],
                tensors: single.component(component)?.iter().map(stored).collect(),
                used: Mutex::default(),
            });
        }
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
        if matches!(files, CheckpointFiles::SingleFile(_)) {
            return Ok(vec![String::new()]);
        }
        match Found::find(files, component)? {
            Found::Whole(name) => Ok(vec![name]),
            Found::Shards(index) => {
                let ShardIndex { weight_map } = files.json(&index)?;
                Ok(shards(component, &weight_map))
            }
        }
    }

    /// Opens a file that holds one network.
    pub fn single(path: &Path) -> Result<Self, CheckpointError> {
        let file = Arc::new(TensorFile::open(path)?);
        Self::from_opened(path.display().to_string(), vec![file])
    }

    fn from_shards(
        files: &CheckpointFiles,
        component: &str,
        index: &str,
    ) -> Result<Self, CheckpointError> {
        let ShardIndex { weight_map } = files.json(index)?;
        let weights = Self::from_files(files, component, &shards(component, &weight_map))?;
        match weight_map.keys().find(|key| !weights.tensors.contains_key(*key)) {
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
        let opened = names.iter().map(|name| files.tensors(name)).collect::<Result<Vec<_>, _>>()?;
        let origin = match names {
            [one] => files.display(one),
            _ => files.display(component),
        };
        Self::from_opened(origin, opened)
    }

    fn from_opened(origin: String, files: Vec<Arc<TensorFile>>) -> Result<Self, CheckpointError> {
        let mut tensors = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            file.refuse_small_types()?;
            for key in file.keys() {
                let stored = Stored { file: index, name: key.clone(), piece: Piece::Whole };
                tensors.insert(key, stored);
            }
        }
        Ok(Self { origin, files, tensors, used: Mutex::default() })
    }

    /// Weights in open files: of each its published name, its file, and the name there.
    pub(super) fn renamed(
        origin: String,
        files: Vec<Arc<TensorFile>>,
        tensors: impl Iterator<Item = (String, usize, String)>,
    ) -> Self {
        let stored = |(key, file, name)| (key, Stored { file, name, piece: Piece::Whole });
        Self { origin, files, tensors: tensors.map(stored).collect(), used: Mutex::default() }
    }

    fn place(&self, key: &str) -> Option<(&TensorFile, &Stored)> {
        let stored = self.tensors.get(key)?;
        Some((self.files.get(stored.file)?, stored))
    }

    fn unreadable(&self, key: &str, reason: &str) -> WeightError {
        WeightError::Unreadable {
            origin: self.origin.clone(),
            key: key.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The keys that nothing has read, in order.
    pub fn unused_keys(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.tensors.keys().filter(|key| !used.contains(*key)).cloned().collect()
    }

    /// Number of elements by stored type, over all tensors.
    pub fn elements_by_dtype(&self) -> BTreeMap<String, u64> {
        let mut elements = BTreeMap::new();
        for (key, stored) in &self.tensors {
            let info = self.files.get(stored.file).and_then(|file| file.info(&stored.name));
            if let (Some(info), Some(shape)) = (info, self.shape(key)) {
                *elements.entry(info.dtype_name()).or_default() += element_count(&shape);
            }
        }
        elements
    }

    /// What the files say about their tensors, in no particular order.
    pub fn headers(&self) -> impl Iterator<Item = TensorHeader<'_>> {
        self.tensors.iter().filter_map(|(key, stored)| {
            let info = self.files.get(stored.file)?.info(&stored.name)?;
            let elements = element_count(&self.shape(key)?);
            let element_bytes = info.element_bytes() as u64;
            Some(TensorHeader { key, dtype: info.dtype, elements, element_bytes })
        })
    }

    /// Bytes of all tensors as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.headers().map(|header| header.elements * header.element_bytes).sum()
    }
}

fn element_count(shape: &[usize]) -> u64 {
    shape.iter().map(|&side| side as u64).product()
}

impl WeightSource for ComponentWeights {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        let (file, stored) = self.place(key)?;
        let mut shape = file.info(&stored.name)?.shape;
        match stored.piece {
            Piece::Whole => {}
            Piece::Third(_) => *shape.first_mut()? /= 3,
            Piece::Transposed => shape.reverse(),
        }
        Some(shape)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let copied = self.stored(key)?.copied();
        copied.ok_or_else(|| self.unreadable(key, "there are no such tensors"))
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        let (file, stored) =
            self.place(key).ok_or_else(|| self.unreadable(key, "the file does not hold it"))?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        match stored.piece {
            Piece::Whole => file.stored(&stored.name),
            Piece::Third(third) => file.stored_third(&stored.name, third),
            Piece::Transposed => transposed(file.read(&stored.name)?)
                .map(StoredTensor::from)
                .map_err(|reason| self.unreadable(&stored.name, &reason)),
        }
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

/// A matrix with rows and columns exchanged, in the type in which it is stored.
fn transposed(data: TensorData) -> Result<TensorData, String> {
    let [rows, columns] = data.shape()[..] else {
        return Err("it is no matrix".to_owned());
    };
    let bytes: &[u8] = data.bytes();
    let size = data.dtype().size();
    let mut exchanged = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let start = (row * columns + column) * size;
            exchanged.extend_from_slice(&bytes[start..start + size]);
        }
    }
    TensorData::try_from_bytes_vec(exchanged, vec![columns, rows], data.dtype())
        .map_err(|error| error.to_string())
}
