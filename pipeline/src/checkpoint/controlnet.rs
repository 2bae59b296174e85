//! ControlNets: folders in Hugging Face layout and single files.

use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, TensorData};
use emberbrush_layers::{
    stored_tensor::StoredTensor,
    weights::{WeightError, WeightSource, Weights},
};
use emberbrush_unet::{
    ControlNetConfig, ControlNetModel, UNet2DConditionConfig,
    controlnet::keys::{LDM_PREFIXES, LdmLayout},
};

use super::{
    CheckpointError,
    component::{ComponentWeights, TensorHeader},
    files::CheckpointFiles,
};
use crate::device::OpenDevice;

/// Tensors by which files are told that are no ControlNets of Stable Diffusion, and what they are.
const OTHERS: [(&str, &str); 9] = [
    ("lora_controlnet", "a control LoRA, which is not supported"),
    ("task_embedding", "a ControlNet union, which is not supported"),
    ("control_type_proj", "a ControlNet union, which is not supported"),
    ("difference", "the difference of a ControlNet to a UNet, which is not supported"),
    ("controlnet_x_embedder.weight", "a ControlNet of Flux, which is not supported"),
    ("pos_embed_input.proj.weight", "a ControlNet of SD3, which is not supported"),
    ("body.0.block1.weight", "a T2I-Adapter, which is not supported"),
    ("adapter.body.0.resnets.0.block1.weight", "a T2I-Adapter, which is not supported"),
    (
        "model.diffusion_model.input_blocks.0.0.weight",
        "a whole checkpoint and no ControlNet; it is given with --model",
    ),
];

/// The files of a ControlNet.
#[derive(Debug)]
pub struct ControlNetFiles {
    path: PathBuf,
    weights: NamedWeights,
    config: ControlNetConfig,
}

/// The names by which a file calls its tensors.
#[derive(Debug)]
enum Names {
    /// Those of diffusers.
    Published,
    /// Those of lllyasviel's files.
    Ldm { prefix: &'static str, layout: LdmLayout },
}

/// Weights that are asked for by the names of diffusers.
#[derive(Debug)]
struct NamedWeights {
    weights: ComponentWeights,
    names: Names,
}

impl ControlNetFiles {
    /// Opens the ControlNet at `path`, which is to steer `unet`: a folder with `config.json` and
    /// `diffusion_pytorch_model.safetensors`, or a single file, whose configuration its tensors
    /// tell.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, is something else, or does not fit `unet`.
    pub fn open(path: &Path, unet: &UNet2DConditionConfig) -> Result<Self, CheckpointError> {
        let shown = path.display().to_string();
        let unsupported = |reason: String| CheckpointError::Unsupported {
            path: shown.clone(),
            reason: format!("this ControlNet cannot be used: {reason}"),
        };
        let described = |error: WeightError| match error {
            WeightError::Config(reason) => unsupported(reason),
            other => other.into(),
        };
        let (weights, published) = if path.is_dir() {
            if path.join("model_index.json").is_file() {
                return Err(CheckpointError::Unsupported {
                    path: shown,
                    reason:
                        "this is a whole checkpoint and no ControlNet; it is given with --model"
                            .to_owned(),
                });
            }
            let (files, name) = folder(path);
            let weights = ComponentWeights::open(&files, &name)?;
            let config = format!("{name}/config.json");
            let has_config = files.contains(&config);
            (weights, has_config.then(|| files.json::<ControlNetConfig>(&config)).transpose()?)
        } else if path.is_file() {
            (ComponentWeights::single(path)?, None)
        } else {
            return Err(CheckpointError::NotFound { path: shown });
        };
        if let Some((_, what)) = OTHERS.iter().find(|(key, _)| weights.shape(key).is_some()) {
            return Err(CheckpointError::Unsupported {
                path: shown,
                reason: format!("this is {what}"),
            });
        }
        let weights = NamedWeights { names: Names::recognise(&weights), weights };
        let config = match published {
            Some(config) => config,
            None => {
                ControlNetConfig::from_shapes(&|key| weights.shape(key), unet).map_err(described)?
            }
        };
        config.check_fits(unet).map_err(described)?;
        Ok(Self { path: path.to_owned(), weights, config })
    }

    /// What it is called.
    pub fn name(&self) -> String {
        name(&self.path)
    }

    /// What it is.
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// What the files say about their tensors.
    pub fn headers(&self) -> impl Iterator<Item = TensorHeader<'_>> {
        self.weights.weights.headers()
    }

    /// Loads the network, and names the tensors that nothing needs.
    ///
    /// # Errors
    ///
    /// Where tensors are missing, of another shape or unreadable.
    pub fn load(
        &self,
        device: &OpenDevice,
        dtype: FloatDType,
    ) -> Result<(ControlNetModel, Vec<String>), CheckpointError> {
        let weights = Weights::new(&self.weights, &device.device, dtype);
        let network = ControlNetModel::new(&self.config, &weights)?;
        Ok((network, self.weights.weights.unused_keys()))
    }
}

/// What people know the ControlNet at `path` by: its file's name without extension, or its folder's.
pub fn name(path: &Path) -> String {
    let last = if path.is_dir() { path.file_name() } else { path.file_stem() };
    last.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The folder that holds a folder, and the latter's name in it.
fn folder(path: &Path) -> (CheckpointFiles, String) {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            (CheckpointFiles::Folder(parent.to_owned()), name.to_string_lossy().into_owned())
        }
        _ => (CheckpointFiles::Folder(path.to_owned()), ".".to_owned()),
    }
}

impl Names {
    fn recognise(weights: &ComponentWeights) -> Self {
        let layouts = LDM_PREFIXES.into_iter().filter_map(|prefix| {
            let has = |key: &str| weights.shape(&format!("{prefix}{key}")).is_some();
            Some(Self::Ldm { prefix, layout: LdmLayout::recognise(has)? })
        });
        layouts.into_iter().next().unwrap_or(Self::Published)
    }
}

impl NamedWeights {
    fn name(&self, key: &str) -> Option<String> {
        match self.names {
            Names::Published => Some(key.to_owned()),
            Names::Ldm { prefix, layout } => Some(format!("{prefix}{}", layout.key(key)?)),
        }
    }
}

impl WeightSource for NamedWeights {
    fn shape(&self, key: &str) -> Option<Vec<usize>> {
        self.weights.shape(&self.name(key)?)
    }

    fn read(&self, key: &str) -> Result<TensorData, WeightError> {
        self.weights.read(&self.name(key).unwrap_or_else(|| key.to_owned()))
    }

    fn stored(&self, key: &str) -> Result<StoredTensor, WeightError> {
        self.weights.stored(&self.name(key).unwrap_or_else(|| key.to_owned()))
    }

    fn origin(&self) -> String {
        self.weights.origin()
    }
}
