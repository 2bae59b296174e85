//! The command line: raw arguments, and what they mean.

mod editing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use editing::EditingArguments;
use emberbrush_pipeline::{
    checkpoint::folder::RecommendedSettings,
    device::{ComputeDtype, DeviceChoice},
    diffusion::DiffusionPipeline,
    editing::Sources,
    picture::FileFormat,
    request::{GenerationRequest, Mode},
    rng::RngSource,
    schedulers::{Sampler, Schedule},
};

/// Pictures from words, on your own machine.
#[derive(Debug, Parser)]
#[command(name = "emberbrush", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make pictures from a prompt.
    Generate(Box<GenerateArguments>),
    /// Tell what a checkpoint is.
    Inspect(InspectArguments),
    /// List the devices that can run the networks.
    Devices(DevicesArguments),
    /// Measure how fast this machine runs a checkpoint.
    Bench(BenchArguments),
}

impl Command {
    /// Whether output is JSON, one object a line.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Generate(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Devices(arguments) => arguments.json,
            Self::Bench(arguments) => arguments.json,
        }
    }
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// What to draw. May be left out with --mask and --extend, where the surroundings then decide,
    /// and with --upscale.
    #[arg(required_unless_present_any = ["mask", "extend", "upscale"])]
    pub(crate) prompt: Option<String>,
    /// What to keep away from.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) negative: String,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Number of denoising steps [default: the checkpoint's, or 20].
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Weight of the prompt (guidance scale); 1 turns guidance off [default: the checkpoint's, or 7.5].
    #[arg(long, value_name = "X")]
    pub(crate) cfg: Option<f64>,
    /// How a step is made: ddim, pndm, euler, euler-a, dpmpp-2m [default: the checkpoint's].
    #[arg(long)]
    pub(crate) sampler: Option<Sampler>,
    /// How noise levels are spaced: automatic, karras.
    #[arg(long, default_value = "automatic")]
    pub(crate) schedule: Schedule,
    /// Seed of the first picture; picture k has seed + k [default: a random one].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Whose numbers a seed gives: torch (diffusers on a CPU) or philox (A1111's "NV").
    #[arg(long, default_value = "torch")]
    pub(crate) rng: RngSource,
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
    /// Side in pixels of the tiles in which the autoencoder works, to save memory; 0 for none
    /// [default: 512 for pictures of more than 1024×1024].
    #[arg(long, value_name = "N")]
    pub(crate) vae_tile: Option<u32>,
    #[command(flatten)]
    pub(crate) editing: EditingArguments,
    /// A .png, .jpg, .webp, .tiff or .bmp file, or a folder in which files are named by seed and
    /// prompt. A file that exists is never overwritten: the next free number is added to the name.
    #[arg(short, long, value_name = "FILE-or-FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Format of files in a folder: png, jpeg, webp, tiff, bmp [default: png].
    #[arg(long, value_name = "FORMAT")]
    pub(crate) output_format: Option<FileFormat>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which checkpoint, and where it runs.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// A checkpoint folder in Hugging Face layout [default: the model in the box].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,
    /// Type of weights and activations.
    #[arg(long, value_enum, default_value_t = DtypeArgument::Auto)]
    pub(crate) dtype: DtypeArgument,
    /// auto, cpu, wgpu or wgpu:N (see `emberbrush devices`).
    #[arg(long, value_name = "D", default_value = "auto")]
    pub(crate) device: DeviceChoice,
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
    /// A checkpoint folder in Hugging Face layout.
    pub(crate) model: PathBuf,
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
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl GenerateArguments {
    /// Refuses what no checkpoint could change, before one is loaded.
    pub(crate) fn check(&self) -> Result<(), emberbrush_pipeline::error::PipelineError> {
        let defaults = Defaults {
            recommended: RecommendedSettings::default(),
            sampler: Sampler::Dpmpp2m,
            native_side: 512,
            is_inpainting_model: false,
            random_seed: 0,
        };
        self.request_with(&defaults, None).check()
    }

    /// What the pictures start from. The strength may be the checkpoint's choice, too.
    pub(crate) fn mode(&self, is_inpainting_model: bool) -> Mode {
        let has_prompt = self.prompt.as_ref().is_some_and(|prompt| !prompt.trim().is_empty());
        self.editing.mode(is_inpainting_model, has_prompt)
    }

    /// The request that these arguments mean for a checkpoint, and for pictures to start from.
    pub(crate) fn request(
        &self,
        pipeline: &DiffusionPipeline,
        sources: Option<&Sources>,
        random_seed: u64,
    ) -> GenerationRequest {
        let defaults = Defaults {
            recommended: pipeline.recommended(),
            sampler: pipeline.default_sampler(),
            native_side: pipeline.native_side(),
            is_inpainting_model: pipeline.is_inpainting_model(),
            random_seed,
        };
        self.request_with(&defaults, sources)
    }

    fn request_with(&self, defaults: &Defaults, sources: Option<&Sources>) -> GenerationRequest {
        let recommended = defaults.recommended;
        let mode = self.mode(defaults.is_inpainting_model);
        let (width, height) = sources
            .map(|sources| sources.working_size(&mode, defaults.native_side))
            .or(recommended.width.zip(recommended.height))
            .unwrap_or((defaults.native_side, defaults.native_side));
        let variations = if matches!(mode, Mode::Inpaint(_)) && !self.editing.raw { 3 } else { 1 };
        GenerationRequest {
            mode,
            prompt: self.prompt.clone().unwrap_or_default(),
            negative_prompt: self.negative.clone(),
            width: self.width.unwrap_or(width),
            height: self.height.unwrap_or(height),
            steps: self.steps.or(recommended.steps).unwrap_or(20),
            guidance_scale: self.cfg.or(recommended.guidance_scale).unwrap_or(7.5),
            sampler: self.sampler.unwrap_or(defaults.sampler),
            schedule: self.schedule,
            seed: self.seed.unwrap_or(defaults.random_seed),
            rng: self.rng,
            count: self.count.unwrap_or(variations),
        }
    }
}

/// What stands in for arguments that are absent.
struct Defaults {
    recommended: RecommendedSettings,
    sampler: Sampler,
    native_side: u32,
    is_inpainting_model: bool,
    random_seed: u64,
}
