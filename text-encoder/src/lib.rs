//! CLIP text encoders: from a prompt to token ids, and from those to hidden states.

mod chunks;
pub mod config;
mod ftfy;
pub mod keys;
mod memory;
pub mod model;
pub mod prompt;
mod reading;
pub mod tokenizer;

pub use chunks::Chunk;
pub use config::ClipTextConfig;
pub use model::{AddedEmbeddings, ClipTextModel, ClipTextOutput, EndToken, ForwardError};
pub use reading::{PartReading, PromptReading};
pub use tokenizer::{Encoded, Tokenizer, TokenizerError, TokenizerSettings, byte_characters};
