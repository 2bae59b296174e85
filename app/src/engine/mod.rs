//! What makes pictures for the window: commands go in, events come out, and a thread of its own
//! works in between.

mod diffusion;
mod prompt_reader;
mod worker;

use std::{fmt, ops::ControlFlow, path::PathBuf, sync::Arc, time::Duration};

pub use diffusion::DiffusionEngine;
use emberbrush_pipeline::{
    adapters::{AdapterFolders, AdapterSelection, UnusedKeys},
    checkpoint::folder::Family,
    device::{DeviceChoice, DeviceInfo},
    diffusion::CheckpointDefaults,
    memory::{PlanContext, StepDown},
    metadata::{EMBERBRUSH, PARAMETERS},
    picture::{FileFormat, Picture},
    progress::Stage,
    prompt::PromptReading,
    request::GenerationRequest,
};
use image::{DynamicImage, RgbImage};
use serde::{Deserialize, Serialize};
pub use worker::EngineHandle;

use crate::failure::Failure;

/// The number of a job, never 0 and never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// Which checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelSource {
    /// The one that is part of the program.
    #[default]
    InTheBox,
    /// A folder in Hugging Face layout, or a single file.
    Folder(PathBuf),
}

impl ModelSource {
    /// What a person knows the checkpoint by.
    pub fn name(&self) -> String {
        match self {
            Self::InTheBox => emberbrush_assets::DEFAULT_MODEL_NAME.to_owned(),
            Self::Folder(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }
}

/// What has to be loaded before pictures are made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Setup {
    /// The checkpoint.
    pub model: ModelSource,
    /// What stands in for its autoencoder: a folder or a file.
    pub vae: Option<PathBuf>,
    /// Where the networks run.
    pub device: DeviceChoice,
}

/// Pictures to start from that are in memory. The paths in the request's mode are then not read.
#[derive(Debug, Clone)]
pub struct SourcePictures {
    /// The picture to start from.
    pub init: Arc<Picture>,
    /// Where it is repainted (white), for [`emberbrush_pipeline::request::Mode::Inpaint`].
    pub mask: Option<Arc<Picture>>,
}

/// Where finished pictures go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Into a folder, named by seed and prompt.
    Folder {
        /// The folder; it is made where it is absent.
        folder: PathBuf,
        /// The format of the files.
        format: FileFormat,
    },
    /// Into one file; where it exists, the next free number is added to the name.
    File {
        /// The file that is wanted.
        path: PathBuf,
        /// Its format.
        format: FileFormat,
    },
    /// To the window alone.
    Memory,
}

/// Which of a picture's settings are written into its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenSettings {
    /// All of them, and once more as other programs read them.
    #[default]
    All,
    /// Those that other programs read, as A1111 writes them.
    ForOthers,
    /// None: nobody can tell from the file what it was made with.
    Nothing,
}

impl WrittenSettings {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::All, Self::ForOthers, Self::Nothing];

    /// Of the texts for a picture, by their keywords, those that are written.
    pub fn of<T>(self, mut texts: Vec<(&'static str, T)>) -> Vec<(&'static str, T)> {
        texts.retain(|(keyword, _)| match self {
            Self::All => true,
            Self::ForOthers => *keyword == PARAMETERS,
            Self::Nothing => ![PARAMETERS, EMBERBRUSH].contains(keyword),
        });
        texts
    }
}

/// One request with all that it needs.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// What to make.
    pub request: GenerationRequest,
    /// The first picture of the request to make, from 0: those before it are there already.
    pub first: u32,
    /// With what.
    pub setup: Setup,
    /// The folder of the wildcards that prompts name.
    pub wildcards: PathBuf,
    /// The folders of the adapters that the request and its prompts name.
    pub adapter_folders: AdapterFolders,
    /// The small autoencoder that makes previews; without one they are estimated from the latents.
    pub preview_decoder: Option<PathBuf>,
    /// The pictures to start from, where they are in memory.
    pub sources: Option<SourcePictures>,
    /// Where the pictures go.
    pub delivery: Delivery,
    /// What is written into their files.
    pub written: WrittenSettings,
}

/// What the window asks for.
#[derive(Debug)]
pub enum Command {
    /// Make a checkpoint ready.
    Load(Setup),
    /// Make the pictures of a job.
    Run(Box<Job>),
    /// Tell which devices there are.
    ListDevices,
}

/// What reading a prompt gives, or why it cannot be read.
type Reading = Result<PromptReading, Failure>;

/// A prompt, and what it is to be read with.
#[derive(Debug, Clone, Copy)]
pub struct UnreadPrompt<'a> {
    /// The prompt.
    pub text: &'a str,
    /// Number of steps of the run.
    pub steps: u32,
    /// Whose embeddings it may name beside those of the folder.
    pub adapters: &'a AdapterSelection,
    /// Where embeddings are found by name.
    pub folders: &'a AdapterFolders,
}

type Read = dyn Fn(&UnreadPrompt<'_>) -> Reading + Send + Sync;

/// Reads prompts as a checkpoint's text encoder does.
#[derive(Clone)]
pub struct PromptReader(Arc<Read>);

impl PromptReader {
    /// Reads with a function.
    pub fn new(read: impl Fn(&UnreadPrompt<'_>) -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// A prompt as it is understood.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn read(&self, prompt: &UnreadPrompt<'_>) -> Reading {
        (self.0)(prompt)
    }
}

impl fmt::Debug for PromptReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PromptReader")
    }
}

/// The memory that a run will take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryForecast {
    /// The most bytes that it holds at once.
    pub peak: u64,
    /// The bytes that it may use, where that is known.
    pub budget: Option<u64>,
    /// What is done to take less.
    pub savings: Vec<StepDown>,
    /// Whether it can be made.
    pub fits: bool,
}

/// Foretells the memory of runs of a checkpoint.
#[derive(Clone)]
pub struct MemoryForecaster(Arc<Forecast>);

type Forecast = dyn Fn(&GenerationRequest, &PlanContext) -> MemoryForecast + Send + Sync;

impl MemoryForecaster {
    /// Foretells with a function.
    pub fn new(
        forecast: impl Fn(&GenerationRequest, &PlanContext) -> MemoryForecast + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(forecast))
    }

    /// Knows nothing, and so sees no trouble.
    pub fn unknown() -> Self {
        Self::new(|_, _| MemoryForecast { peak: 0, budget: None, savings: Vec::new(), fits: true })
    }

    /// The memory that a request will take.
    pub fn forecast(&self, request: &GenerationRequest, context: &PlanContext) -> MemoryForecast {
        (self.0)(request, context)
    }
}

impl fmt::Debug for MemoryForecaster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MemoryForecaster")
    }
}

/// A checkpoint that is ready.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Which one.
    pub source: ModelSource,
    /// What stands in for its autoencoder.
    pub vae: Option<PathBuf>,
    /// Its name.
    pub name: String,
    /// Its family, which decides what can be set.
    pub family: Family,
    /// The device that it is on.
    pub device: DeviceInfo,
    /// Whether it is yet to be found out which kernels are the fastest on that device, which makes
    /// the first pictures take minutes.
    pub is_device_new: bool,
    /// The type of weights and activations, such as `f32`.
    pub dtype: String,
    /// What it recommends: a request without prompt and with seed 0.
    pub defaults: GenerationRequest,
    /// What else its files say of how it is used.
    pub checkpoint: CheckpointDefaults,
    /// Reads prompts as its text encoder does.
    pub prompts: PromptReader,
    /// Foretells the memory of its runs.
    pub memory: MemoryForecaster,
    /// How long loading took.
    pub took: Duration,
}

/// A picture that is done.
#[derive(Debug, Clone)]
pub struct FinishedPicture {
    /// Its number in the job, from 0.
    pub index: u32,
    /// What exactly it is: one picture, its own seed, alternatives and wildcards replaced.
    pub request: GenerationRequest,
    /// The name of the checkpoint that made it.
    pub model: String,
    /// The pixels.
    pub picture: Arc<Picture>,
    /// Made small by [`thumbnail`], so that the window has nothing to do for it.
    pub thumbnail: DynamicImage,
    /// Its file, where it was written.
    pub path: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// The most pixels on a side of a small picture for lists.
const THUMBNAIL_SIDE: u32 = 160;

/// A picture made small for lists. Takes longer than a frame for large ones.
pub fn thumbnail(picture: &Picture) -> DynamicImage {
    picture.pixels.thumbnail(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
}

/// What happens while a job runs.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// Asks only whether to go on.
    Checkpoint,
    /// A picture is begun.
    Started {
        /// Its number in the job, from 0.
        index: u32,
        /// Its seed.
        seed: u64,
    },
    /// A part of the run begins.
    Stage(Stage),
    /// A denoising step is done.
    Step {
        /// Its number, from 1.
        step: u32,
        /// How many there are.
        steps: u32,
        /// How long the device took for it.
        duration: Duration,
        /// What the picture may become, smaller than it will be.
        preview: Option<RgbImage>,
    },
    /// Keys of an adapter or a ControlNet change nothing.
    UnusedKeys(UnusedKeys),
    /// A picture is done, and on disk where the job says so.
    Picture(Box<FinishedPicture>),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// All pictures are there.
    Done,
    /// Someone asked to stop.
    Cancelled,
    /// It failed. Pictures that were finished are kept.
    Failed(Failure),
}

/// What the engine tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A checkpoint is being loaded.
    Loading(ModelSource),
    /// A checkpoint is ready.
    Loaded(Arc<LoadedModel>),
    /// A checkpoint could not be loaded.
    LoadFailed(ModelSource, Failure),
    /// Something happened in a job.
    Job(JobId, JobEvent),
    /// A job ended.
    Ended(JobId, JobEnd),
    /// The devices of this machine.
    Devices(Vec<DeviceInfo>),
}

/// Makes pictures. Runs on a thread of its own, so it may take its time, but has to call
/// `on_event` often: that is how a person stops it.
pub trait Engine {
    /// Makes a checkpoint ready.
    ///
    /// # Errors
    ///
    /// Where the files or the device cannot be used.
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure>;

    /// Makes the pictures of a job, with its checkpoint loaded.
    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd;

    /// The devices of this machine.
    fn devices(&mut self) -> Vec<DeviceInfo>;
}
