//! Arguments of `prompt`.

use std::path::PathBuf;

use clap::Args;

use super::adapters::EmbeddingArguments;

/// Arguments of `prompt`.
#[derive(Debug, Args)]
pub(crate) struct PromptArguments {
    /// The prompt; `-` reads it from standard input.
    pub(crate) text: String,
    /// The checkpoint whose tokens are counted [default: the model in the box].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,
    /// Number of steps that changes of the prompt are spread over [default: the checkpoint's, or
    /// 20].
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Read the prompt as for the second pass of --hires, after a first pass of so many steps.
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u32>,
    /// The seed that chooses among {alternatives|of} words and wildcards.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// A folder in which `name.txt` holds the lines of which the prompt's `__name__` stands for one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) wildcards: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) embeddings: EmbeddingArguments,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
