//! CLIP text encoders: from a prompt to token ids, and from those to hidden states.

pub mod config;
mod ftfy;
pub mod keys;
pub mod model;
pub mod tokenizer;

pub use config::ClipTextConfig;
pub use model::{ClipTextModel, ClipTextOutput, ForwardError};
pub use tokenizer::{Encoded, Tokenizer, TokenizerError, TokenizerSettings};
