//! Checkpoints in one file, as A1111, ComfyUI and Civitai have them: presented as the folder in
//! Hugging Face layout that holds the same.
//!
//! Such a file has neither configurations nor a tokenizer. Both are made from what its family is
//! published with; a folder given with `--config` goes before them, file by file.

mod arrangement;
mod configs;
mod refused;
mod unet_shape;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) use self::arrangement::{StoredTensor, Tensors};
use self::{arrangement::Arrangement, configs::Configs, unet_shape::UNetShape};
use super::{
    CheckpointError, clip_tokenizer,
    files::CheckpointFiles,
    folder::{self, Family},
    tensor_file::TensorFile,
};

/// A checkpoint in one file.
#[derive(Debug)]
pub struct SingleFile {
    path: PathBuf,
    file: Arc<TensorFile>,
    /// The folder whose files go before those that are made.
    config: Option<PathBuf>,
    configs: Configs,
    /// The networks by their folders.
    components: BTreeMap<&'static str, Tensors>,
    unused_keys: Vec<String>,
}

impl SingleFile {
    /// Opens the file at `path` and finds out what it is, with the help of the configuration files
    /// in the folder `config`.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is known to be something else, or its family can be told
    /// neither from its tensors nor from `config`.
    pub fn open(path: &Path, config: Option<&Path>) -> Result<Self, CheckpointError> {
        let file = Arc::new(TensorFile::open(path)?);
        let mut names = file.keys();
        names.sort_unstable();
        let unsupported = |reason: String| CheckpointError::Unsupported {
            path: path.display().to_string(),
            reason,
        };
        if let Some(reason) = refused::reason(&names) {
            return Err(unsupported(reason.to_owned()));
        }
        file.refuse_small_types()?;
        if !names.iter().any(|name| name.starts_with(unet_shape::PREFIX)) {
            return Err(unsupported(refused::part(&names).map_or_else(
                || {
                    let shown = names.first().map_or("none", String::as_str);
                    format!(
                        "this is no checkpoint that is known: it has no tensor below {}, and its \
                         first is {shown}. Give one of Stable Diffusion 1.x, 2.x or XL",
                        unet_shape::PREFIX
                    )
                },
                str::to_owned,
            )));
        }
        let mut single = Self {
            path: path.to_owned(),
            file,
            config: config.map(Path::to_owned),
            configs: Configs::new(),
            components: BTreeMap::new(),
            unused_keys: Vec::new(),
        };
        single.recognise(&names)?;
        Ok(single)
    }

    fn recognise(&mut self, names: &[String]) -> Result<(), CheckpointError> {
        let arrangement = Arrangement::find(&self.file, names);
        let shape = UNetShape::read(&self.file)
            .ok_or_else(|| "its UNet lacks tensors that every Stable Diffusion has".to_owned());
        let told = match &self.config {
            Some(config) if config.join("model_index.json").is_file() => {
                Some(folder::family(&CheckpointFiles::Folder(config.clone()))?)
            }
            _ => None,
        };
        let recognised = shape.as_ref().map_err(String::clone).and_then(UNetShape::family);
        let family = match told {
            Some(family) => family,
            None => recognised.map_err(|reason| CheckpointError::Unsupported {
                path: self.path.display().to_string(),
                reason,
            })?,
        };
        if let Ok(shape) = &shape {
            let name = self.name();
            self.configs = configs::write(&self.file, &arrangement, shape, family, &name);
        }
        self.add_tokenizers(&arrangement, family);
        let (components, left) = arrangement.divide(names, family);
        self.components = components;
        self.drop_last_layers()?;
        self.unused_keys =
            left.into_iter().filter(|name| !arrangement::is_expected_unused(name)).collect();
        Ok(())
    }

    fn add_tokenizers(&mut self, arrangement: &Arrangement, family: Family) {
        for (component, encoder) in arrangement.text_encoders(family) {
            let tokenizer = component.replace("text_encoder", "tokenizer");
            let pads_with_end = encoder.names == arrangement::TextNames::Transformers;
            for (file, content) in clip_tokenizer::settings(pads_with_end) {
                self.configs.insert(format!("{tokenizer}/{file}"), content);
            }
        }
    }

    /// Leaves out the layers of text encoders that their configurations do not have: single files
    /// of Stable Diffusion 2 hold one more than is used.
    fn drop_last_layers(&mut self) -> Result<(), CheckpointError> {
        #[derive(serde::Deserialize)]
        struct Layers {
            num_hidden_layers: Option<usize>,
        }
        for component in ["text_encoder", "text_encoder_2"] {
            let Some(config) = self.read(&format!("{component}/config.json"))? else { continue };
            let layers: Layers =
                serde_json::from_slice(&config).map_err(|source| CheckpointError::Json {
                    path: self.display(&format!("{component}/config.json")),
                    source,
                })?;
            if let (Some(tensors), Some(count)) =
                (self.components.get_mut(component), layers.num_hidden_layers)
            {
                tensors.retain(|key, _| layer(key).is_none_or(|layer| layer < count));
            }
        }
        Ok(())
    }

    /// What a person knows the checkpoint by: the file's name without its ending.
    pub fn name(&self) -> String {
        self.path.file_stem().map_or_else(
            || self.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's tensors under their own names.
    pub fn tensors(&self) -> &Arc<TensorFile> {
        &self.file
    }

    /// Tensors that belong to no network and are not known to be of no use.
    pub fn unused_keys(&self) -> &[String] {
        &self.unused_keys
    }

    /// How the file is arranged.
    pub(super) fn layout(&self) -> &'static str {
        match *self.file {
            TensorFile::Safetensors(_) => "single file",
            TensorFile::Pickle(_) => "single file, pickled",
        }
    }

    /// The tensors of the network in the folder `component` by their published names.
    pub(super) fn component(&self, component: &str) -> Result<&Tensors, CheckpointError> {
        self.components.get(component).ok_or_else(|| self.lacks(component))
    }

    /// The error for a network that is not there.
    fn lacks(&self, component: &str) -> CheckpointError {
        let reason = match component {
            "vae" => "this file holds no autoencoder. Give one with --vae".to_owned(),
            other => format!(
                "this file holds no {other}, so it is not a whole checkpoint. Give one that holds \
                 UNet, text encoder and autoencoder"
            ),
        };
        CheckpointError::Unsupported { path: self.path.display().to_string(), reason }
    }

    /// Where a person finds the small file `file` of the folder that this stands for.
    pub(super) fn display(&self, file: &str) -> String {
        match self.given(file) {
            Some(path) => path.display().to_string(),
            None => format!("{} ({file})", self.path.display()),
        }
    }

    /// Whether there is a small file of this name.
    pub(super) fn contains(&self, file: &str) -> bool {
        self.given(file).is_some()
            || self.configs.contains_key(file)
            || self.clip_vocabulary(file).is_some()
    }

    /// The names of the small files directly in the folder `below`.
    pub(super) fn list(&self, below: &str) -> Vec<String> {
        let prefix = format!("{below}/");
        self.configs
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    /// The small file of this name, where there is one.
    pub(super) fn read(&self, file: &str) -> Result<Option<Vec<u8>>, CheckpointError> {
        if let Some(path) = self.given(file) {
            let content = std::fs::read(&path).map_err(|source| CheckpointError::Io {
                path: path.display().to_string(),
                source,
            })?;
            return Ok(Some(content));
        }
        if let Some(content) = self.configs.get(file) {
            return Ok(Some(content.clone().into_bytes()));
        }
        self.clip_vocabulary(file)
            .map(|vocabulary| vocabulary.read().map(String::into_bytes))
            .transpose()
            .map_err(|source| CheckpointError::Io { path: self.display(file), source })
    }

    /// The error for a small file that is not there.
    pub(super) fn absent(&self, file: &str) -> CheckpointError {
        match file.split_once('/') {
            Some((component, "config.json")) => self.lacks(component),
            _ => CheckpointError::Io {
                path: self.display(file),
                source: std::io::ErrorKind::NotFound.into(),
            },
        }
    }

    /// The file in the folder that goes before what is made.
    fn given(&self, file: &str) -> Option<PathBuf> {
        self.config.as_ref().map(|folder| folder.join(file)).filter(|path| path.is_file())
    }

    /// The part of CLIP's vocabulary that the file `file` of a tokenizer is.
    fn clip_vocabulary(&self, file: &str) -> Option<clip_tokenizer::Vocabulary> {
        let (tokenizer, name) = file.split_once('/')?;
        let has_tokenizer =
            self.configs.contains_key(&format!("{tokenizer}/tokenizer_config.json"));
        has_tokenizer.then(|| clip_tokenizer::Vocabulary::of_name(name)).flatten()
    }
}

/// The number of the transformer layer that a published tensor of a text encoder belongs to.
fn layer(key: &str) -> Option<usize> {
    key.strip_prefix("text_model.encoder.layers.")?.split_once('.')?.0.parse().ok()
}
