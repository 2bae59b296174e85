//! What a run takes beside its checkpoint and its shapes: long prompts, adapters, previews.

use std::path::PathBuf;

use super::PreviewMemory;
use crate::{
    adapters::{AdaptedNetwork, AdapterFolders, LoraFile, Merge},
    prompt::PromptSyntax,
};

/// What decides the memory of a run that is not begun, beside its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanContext {
    /// How prompts are read.
    pub prompt_syntax: PromptSyntax,
    /// Where adapters that are given by name are looked for.
    pub adapter_folders: AdapterFolders,
    /// The small autoencoder that shows unfinished pictures.
    pub preview_decoder: Option<PathBuf>,
}

/// How long the prompts of a picture are. A chunk is what a text encoder reads at once, 77 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    /// Prompts that `AND` joins, from 1.
    pub prompts: usize,
    /// Chunks of the negative prompt.
    pub negative_chunks: usize,
    /// Chunks of each prompt.
    pub positive_chunks: usize,
    /// Chunks of all that the prompts say over the steps, which is held encoded.
    pub encoded_chunks: usize,
}

impl PromptSize {
    /// One short prompt, and a short negative one.
    pub const SHORT: Self =
        Self { prompts: 1, negative_chunks: 1, positive_chunks: 1, encoded_chunks: 2 };
}

/// What a run adds to its checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Additions {
    pub(crate) prompts: PromptSize,
    pub(crate) adapters: AdapterMemory,
    pub(crate) preview: Option<PreviewMemory>,
}

/// What adapters take once they are merged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdapterMemory {
    /// Elements of the text encoders' weights that change.
    pub(super) text_elements: u64,
    /// Elements of the UNet's weights that change.
    pub(super) unet_elements: u64,
    /// Elements of the largest weight that changes.
    pub(super) largest: u64,
    /// Bytes of the adapters' files.
    pub(super) file_bytes: u64,
}

impl AdapterMemory {
    pub(crate) fn new<'a>(merge: &Merge, files: impl Iterator<Item = &'a LoraFile>) -> Self {
        let elements = |networks: &[AdaptedNetwork]| -> u64 {
            networks.iter().map(|network| merge.network(*network).elements().sum::<u64>()).sum()
        };
        let largest = AdaptedNetwork::ALL
            .iter()
            .filter_map(|network| merge.network(*network).elements().max())
            .max();
        Self {
            text_elements: elements(&[AdaptedNetwork::TextEncoder, AdaptedNetwork::TextEncoder2]),
            unet_elements: elements(&[AdaptedNetwork::UNet]),
            largest: largest.unwrap_or(0),
            file_bytes: files.map(LoraFile::bytes).sum(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
