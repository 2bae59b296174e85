//! How a person wants the program to be, across all sessions.

use std::path::PathBuf;

use directories::UserDirs;
use emberbrush_pipeline::{
    adapters::AdapterFolders, device::DeviceChoice, picture::FileFormat, places,
};
use serde::{Deserialize, Serialize};

use super::{actions::Shortcuts, theme::ThemeChoice, words::Language};
use crate::engine::WrittenSettings;

/// What is shown of unfinished pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Previews {
    /// Nothing.
    Off,
    /// Colours that are estimated from the latents.
    #[default]
    Fast,
    /// What a small autoencoder (TAESD) makes of them.
    Tiny,
}

impl Previews {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Off, Self::Fast, Self::Tiny];

    /// The name of its message.
    pub fn message(self) -> &'static str {
        match self {
            Self::Off => "previews-off",
            Self::Fast => "previews-fast",
            Self::Tiny => "previews-tiny",
        }
    }
}

/// How a person wants the program to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Preferences {
    /// Dark, light, or as the system.
    pub theme: ThemeChoice,
    /// How large everything is; 1 is the system's own scale.
    pub scale: f32,
    /// The language of the window.
    pub language: Language,
    /// Where pictures are written.
    pub pictures_folder: PathBuf,
    /// Folders in which checkpoints are looked for.
    pub model_folders: Vec<PathBuf>,
    /// Where the wildcards that prompts name are.
    pub wildcards_folder: PathBuf,
    /// Where LoRAs are found by name.
    pub lora_folder: PathBuf,
    /// Where embeddings are that prompts name.
    pub embeddings_folder: PathBuf,
    /// Autoencoders that were chosen before, to choose again.
    pub vae_files: Vec<PathBuf>,
    /// ControlNets that were chosen before, to choose again.
    pub controlnets: Vec<PathBuf>,
    /// The format of new pictures.
    pub format: FileFormat,
    /// Which settings are written into pictures.
    pub written: WrittenSettings,
    /// What is shown of unfinished pictures.
    pub previews: Previews,
    /// The small autoencoder for [`Previews::Tiny`]; without one they are [`Previews::Fast`].
    pub preview_decoder: Option<PathBuf>,
    /// Whether the system tells when the last job is done and the window is not in front.
    pub notify: bool,
    /// Whether panels open at once.
    pub reduce_motion: bool,
    /// Where the networks run.
    pub device: DeviceChoice,
    /// Keys of commands.
    pub shortcuts: Shortcuts,
}

impl Preferences {
    /// The scales to choose from.
    pub const SCALES: [f32; 6] = [0.8, 0.9, 1.0, 1.25, 1.5, 2.0];

    /// Where adapters that are given by name are looked for.
    pub fn adapter_folders(&self) -> AdapterFolders {
        AdapterFolders {
            lora: Some(self.lora_folder.clone()),
            embeddings: Some(self.embeddings_folder.clone()),
        }
    }

    /// The small autoencoder that shows unfinished pictures, where one is to.
    pub fn preview_decoder_in_use(&self) -> Option<&PathBuf> {
        self.preview_decoder.as_ref().filter(|_| self.previews == Previews::Tiny)
    }
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: ThemeChoice::default(),
            scale: 1.0,
            language: Language::of_system(),
            pictures_folder: default_pictures_folder(),
            model_folders: Vec::new(),
            wildcards_folder: places::data_folder().join("wildcards"),
            lora_folder: places::data_folder().join("loras"),
            embeddings_folder: places::data_folder().join("embeddings"),
            vae_files: Vec::new(),
            controlnets: Vec::new(),
            format: FileFormat::default(),
            written: WrittenSettings::default(),
            previews: Previews::default(),
            preview_decoder: None,
            notify: true,
            reduce_motion: false,
            device: DeviceChoice::default(),
            shortcuts: Shortcuts::default(),
        }
    }
}

/// `Emberbrush` in the person's folder of pictures, or in the home or current folder.
fn default_pictures_folder() -> PathBuf {
    let folders = UserDirs::new();
    folders
        .as_ref()
        .map(|folders| folders.picture_dir().unwrap_or(folders.home_dir()).to_owned())
        .unwrap_or_default()
        .join("Emberbrush")
}
