//! The arguments of `batch`.

use std::path::PathBuf;

use clap::Args;
use emberbrush_pipeline::{
    batch::{BatchSize, FileNamePattern, Shard},
    picture::FileFormat,
    prompt::PromptSyntax,
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};
use serde_json::{Map, Value, json};

use super::{AdapterArguments, EffortArguments, ModelArguments, control::ControlArguments};

/// How files are called by default.
pub(super) const DEFAULT_NAME: &str = "{index}-{seed}-{prompt}";

/// Arguments of `batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArguments {
    /// A .txt file with a prompt a line, a .csv file whose header names fields (prompt, negative,
    /// seed, steps, cfg, sampler, schedule, width, height, count, model, init, strength, control…),
    /// or a .jsonl file with an object of such fields a line.
    pub(crate) jobs: PathBuf,
    /// The folder of the pictures and of manifest.jsonl. The same command goes on where it was
    /// interrupted.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// File names without extension, of {index} {seed} {prompt} {model} {sampler} {steps} {cfg}
    /// {width} {height} {date}.
    #[arg(long, value_name = "PATTERN", default_value = DEFAULT_NAME)]
    pub(crate) name: FileNamePattern,
    /// Format of the files: png, jpeg, webp, tiff, bmp.
    #[arg(long, value_name = "FORMAT", default_value = "png")]
    pub(crate) output_format: FileFormat,
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
    /// Make every K-th of N pictures only, so that N processes or machines make them together.
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    pub(crate) shard: Shard,
    /// How many pictures go through the UNet at once: auto, or 1 to 16. More than 1 may change
    /// single colours by 1 of 255.
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(crate) batch_size: BatchSize,
    /// Make every combination of the parts of a prompt that `|` separates: `a cat|oil|8k` gives
    /// four prompts.
    #[arg(long)]
    pub(crate) matrix: bool,
    /// A folder in which `name.txt` holds the lines of which a prompt's `__name__` stands for one
    /// [default: the folder `wildcards` beside the job file].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) wildcards: Option<PathBuf>,
    /// How prompts are read: weighted, with (weights:1.2), {alternatives|of} words and any length,
    /// or literal, as diffusers reads them.
    #[arg(long, value_name = "SYNTAX", default_value = "weighted")]
    pub(crate) prompt_syntax: PromptSyntax,
    /// Write the manifest as manifest.csv, too.
    #[arg(long)]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) defaults: JobDefaults,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What counts for jobs that do not state it themselves.
#[derive(Debug, Args)]
#[command(next_help_heading = "For jobs that do not state it themselves")]
pub(crate) struct JobDefaults {
    /// What to keep away from.
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// Number of denoising steps [default: the checkpoint's, or 20].
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Weight of the prompt; 1 turns guidance off [default: the checkpoint's, or 7.5].
    #[arg(long, value_name = "X")]
    cfg: Option<f64>,
    /// How a step is made [default: the checkpoint's].
    #[arg(long)]
    sampler: Option<Sampler>,
    /// How noise levels are spaced [default: automatic].
    #[arg(long)]
    schedule: Option<Schedule>,
    /// Seed of the first picture; picture k has seed + k [default: seeds from the job file].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Whose numbers a seed gives: torch or philox [default: torch].
    #[arg(long)]
    rng: Option<RngSource>,
    /// Width in pixels, a multiple of 8 [default: the checkpoint's].
    #[arg(long, value_name = "W")]
    width: Option<u32>,
    /// Height in pixels, a multiple of 8 [default: the checkpoint's].
    #[arg(long, value_name = "H")]
    height: Option<u32>,
    /// Pictures of each job [default: 1].
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    #[command(flatten)]
    pub(crate) adapters: AdapterArguments,
    #[command(flatten)]
    control: ControlArguments,
}

impl JobDefaults {
    /// The fields that the flags state.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let all = [
            ("negative", json!(self.negative)),
            ("steps", json!(self.steps)),
            ("cfg", json!(self.cfg)),
            ("sampler", json!(self.sampler)),
            ("schedule", json!(self.schedule)),
            ("rng", json!(self.rng)),
            ("width", json!(self.width)),
            ("height", json!(self.height)),
            ("count", json!(self.count)),
            ("lora", json!(self.adapters.stated_loras())),
            ("embedding", json!(self.adapters.stated_embeddings())),
        ];
        let stated = all.into_iter().filter(|(_, value)| !value.is_null());
        let stated = stated.map(|(field, value)| (field.to_owned(), value));
        stated.chain(self.control.fields()).collect()
    }
}
