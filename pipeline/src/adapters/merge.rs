//! Adapters merged into the weights of a checkpoint, tensor by tensor as they are read.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{DType, Device, Tensor, TensorData};
use emberbrush_layers::{
    stored_tensor::StoredTensor,
    weights::{WeightError, WeightSource},
};

use super::{
    AdapterError,
    folders::FoundLora,
    lora_file::{AdaptedLayer, LoraFile, finite_numbers},
    names::{AdaptedNetwork, LayerNames},
};

/// An adapter and how much of it is merged.
#[derive(Debug, Clone)]
pub struct WeightedLora {
    /// The adapter.
    pub file: Arc<LoraFile>,
    /// The weight in the UNet.
    pub unet: f64,
    /// The weight in the text encoders.
    pub text: f64,
}

impl WeightedLora {
    /// An adapter that was found, and its file.
    pub fn new(found: &FoundLora, file: Arc<LoraFile>) -> Self {
        Self { file, unet: found.unet, text: found.text }
    }
}

/// What adapters change in the networks of one checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    networks: BTreeMap<AdaptedNetwork, Arc<NetworkMerge>>,
    /// Keys of the files that the checkpoint has no use for, by file.
    pub unused_keys: Vec<UnusedKeys>,
}

/// Keys of an adapter or a ControlNet that change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedKeys {
    /// Its file.
    pub path: String,
    /// The keys.
    pub keys: Vec<String>,
}

/// What adapters change in one network.
#[derive(Debug, Clone, Default)]
pub struct NetworkMerge {
    /// By the published key of the weight.
    weights: BTreeMap<String, ChangedWeight>,
}

#[derive(Debug, Clone, Default)]
struct ChangedWeight {
    elements: u64,
    /// In the order of merging.
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    file: Arc<LoraFile>,
    layer: usize,
    network: AdaptedNetwork,
    weight: f64,
}

impl Change {
    fn layer(&self) -> Option<&AdaptedLayer> {
        self.file.layers().get(self.layer)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && self.layer == other.layer
            && self.weight == other.weight
    }
}

impl Merge {
    /// Finds the layers that adapters change, in the order of `loras`. `checkpoint` is its name
    /// for messages.
    ///
    /// # Errors
    ///
    /// Adapters of which nothing fits, or of which a layer has another shape than the
    /// checkpoint's.
    pub fn new(
        loras: &[WeightedLora],
        names: &LayerNames,
        checkpoint: &str,
    ) -> Result<Self, AdapterError> {
        let mut networks: BTreeMap<AdaptedNetwork, NetworkMerge> = BTreeMap::new();
        let mut unused_keys = Vec::new();
        for lora in loras {
            let mut unused = lora.file.unknown().to_vec();
            let mut fits = false;
            for (index, layer) in lora.file.layers().iter().enumerate() {
                let Some((network, target)) = names.find(&layer.name) else {
                    unused.extend(layer.keys.iter().cloned());
                    continue;
                };
                if !layer.fits(&target.shape) {
                    return Err(AdapterError::Shape {
                        path: lora.file.path().to_owned(),
                        key: layer.shown_key.clone(),
                        family: lora.file.family(),
                        found: layer.decomposition.dims(),
                        checkpoint: checkpoint.to_owned(),
                        expected: target.shape.clone().into(),
                    });
                }
                fits = true;
                let weight = match network {
                    AdaptedNetwork::UNet => lora.unet,
                    AdaptedNetwork::TextEncoder | AdaptedNetwork::TextEncoder2 => lora.text,
                };
                if weight != 0.0 {
                    let weights = &mut networks.entry(network).or_default().weights;
                    let change =
                        Change { file: Arc::clone(&lora.file), layer: index, network, weight };
                    let changed = weights.entry(target.key.clone()).or_default();
                    changed.elements = target.shape.iter().map(|&side| side as u64).product();
                    changed.changes.push(change);
                }
            }
            if !fits {
                return Err(AdapterError::NothingFits {
                    path: lora.file.path().to_owned(),
                    key: unused.into_iter().next().unwrap_or_default(),
                    family: lora.file.family(),
                    checkpoint: checkpoint.to_owned(),
                });
            }
            if !unused.is_empty() {
                unused_keys.push(UnusedKeys { path: lora.file.path().to_owned(), keys: unused });
            }
        }
        let networks =
            networks.into_iter().map(|(network, merge)| (network, Arc::new(merge))).collect();
        Ok(Self { networks, unused_keys })
    }

    /// What changes in one network.
    pub fn network(&self, network: AdaptedNetwork) -> Arc<NetworkMerge> {
        self.networks.get(&network).cloned().unwrap_or_default()
    }
}

impl NetworkMerge {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The keys of all weights that change.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.weights.keys()
    }

    /// The numbers of elements of all weights that change.
    pub fn elements(&self) -> impl Iterator<Item = u64> {
        self.weights.values().map(|changed| changed.elements)
    }

    /// The keys of the weights that are others with `other` than with this.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let is_same = |key: &String| match (self.weights.get(key), other.weights.get(key)) {
            (Some(ChangedWeight { changes, .. }), Some(theirs)) => {
                let pairs = || changes.iter().zip(&theirs.changes);
                changes.len() == theirs.changes.len() && pairs().all(|(a, b)| a.is_same(b))
            }
            _ => false,
        };
        let theirs = other.weights.keys().filter(|key| !self.weights.contains_key(*key));
        self.weights.keys().chain(theirs).filter(move |key| !is_same(key))
    }
}

/// Weights with adapters merged into them, always from those of the checkpoint itself.
pub struct AdaptedWeights<'a> {
    source: &'a dyn WeightSource,
    merge: &'a NetworkMerge,
    device: &'a Device,
}

impl<'a> AdaptedWeights<'a> {
    /// The weights of `source` with `merge`, which is computed on `device` in f32.
    pub fn new(source: &'a dyn WeightSource, merge: &'a NetworkMerge, device: &'a Device) -> Self {
        Self { source, merge, device }
    }
}

impl WeightSource for AdaptedWeights<'_> {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.source.shape(key)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        let Some(changed) = self.merge.weights.get(key) else { return self.source.read(key) };
        let shape = self.source.shape(key).unwrap_or_default();
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).product();
        let base = finite_numbers(self.source, key)?;
        let place = (self.device, DType::F32);
        let mut weight = Tensor::<2>::from_data(TensorData::new(base, [rows, columns]), place);
        for change in &changed.changes {
            let Some(layer) = change.layer() else { continue };
            let difference = change.file.difference(layer, &weight, change.network)?;
            weight = weight + difference * change.weight;
        }
        let merged = weight.into_data().convert_dtype(DType::F32);
        let values = merged.try_to_vec::<f32>().map_err(|_| WeightError::Unreadable {
            origin: self.source.origin(),
            key: key.to_owned(),
            reason: "the merged weight could not be read back".to_owned(),
        })?;
        Ok(TensorData::new(values, shape))
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        if self.merge.weights.contains_key(key) {
            self.read(key).map(StoredTensor::from)
        } else {
            self.source.stored(key)
        }
    }

    fn origin(&self) -> String {
        self.source.origin()
    }
}
