//! Reading checkpoints: files, layouts and families.

pub mod clip_tokenizer;
pub mod component;
pub mod controlnet;
pub mod few_steps;
pub mod files;
pub mod folder;
pub mod inspect;
pub mod pickle;
pub mod safetensors_file;
pub mod single_file;
pub mod tensor_file;
pub mod vae_override;

pub use emberbrush_layers::weights::WeightError;
use thiserror::Error;

/// Why a checkpoint could not be loaded.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// There is nothing at the path.
    #[error("{path}: there is no such file or folder")]
    NotFound {
        /// The path that was given.
        path: String,
    },
    /// The folder is not a checkpoint.
    #[error(
        "{path}: this folder has no model_index.json, so it is not a checkpoint in Hugging Face \
         layout. Give the folder that holds model_index.json, unet, vae and text_encoder"
    )]
    NotACheckpoint {
        /// The path that was given.
        path: String,
    },
    /// Something that is known, and not supported.
    #[error("{path}: {reason}")]
    Unsupported {
        /// The path that was given.
        path: String,
        /// What it is and what to do.
        reason: String,
    },
    /// A file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A configuration is not what it should be.
    #[error("{path}: not understood: {source}")]
    Json {
        /// The file.
        path: String,
        /// The parser's answer, with line and column.
        source: serde_json::Error,
    },
    /// A network has no weights at all.
    #[error("{path}: there are no .safetensors or .bin weights in this folder")]
    NoWeights {
        /// The network's folder.
        path: String,
    },
    /// A shard does not hold what the index promises.
    #[error("{path}: the index names the tensor `{key}`, but no shard holds it")]
    ShardWithout {
        /// The index.
        path: String,
        /// The tensor.
        key: String,
    },
    /// A safetensors file was refused.
    #[error(transparent)]
    Safetensors(#[from] safetensors_file::SafetensorsError),
    /// A file of `torch.save` was refused.
    #[error(transparent)]
    Pickle(#[from] pickle::PickleError),
    /// A network could not be built from its weights.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The tokenizer could not be built.
    #[error("{path}: {reason}")]
    Tokenizer {
        /// The tokenizer's folder.
        path: String,
        /// What is wrong.
        reason: String,
    },
}
