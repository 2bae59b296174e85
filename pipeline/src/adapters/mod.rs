//! What is added to a checkpoint: low-rank adapters (LoRA, LoCon, LoHa, LoKr, DoRA), which change
//! its weights, and textual inversion, which gives it words.

mod decomposition;
mod folders;
mod list;
mod lora_file;
mod merge;
mod names;
mod selection;
mod textual_inversion;

use emberbrush_layers::weights::WeightError;
use thiserror::Error;

pub use folders::{AdapterFolders, FoundFile, FoundLora, names};
pub use list::{AdapterKind, Compatibility, ListedAdapter, list};
pub use lora_file::LoraFile;
pub use merge::{AdaptedWeights, Merge, NetworkMerge, UnusedKeys, WeightedLora};
pub use names::{AdaptedNetwork, LayerNames};
pub use selection::{AdapterSelection, BadLora, LoraSelection, MAX_LORA_WEIGHT};
pub use textual_inversion::{Embedding, EncoderVectors};

use crate::checkpoint::{CheckpointError, folder::Family};

/// Why an adapter cannot be used.
#[derive(Debug, Error)]
pub enum AdapterError {
    /// There is no such adapter.
    #[error("{file}: {place}")]
    NotFound {
        /// What was asked for.
        file: String,
        /// Where it was looked for.
        place: String,
    },
    /// The file is broken, or of another format.
    #[error(transparent)]
    File(Box<CheckpointError>),
    /// The file holds something else.
    #[error(
        "{path}: this is no LoRA, LoCon, LoHa or LoKr: no key is of a kind that is known, and the \
         first is `{example}`"
    )]
    NoAdapter {
        /// The file.
        path: String,
        /// A key in it.
        example: String,
    },
    /// Half of a product is missing.
    #[error("{path}: `{key}` is missing, which belongs to `{present}`; the file is incomplete")]
    MissingPart {
        /// The file.
        path: String,
        /// The key that is missing.
        key: String,
        /// The key that is there.
        present: String,
    },
    /// A layer has the parts of several kinds of adapters, or too few of one.
    #[error("{path}: the tensors of the layer `{layer}` do not make one whole adapter")]
    Parts {
        /// The file.
        path: String,
        /// The layer's name in the file.
        layer: String,
    },
    /// Tensors that are multiplied have different ranks.
    #[error(
        "{path}: `{first}` of shape {first_shape:?} and `{second}` of shape {second_shape:?} have \
         different ranks; the file is damaged"
    )]
    Ranks {
        /// The file.
        path: String,
        /// A key.
        first: String,
        /// Its tensor's shape.
        first_shape: Box<[usize]>,
        /// The other key.
        second: String,
        /// Its tensor's shape.
        second_shape: Box<[usize]>,
    },
    /// A layer has another shape than the checkpoint's.
    #[error(
        "{path}: this adapter{} does not fit {checkpoint}: `{key}` changes a weight of {} outputs \
         and {} inputs, but that of the checkpoint has shape {expected:?}", of_family(*family),
        found[0], found[1]
    )]
    Shape {
        /// The file.
        path: String,
        /// A key of the layer.
        key: String,
        /// What the adapter was trained for.
        family: Option<Family>,
        /// Rows and columns that it changes.
        found: [usize; 2],
        /// The checkpoint's name.
        checkpoint: String,
        /// The shape of the checkpoint's weight.
        expected: Box<[usize]>,
    },
    /// The file holds no embedding.
    #[error(
        "{path}: this is no embedding of textual inversion: `{key}` is not a list of at most 75 \
         vectors"
    )]
    NoEmbedding {
        /// The file.
        path: String,
        /// A key in it.
        key: String,
    },
    /// An embedding has vectors of other widths than the checkpoint's text encoders.
    #[error(
        "{path}: this embedding{} does not fit {checkpoint}: its vectors have {found} channels, \
         and those of the text encoders {expected}", of_family(*family)
    )]
    EmbeddingShape {
        /// The file.
        path: String,
        /// What the embedding was trained for.
        family: Option<Family>,
        /// The widths of its vectors.
        found: String,
        /// The checkpoint's name.
        checkpoint: String,
        /// The widths of the text encoders.
        expected: String,
    },
    /// A tensor could not be read.
    #[error(transparent)]
    Tensor(WeightError),
    /// No layer of the checkpoint has a name that the adapter changes.
    #[error(
        "{path}: this adapter{} does not fit {checkpoint}: the checkpoint has none of its layers, \
         such as that of `{key}`", of_family(*family)
    )]
    NothingFits {
        /// The file.
        path: String,
        /// A key of it.
        key: String,
        /// What the adapter was trained for.
        family: Option<Family>,
        /// The checkpoint's name.
        checkpoint: String,
    },
}

impl From<CheckpointError> for AdapterError {
    fn from(error: CheckpointError) -> Self {
        Self::File(Box::new(error))
    }
}

fn of_family(family: Option<Family>) -> String {
    family.map(|family| format!(" for {}", family.name())).unwrap_or_default()
}
