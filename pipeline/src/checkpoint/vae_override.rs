//! Another autoencoder in the place of a checkpoint's own: a folder or a file, whole or small.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use emberbrush_vae::{
    AutoencoderConfig, AutoencoderKlConfig, AutoencoderTinyConfig, TinyNaming, keys,
};

use super::{
    CheckpointError,
    component::ComponentWeights,
    files::CheckpointFiles,
    folder::{self, Family},
    tensor_file::TensorFile,
};
use crate::request::LATENT_CELL;

/// Where single checkpoints keep their autoencoder.
const FIRST_STAGE: &str = "first_stage_model.";

/// The folder of a checkpoint's own autoencoder.
const VAE: &str = "vae";

/// Levels of published autoencoders are 4; their names are counted up to this.
const MAX_LEVELS: usize = 16;

/// An autoencoder that is used instead of a checkpoint's own.
#[derive(Debug, Clone)]
pub struct VaeOverride {
    path: PathBuf,
    config: AutoencoderConfig,
    place: Place,
}

/// Where its weights are.
#[derive(Debug, Clone)]
enum Place {
    /// In a folder of this name, as diffusers has them.
    Folder(CheckpointFiles, &'static str),
    /// In files whose names are not all published ones.
    Files(NamedFiles),
}

/// Files, and what their tensors are called.
#[derive(Debug, Clone, Default)]
struct NamedFiles {
    files: Vec<Arc<TensorFile>>,
    /// Published name: which file, and the name there.
    tensors: BTreeMap<String, (usize, String)>,
    unused: Vec<String>,
}

impl VaeOverride {
    /// Finds the autoencoder at `path` for the checkpoint `checkpoint`: a folder with
    /// `config.json`, a checkpoint folder, or a file. A file of Stable Diffusion's autoencoder is
    /// taken to have the configuration of the checkpoint's own.
    ///
    /// # Errors
    ///
    /// Where there is nothing, or nothing that is an autoencoder of this kind of checkpoint.
    pub fn open(path: &Path, checkpoint: &CheckpointFiles) -> Result<Self, CheckpointError> {
        let shown = || path.display().to_string();
        let (config, place) = if path.is_dir() {
            let files = CheckpointFiles::Folder(path.to_owned());
            let component = if files.contains("config.json") { "." } else { VAE };
            let config = format!("{component}/config.json");
            if !files.contains(&config) {
                return Err(CheckpointError::Unsupported {
                    path: shown(),
                    reason: "this folder holds no autoencoder: there is neither config.json nor \
                             vae/config.json"
                        .to_owned(),
                });
            }
            (files.json(&config)?, Place::Folder(files, component))
        } else if path.is_file() {
            let (config, named) = from_file(path, checkpoint)?;
            (config, Place::Files(named))
        } else {
            return Err(CheckpointError::NotFound { path: shown() });
        };
        config.check()?;
        if config.downscale_factor() != LATENT_CELL as usize {
            return Err(CheckpointError::Unsupported {
                path: shown(),
                reason: format!(
                    "this autoencoder has {} pixels for each latent along a side; Stable \
                     Diffusion's have {LATENT_CELL}",
                    config.downscale_factor()
                ),
            });
        }
        Ok(Self { path: path.to_owned(), config, place })
    }

    /// What a person knows it by: the last part of its path.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// What it is built from.
    pub fn config(&self) -> &AutoencoderConfig {
        &self.config
    }

    /// The files that hold its weights.
    ///
    /// # Errors
    ///
    /// Where there are none.
    pub fn weight_files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        match &self.place {
            Place::Folder(files, component) => {
                let names = ComponentWeights::locate(files, component)?;
                Ok(names.iter().map(|name| self.path.join(name)).collect())
            }
            Place::Files(_) => Ok(vec![self.path.clone()]),
        }
    }

    /// Its weights under diffusers' names.
    ///
    /// # Errors
    ///
    /// Where there are none or they cannot be read.
    pub fn weights(&self) -> Result<ComponentWeights, CheckpointError> {
        match &self.place {
            Place::Folder(files, component) => ComponentWeights::open(files, component),
            Place::Files(NamedFiles { files, tensors, .. }) => Ok(ComponentWeights::renamed(
                self.path.display().to_string(),
                files.clone(),
                tensors.iter().map(|(key, (file, name))| (key.clone(), *file, name.clone())),
            )),
        }
    }

    /// Tensors of its file that belong to no autoencoder.
    pub fn stray_keys(&self) -> &[String] {
        match &self.place {
            Place::Folder(..) => &[],
            Place::Files(named) => &named.unused,
        }
    }
}

fn from_file(
    path: &Path,
    checkpoint: &CheckpointFiles,
) -> Result<(AutoencoderConfig, NamedFiles), CheckpointError> {
    let file = Arc::new(TensorFile::open(path)?);
    file.refuse_small_types()?;
    if let Some(naming) = TinyNaming::recognise(file.as_ref()) {
        return tiny(path, file, naming);
    }
    let keys = file.keys();
    let is_whole_checkpoint = keys.iter().any(|key| key.starts_with(FIRST_STAGE));
    let own = |key: &str| match is_whole_checkpoint {
        true => key.strip_prefix(FIRST_STAGE).map(str::to_owned),
        false => Some(key.to_owned()),
    };
    let levels = (0..MAX_LEVELS)
        .take_while(|level| {
            keys.iter().filter_map(|key| own(key)).any(|key| {
                key.starts_with(&format!("decoder.up.{level}."))
                    || key.starts_with(&format!("decoder.up_blocks.{level}."))
            })
        })
        .count();
    if levels == 0 {
        return Err(CheckpointError::Unsupported {
            path: path.display().to_string(),
            reason: "this file holds no autoencoder: it has neither the decoder of a Stable \
                     Diffusion (`decoder.up…`) nor that of TAESD (`decoder.layers…`, `1.weight` \
                     with `3.conv.0.weight`)"
                .to_owned(),
        });
    }
    let mut named = NamedFiles { files: vec![file], ..NamedFiles::default() };
    for key in keys {
        // A whole checkpoint's other networks are not missed.
        let Some(stored) = own(&key) else { continue };
        let published = keys::published_name(&stored, levels)
            .or_else(|| keys::ldm_name(&stored, levels).map(|_| stored.clone()))
            .or_else(|| keys::present_name(&stored));
        match published {
            Some(published) => {
                named.tensors.insert(published, (0, key));
            }
            None if is_of_training(&stored) => {}
            None => named.unused.push(key),
        }
    }
    Ok((AutoencoderConfig::Kl(own_config(checkpoint)?), named))
}

/// Tensors that training leaves in the files of autoencoders.
fn is_of_training(key: &str) -> bool {
    key.starts_with("loss.") || key.starts_with("model_ema.")
}

/// The configuration of the checkpoint's own autoencoder, or that of its family where it has none.
fn own_config(checkpoint: &CheckpointFiles) -> Result<AutoencoderKlConfig, CheckpointError> {
    let own = "vae/config.json";
    if checkpoint.contains(own)
        && let AutoencoderConfig::Kl(config) = checkpoint.json(own)?
    {
        return Ok(config);
    }
    let published = AutoencoderKlConfig::published();
    Ok(match folder::family(checkpoint)? {
        Family::StableDiffusion1 | Family::StableDiffusion2 => published,
        Family::StableDiffusionXl | Family::StableDiffusionXlRefiner => {
            AutoencoderKlConfig { scaling_factor: 0.13025, ..published }
        }
    })
}

/// TAESD. Upstream has its halves in files of their own, side by side.
fn tiny(
    path: &Path,
    file: Arc<TensorFile>,
    naming: TinyNaming,
) -> Result<(AutoencoderConfig, NamedFiles), CheckpointError> {
    let config = AutoencoderTinyConfig::from_weights(file.as_ref(), naming)?;
    if !naming.has_decoder(file.as_ref()) {
        return Err(CheckpointError::Unsupported {
            path: path.display().to_string(),
            reason: "this is the encoder of TAESD alone. Give the decoder's file; the encoder \
                     beside it is found by its name"
                .to_owned(),
        });
    }
    let mut named = NamedFiles::default();
    named.add_tiny(&file, naming);
    if !naming.has_encoder(file.as_ref())
        && let Some(encoder) = encoder_beside(path)
    {
        let encoder = Arc::new(TensorFile::open(encoder)?);
        if let Some(naming) = TinyNaming::recognise(encoder.as_ref()) {
            named.add_tiny(&encoder, naming);
        }
    }
    Ok((AutoencoderConfig::Tiny(config), named))
}

impl NamedFiles {
    fn add_tiny(&mut self, file: &Arc<TensorFile>, naming: TinyNaming) {
        let place = self.files.len();
        for key in file.keys() {
            match naming.published_name(file.as_ref(), &key) {
                Some(published) => {
                    self.tensors.insert(published, (place, key));
                }
                None => self.unused.push(key),
            }
        }
        self.files.push(Arc::clone(file));
    }
}

/// The file beside `path` whose name says `encoder` where that one says `decoder`.
fn encoder_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let beside = path.with_file_name(name.replace("decoder", "encoder"));
    (beside != path && beside.is_file()).then_some(beside)
}
