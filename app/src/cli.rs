//! The command line: raw arguments, and what they mean.

mod adapters;
mod batch;
mod conditioning;
mod control;
pub(crate) mod editing;
mod fewer_operations;
mod grid;
mod memory;
pub(crate) mod models;
mod previews;
mod prompt;

use std::path::PathBuf;

pub(crate) use adapters::AdapterArguments;
pub(crate) use batch::BatchArguments;
use clap::{Args, Parser, Subcommand, ValueEnum};
use conditioning::ConditioningArguments;
use control::ControlArguments;
use editing::EditingArguments;
use emberbrush_pipeline::{
    batch::BatchSize,
    device::{ComputeDtype, DeviceChoice},
    diffusion::{CheckpointDefaults, VaeTiling},
    editing::Sources,
    memory::MemorySettings,
    picture::{Effort, FileFormat, PngCompression},
    prompt::PromptSyntax,
    request::{FieldError, GenerationRequest, Mode},
    rng::RngSource,
    schedulers::{Compat, Sampler, Schedule},
};
use fewer_operations::FewerOperationsArguments;
pub(crate) use grid::GridArguments;
use memory::MemoryArguments;
use models::ModelsArguments;
use previews::PreviewArguments;
pub(crate) use prompt::PromptArguments;
use serde_json::{Map, Value};

use crate::model::ModelPlace;

/// Pictures from words, on your own machine. Without a command, the window opens.
#[derive(Debug, Parser)]
#[command(name = "emberbrush", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make pictures from a prompt.
    Generate(Box<GenerateArguments>),
    /// Tell how much memory a run would take, and how it would be made to fit. Takes the flags of
    /// generate, and makes nothing.
    Plan(Box<GenerateArguments>),
    /// Make many pictures from a list of jobs.
    Batch(Box<BatchArguments>),
    /// Make a table of pictures that differ in one or two settings.
    Grid(Box<GridArguments>),
    /// Tell how a prompt is read: weights, changes over the steps, tokens, LoRAs.
    Prompt(PromptArguments),
    /// Print the settings that an image carries.
    Settings(SettingsArguments),
    /// Tell what a checkpoint is.
    Inspect(InspectArguments),
    /// Look after the library of models: list, add, pull, remove, verify, convert.
    Models(ModelsArguments),
    /// List the devices that can run the networks.
    Devices(DevicesArguments),
    /// Measure how fast this machine runs a checkpoint.
    Bench(BenchArguments),
}

impl Command {
    /// Whether output is JSON, one object a line.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Generate(arguments) | Self::Plan(arguments) => arguments.json,
            Self::Batch(arguments) => arguments.json,
            Self::Grid(arguments) => arguments.json,
            Self::Prompt(arguments) => arguments.json,
            Self::Settings(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Models(arguments) => arguments.command.json(),
            Self::Devices(arguments) => arguments.json,
            Self::Bench(arguments) => arguments.json,
        }
    }
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// What to draw. May be left out with --mask and --extend, where the surroundings then decide,
    /// with --upscale, and with --from.
    #[arg(required_unless_present_any = ["mask", "extend", "upscale", "from"])]
    pub(crate) prompt: Option<String>,
    /// Make the picture again whose settings this image carries. Flags replace single settings.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) from: Option<PathBuf>,
    /// A folder in which `name.txt` holds the lines of which the prompt's `__name__` stands for one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) wildcards: Option<PathBuf>,
    /// How prompts are read: weighted, with (weights:1.2), {alternatives|of} words and any length,
    /// or literal, as diffusers reads them [default: weighted].
    #[arg(long, value_name = "SYNTAX")]
    pub(crate) prompt_syntax: Option<PromptSyntax>,
    /// What to keep away from [default: nothing in particular].
    #[arg(long, value_name = "TEXT")]
    pub(crate) negative: Option<String>,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Number of denoising steps [default: the checkpoint's, or 20].
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Weight of the prompt (guidance scale); 1 turns guidance off [default: the checkpoint's, or 7.5].
    #[arg(long, value_name = "X")]
    pub(crate) cfg: Option<f64>,
    /// How a step is made: euler, euler-a, heun, lms, dpm2, dpm2-a, dpmpp-2s, dpmpp-2s-a, dpmpp-2m,
    /// dpmpp-sde, dpmpp-2m-sde, dpmpp-3m-sde, ddim, ddpm, pndm, unipc, deis, lcm, tcd, restart
    /// [default: the checkpoint's].
    #[arg(long)]
    pub(crate) sampler: Option<Sampler>,
    /// How noise levels are spaced: automatic, karras, exponential, polyexponential, sgm-uniform,
    /// simple, normal, ddim-uniform, beta, linear-quadratic, kl-optimal, ays [default: automatic].
    #[arg(long)]
    pub(crate) schedule: Option<Schedule>,
    #[command(flatten)]
    pub(crate) conditioning: ConditioningArguments,
    #[command(flatten)]
    pub(crate) fewer_operations: FewerOperationsArguments,
    /// Seed of the first picture; picture k has seed + k [default: a random one].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Whose numbers a seed gives: torch (diffusers on a CPU) or philox (A1111's "NV")
    /// [default: torch].
    #[arg(long)]
    pub(crate) rng: Option<RngSource>,
    /// Width in pixels, a multiple of 8 [default: the checkpoint's, or one that suits --init].
    /// With --mask it is the size that the model works at.
    #[arg(long, value_name = "W")]
    pub(crate) width: Option<u32>,
    /// Height in pixels, a multiple of 8 [default: as for the width].
    #[arg(long, value_name = "H")]
    pub(crate) height: Option<u32>,
    /// Number of pictures [default: 1; 3 variations with --mask].
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u32>,
    /// How many pictures go through the UNet at once: auto, or 1 to 16. More than 1 may change
    /// single colours by 1 of 255.
    #[arg(long, value_name = "N", default_value = "auto")]
    pub(crate) batch_size: BatchSize,
    /// Side in pixels of the tiles in which the autoencoder works, to save memory; 0 for none
    /// [default: 512 for pictures of more than 1024×1024].
    #[arg(long, value_name = "N")]
    pub(crate) vae_tile: Option<u32>,
    #[command(flatten)]
    pub(crate) adapters: AdapterArguments,
    #[command(flatten)]
    pub(crate) editing: EditingArguments,
    #[command(flatten)]
    pub(crate) control: ControlArguments,
    #[command(flatten)]
    pub(crate) previews: PreviewArguments,
    /// A .png, .jpg, .webp, .tiff or .bmp file, or a folder in which files are named by seed and
    /// prompt. A file that exists is never overwritten: the next free number is added to the name.
    #[arg(short, long, value_name = "FILE-or-FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Format of files in a folder: png, jpeg, webp, tiff, bmp [default: png].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<FileFormat>,
    #[command(flatten)]
    pub(crate) effort: EffortArguments,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How hard encoders of files try.
#[derive(Debug, Args)]
pub(crate) struct EffortArguments {
    /// Quality of JPEG and WebP files, from 1 to 100 [default: 95 for JPEG; WebP loses nothing].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
    /// Compression of PNG files.
    #[arg(long, value_enum, default_value_t = CompressionArgument::Balanced)]
    png_compression: CompressionArgument,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressionArgument {
    Fast,
    Balanced,
    High,
}

impl EffortArguments {
    /// What the arguments mean.
    pub(crate) fn effort(&self) -> Effort {
        Effort {
            quality: self.quality,
            png_compression: match self.png_compression {
                CompressionArgument::Fast => PngCompression::Fast,
                CompressionArgument::Balanced => PngCompression::Balanced,
                CompressionArgument::High => PngCompression::High,
            },
        }
    }
}

/// Arguments of `settings`.
#[derive(Debug, Args)]
pub(crate) struct SettingsArguments {
    /// A PNG, JPEG or WebP file of Emberbrush, AUTOMATIC1111, Forge, ComfyUI, Fooocus or InvokeAI.
    pub(crate) image: PathBuf,
    /// Print one JSON object, by the names of the flags.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which checkpoint, and where it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArguments {
    /// A checkpoint: a folder in Hugging Face layout, a single .safetensors or .ckpt file, or a model
    /// of the library by name [default: the model in the box].
    #[arg(long, value_name = "PATH-or-NAME")]
    pub(crate) model: Option<PathBuf>,
    /// A folder in Hugging Face layout whose configuration files go before those that --model, a
    /// single file, is taken to have [default: what its tensors tell].
    #[arg(long, value_name = "FOLDER", requires = "model")]
    pub(crate) config: Option<PathBuf>,
    /// An autoencoder in place of the checkpoint's own: a folder, a file of Stable Diffusion's, or
    /// TAESD, which is small and fast.
    #[arg(long, value_name = "PATH")]
    pub(crate) vae: Option<PathBuf>,
    /// Type of weights and activations.
    #[arg(long, value_enum, default_value_t = DtypeArgument::Auto)]
    pub(crate) dtype: DtypeArgument,
    /// auto, cpu, wgpu or wgpu:N (see `emberbrush devices`).
    #[arg(long, value_name = "D", default_value = "auto")]
    pub(crate) device: DeviceChoice,
    #[command(flatten)]
    pub(crate) memory: MemoryArguments,
}

impl ModelArguments {
    /// Where the checkpoint is.
    pub(crate) fn place(&self) -> ModelPlace<'_> {
        ModelPlace {
            path: self.model.as_deref(),
            config: self.config.as_deref(),
            vae: self.vae.as_deref(),
        }
    }
}

/// The names of [`ComputeDtype`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DtypeArgument {
    /// f16 on a GPU that has it, f32 elsewhere.
    Auto,
    F32,
    F16,
    Bf16,
}

impl From<DtypeArgument> for ComputeDtype {
    fn from(argument: DtypeArgument) -> Self {
        match argument {
            DtypeArgument::Auto => Self::Auto,
            DtypeArgument::F32 => Self::F32,
            DtypeArgument::F16 => Self::F16,
            DtypeArgument::Bf16 => Self::Bf16,
        }
    }
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// A checkpoint: a folder in Hugging Face layout, a single file, or a model of the library by
    /// name.
    pub(crate) model: PathBuf,
    /// A folder whose configuration files go before those that a single file is taken to have.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArguments {
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Width in pixels [default: the checkpoint's].
    #[arg(long, value_name = "W")]
    pub(crate) width: Option<u32>,
    /// Height in pixels [default: the checkpoint's].
    #[arg(long, value_name = "H")]
    pub(crate) height: Option<u32>,
    /// Number of measured UNet steps, of which the median is told.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) steps: u32,
    /// Make so many pictures of that many steps by the networks alone, and again as a job set, and
    /// compare the times.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) pictures: Option<u32>,
    /// Make so many pictures of that many steps in full and with each of the flags that leave
    /// operations out, and compare times and pictures.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "pictures",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) savings: Option<u32>,
    /// How many pictures of the job set go through the UNet at once: auto, or 1 to 16.
    #[arg(long, value_name = "N", default_value = "auto", requires = "pictures")]
    pub(crate) batch_size: BatchSize,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl GenerateArguments {
    /// Refuses what no checkpoint could change, before one is loaded.
    pub(crate) fn check(&self, from: &Map<String, Value>) -> anyhow::Result<()> {
        Ok(self.request_with(&Defaults::WITHOUT_CHECKPOINT, None, from)?.check()?)
    }

    /// What the flags say that pictures start from. The strength may be the checkpoint's choice,
    /// too.
    fn mode(&self, checkpoint: &CheckpointDefaults) -> Mode {
        self.editing.mode(checkpoint, self.prompt.as_deref().unwrap_or_default())
    }

    /// What pictures start from, by the flags or else by the image that is made again.
    pub(crate) fn source_mode(&self, from: &Map<String, Value>) -> Result<Mode, FieldError> {
        Ok(self.request_with(&Defaults::WITHOUT_CHECKPOINT, None, from)?.mode)
    }

    /// What a run is made with where memory allows it.
    pub(crate) fn wanted_memory(&self) -> MemorySettings {
        let vae_tiling = match self.vae_tile {
            None => VaeTiling::Automatic,
            Some(0) => VaeTiling::Off,
            Some(pixels) => VaeTiling::Tiles(pixels),
        };
        MemorySettings { vae_tiling, ..MemorySettings::FULL }
    }

    /// The request that these arguments mean for a checkpoint, and for pictures to start from.
    pub(crate) fn request(
        &self,
        checkpoint: CheckpointDefaults,
        sources: Option<&Sources>,
        from: &Map<String, Value>,
        random_seed: u64,
    ) -> Result<GenerationRequest, FieldError> {
        let defaults = Defaults { checkpoint, random_seed };
        self.request_with(&defaults, sources, from)
    }

    /// `from` holds the settings of an image that is made again.
    fn request_with(
        &self,
        defaults: &Defaults,
        sources: Option<&Sources>,
        from: &Map<String, Value>,
    ) -> Result<GenerationRequest, FieldError> {
        let CheckpointDefaults { recommended, native_side, .. } = defaults.checkpoint;
        let random_seed = defaults.random_seed;
        let mode = self.mode(&defaults.checkpoint);
        let (width, height) = sources
            .map(|sources| sources.working_size(&mode, native_side))
            .or(recommended.width.zip(recommended.height))
            .unwrap_or((native_side, native_side));
        let fills = matches!(mode, Mode::Inpaint(_)) && !self.editing.raw;
        let variations = if fills && from.is_empty() { 3 } else { 1 };
        let defaults = GenerationRequest { width, height, count: variations, ..defaults.request() };
        let base = defaults.with_fields(from)?.with_fields(&self.control.fields())?;
        // A1111's numbers come with its samplers, unless the picture has others.
        let own_rng = (self.conditioning.compat == Some(Compat::A1111)
            && !from.contains_key("rng"))
        .then_some(RngSource::Philox);
        Ok(GenerationRequest {
            mode: if mode == Mode::TextToImage { base.mode } else { mode },
            prompt: self.prompt.clone().unwrap_or(base.prompt),
            negative_prompt: self.negative.clone().unwrap_or(base.negative_prompt),
            width: self.width.unwrap_or(base.width),
            height: self.height.unwrap_or(base.height),
            steps: self.steps.unwrap_or(base.steps),
            guidance_scale: self.cfg.unwrap_or(base.guidance_scale),
            sampler: self.sampler.unwrap_or(base.sampler),
            schedule: self.schedule.unwrap_or(base.schedule),
            compat: self.conditioning.compat.unwrap_or(base.compat),
            conditioning: self.conditioning.over(base.conditioning, random_seed),
            fewer_operations: self.fewer_operations.over(base.fewer_operations),
            seed: self.seed.unwrap_or(base.seed),
            rng: self.rng.or(own_rng).unwrap_or(base.rng),
            count: self.count.unwrap_or(base.count),
            adapters: self.adapters.selection(base.adapters),
            control: base.control,
        })
    }
}

/// What stands in for arguments that are absent.
pub(crate) struct Defaults {
    pub(crate) checkpoint: CheckpointDefaults,
    pub(crate) random_seed: u64,
}

impl Defaults {
    /// For what no checkpoint changes.
    pub(crate) const WITHOUT_CHECKPOINT: Self =
        Self { checkpoint: CheckpointDefaults::UNKNOWN, random_seed: 0 };

    /// A request that states nothing itself.
    pub(crate) fn request(&self) -> GenerationRequest {
        let CheckpointDefaults { recommended, sampler, native_side, .. } = self.checkpoint;
        let base = GenerationRequest::new("");
        GenerationRequest {
            width: recommended.width.unwrap_or(native_side),
            height: recommended.height.unwrap_or(native_side),
            steps: recommended.steps.unwrap_or(base.steps),
            guidance_scale: recommended.guidance_scale.unwrap_or(base.guidance_scale),
            sampler,
            seed: self.random_seed,
            ..base
        }
    }
}
