//! What is added to a checkpoint.

use std::path::PathBuf;

use clap::Args;
use emberbrush_pipeline::adapters::{
    AdapterError, AdapterFolders, AdapterSelection, FoundFile, LoraSelection,
};

/// Adapters, and where they are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdapterArguments {
    /// A LoRA, LoCon, LoHa, LoKr or DoRA file that is merged into the checkpoint, or its name in
    /// --lora-dir, and how much of it, such as ink.safetensors:0.8; FILE:TEXT:UNET weighs the text
    /// encoders and the UNet apart. May be given several times.
    #[arg(long, value_name = "FILE:WEIGHT")]
    lora: Vec<LoraSelection>,
    /// The folder in which LoRAs are found by name, also those that prompts and images name.
    #[arg(long, value_name = "FOLDER")]
    lora_dir: Option<PathBuf>,
    #[command(flatten)]
    embeddings: EmbeddingArguments,
}

/// The words that prompts may use, and where they are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EmbeddingArguments {
    /// A file of textual inversion, or its name in --embeddings, which the prompt then uses by
    /// name. May be given several times.
    #[arg(long, value_name = "FILE")]
    embedding: Vec<PathBuf>,
    /// The folder whose files of textual inversion prompts use by name.
    #[arg(long, value_name = "FOLDER")]
    embeddings: Option<PathBuf>,
}

impl EmbeddingArguments {
    /// The files that are given, and those of the folder whose names occur in the prompt.
    pub(crate) fn of_prompt(&self, prompt: &str) -> Result<Vec<FoundFile>, AdapterError> {
        let selection =
            AdapterSelection { embedding: self.embedding.clone(), ..AdapterSelection::default() };
        let folders =
            AdapterFolders { embeddings: self.embeddings.clone(), ..AdapterFolders::default() };
        folders.find_embeddings(&selection, std::iter::once(prompt))
    }
}

impl AdapterArguments {
    /// Where adapters that are given by name are looked for.
    pub(crate) fn folders(&self) -> AdapterFolders {
        AdapterFolders {
            lora: self.lora_dir.clone(),
            embeddings: self.embeddings.embeddings.clone(),
        }
    }

    /// The LoRAs that are asked for, where any are.
    pub(crate) fn stated_loras(&self) -> Option<&[LoraSelection]> {
        (!self.lora.is_empty()).then_some(self.lora.as_slice())
    }

    /// The embeddings that are asked for, where any are.
    pub(crate) fn stated_embeddings(&self) -> Option<&[PathBuf]> {
        let files = &self.embeddings.embedding;
        (!files.is_empty()).then_some(files.as_slice())
    }

    /// The adapters that are asked for; where none are, those of `base`.
    pub(crate) fn selection(&self, base: AdapterSelection) -> AdapterSelection {
        AdapterSelection {
            lora: self.stated_loras().map_or(base.lora, <[_]>::to_vec),
            embedding: self.stated_embeddings().map_or(base.embedding, <[_]>::to_vec),
        }
    }
}
