//! The arguments of `grid`.

use std::path::PathBuf;

use clap::Args;
use emberbrush_pipeline::{
    batch::{Axis, BatchSize, PatternError, Shard},
    picture::FileFormat,
    prompt::PromptSyntax,
};

use super::{
    BatchArguments, EffortArguments, ModelArguments,
    batch::{DEFAULT_NAME, JobDefaults},
};

/// Arguments of `grid`.
#[derive(Debug, Args)]
pub(crate) struct GridArguments {
    /// What to draw.
    pub(crate) prompt: String,
    /// A field and its values for the columns, such as sampler=euler,ddim or
    /// prompt="a cat, asleep",a dog.
    #[arg(long, value_name = "FIELD=VALUES")]
    pub(crate) x: Axis,
    /// A field and its values for the rows.
    #[arg(long, value_name = "FIELD=VALUES")]
    pub(crate) y: Option<Axis>,
    /// The folder of the pictures, of sheet.png and of manifest.jsonl. The same command goes on
    /// where it was interrupted.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Format of the single pictures: png, jpeg, webp, tiff, bmp.
    #[arg(long, value_name = "FORMAT", default_value = "png")]
    output_format: FileFormat,
    #[command(flatten)]
    effort: EffortArguments,
    /// How many pictures go through the UNet at once: auto, or 1 to 16. More than 1 may change
    /// single colours by 1 of 255.
    #[arg(long, value_name = "N", default_value = "auto")]
    batch_size: BatchSize,
    /// A folder in which `name.txt` holds the lines of which a prompt's `__name__` stands for one.
    #[arg(long, value_name = "FOLDER")]
    wildcards: Option<PathBuf>,
    /// How prompts are read: weighted, with (weights:1.2), {alternatives|of} words and any length,
    /// or literal, as diffusers reads them.
    #[arg(long, value_name = "SYNTAX", default_value = "weighted")]
    prompt_syntax: PromptSyntax,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    defaults: JobDefaults,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl GridArguments {
    /// The batch that makes the pictures.
    pub(crate) fn into_batch(self) -> Result<BatchArguments, PatternError> {
        Ok(BatchArguments {
            jobs: PathBuf::from("the grid"),
            output: self.output,
            name: DEFAULT_NAME.parse()?,
            output_format: self.output_format,
            effort: self.effort,
            shard: Shard::default(),
            batch_size: self.batch_size,
            matrix: false,
            wildcards: self.wildcards,
            prompt_syntax: self.prompt_syntax,
            csv: false,
            model: self.model,
            defaults: self.defaults,
            json: self.json,
        })
    }
}
