//! From a prompt to a picture: encode, prepare, denoise, decode.

mod adapters;
mod components;
mod conditioning;
mod control;
mod defaults;
mod denoise;
mod group;
mod guidance;
mod image_input;
mod latent_blending;
mod load;
mod memory_settings;
mod prompt_plan;
mod savings;
mod seeded_noise;
mod soft_inpainting;
mod text_encoders;
mod vae_tiling;
mod vocabulary;

pub(crate) use adapters::adapter_memory;
pub use components::load_tokenizer;
pub use conditioning::{
    Conditioning, EncodedPrompts, PooledText, PromptsAhead, StepConditioning, UNetConditioning,
};
pub use defaults::CheckpointDefaults;
pub use denoise::Denoising;
pub use group::{GroupMember, GroupShape};
pub use image_input::{DenoisingStart, ImageInput, LatentContent, MaskInput, StartingImage};
pub use latent_blending::LatentBlending;
pub use load::LoadReport;
pub(crate) use prompt_plan::prompt_size;
pub use seeded_noise::SeededNoise;
pub use soft_inpainting::SoftInpainting;
pub use vae_tiling::VaeTiling;

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{FloatDType, Tensor};
use components::Components;
use control::LoadedControlNet;
use emberbrush_layers::interrupt::{Cancelled, Checkpoint};
use emberbrush_text_encoder::prompt::PromptSyntax;
use emberbrush_unet::UNet2DConditionModel;
use emberbrush_vae::{AnyDecoder, AnyEncoder, AutoencoderConfig};
use image::{Rgb32FImage, RgbImage};
use text_encoders::TextEncoders;

use crate::{
    checkpoint::{
        files::CheckpointFiles,
        folder::{Family, RecommendedSettings},
    },
    device::OpenDevice,
    editing::{self, ImageUpscaler, Sources, UpscalerFile},
    error::PipelineError,
    memory::{MemoryPlanner, MemorySettings},
    metadata::VaeHash,
    picture_tensor,
    preview::{LatentRgbFactors, PreviewDecoder},
    progress::ProgressEvent,
    request::{GenerationRequest, LATENT_CELL},
    schedulers::{self, SamplerOptions, Scheduler, SchedulerConfig},
};

/// Makes the standard normal noise of a run, in the order in which diffusers draws it.
pub trait NoiseSource {
    /// The next noise of `shape`, in f32 on the pipeline's device.
    fn next(&mut self, shape: [usize; 4]) -> Tensor<4>;

    /// The noise that a run starts from, drawn as the next.
    fn initial(&mut self, shape: [usize; 4]) -> Tensor<4> {
        self.next(shape)
    }

    /// Begins again with the noise of the first run, where it comes from a seed.
    fn restart(&mut self) {}
}

impl<F: FnMut([usize; 4]) -> Tensor<4>> NoiseSource for F {
    fn next(&mut self, shape: [usize; 4]) -> Tensor<4> {
        self(shape)
    }
}

/// A checkpoint that is loaded onto a device and makes pictures.
#[derive(Debug)]
pub struct DiffusionPipeline {
    name: String,
    files: CheckpointFiles,
    components: Components,
    family: Family,
    device: OpenDevice,
    dtype: FloatDType,
    text: Arc<TextEncoders>,
    unet: UNet2DConditionModel,
    /// Whether the UNet takes a mask and a masked image beside the latents.
    inpainting: bool,
    latent_channels: usize,
    /// Those of the last run that used any.
    controlnets: Vec<LoadedControlNet>,
    vae: AnyDecoder,
    /// Of a decoder that is not the checkpoint's own.
    vae_hash: Option<Arc<VaeHash>>,
    /// Loaded when a picture is first encoded.
    vae_encoder: Option<AnyEncoder>,
    /// Where runs are planned.
    memory: Option<MemoryPlanner>,
    /// What runs are made with where memory allows it.
    wanted_memory: MemorySettings,
    /// What the present run is made with.
    used_memory: MemorySettings,
    vae_config: AutoencoderConfig,
    scheduler_config: SchedulerConfig,
    latent_rgb: LatentRgbFactors,
    /// Shows unfinished pictures instead of those factors, and its file.
    preview_decoder: Option<(PathBuf, PreviewDecoder)>,
    recommended: RecommendedSettings,
    native_side: u32,
    prompt_syntax: PromptSyntax,
    kept_prompts: VecDeque<conditioning::KeptPrompt>,
    adapters: adapters::Adapters,
    /// The last upscaler that was needed, and its file.
    upscaler: Option<(PathBuf, Arc<ImageUpscaler>)>,
}

impl DiffusionPipeline {
    /// The checkpoint's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The checkpoint's files.
    pub fn files(&self) -> &CheckpointFiles {
        &self.files
    }

    /// Name and hash of the autoencoder that stands in for the checkpoint's own.
    pub fn vae_hash(&self) -> Option<Arc<VaeHash>> {
        self.vae_hash.clone()
    }

    /// The checkpoint's family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The tokenizer of the text encoder, of the first one where there are two.
    pub fn tokenizer(&self) -> &emberbrush_text_encoder::Tokenizer {
        self.text.first.vocabularies.tokenizer()
    }

    /// The device that the networks run on.
    pub fn device(&self) -> &OpenDevice {
        &self.device
    }

    /// The type of the networks' weights and activations.
    pub fn dtype(&self) -> FloatDType {
        self.dtype
    }

    /// What the checkpoint itself recommends.
    pub fn recommended(&self) -> RecommendedSettings {
        self.recommended
    }

    /// Side length in pixels of the pictures that the checkpoint was trained on.
    pub fn native_side(&self) -> u32 {
        self.native_side
    }

    /// The name of the type of the networks' weights and activations, such as `f32`.
    pub fn dtype_name(&self) -> String {
        format!("{:?}", self.dtype).to_lowercase()
    }

    /// Makes image `index` of the request, counted from 0, with 8-bit colours. A request that
    /// starts from a picture has its files read; [`crate::editing::edit`] keeps their depth and
    /// alpha.
    ///
    /// # Errors
    ///
    /// Where the request cannot be met, and [`PipelineError::Cancelled`] where `on_event` breaks.
    pub fn generate(
        &mut self,
        request: &GenerationRequest,
        index: u32,
        on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
    ) -> Result<RgbImage, PipelineError> {
        let sources = Sources::read(&request.mode)?;
        let edited = editing::edit(self, request, sources.as_ref(), index, on_event)?;
        Ok(edited.picture.pixels.into_rgb8())
    }

    /// Makes one picture, from a picture or from noise alone, with a map of the request's size for each
    /// of its ControlNets.
    pub fn generate_controlled(
        &mut self,
        request: &GenerationRequest,
        input: Option<&ImageInput>,
        control_maps: &[Rgb32FImage],
        noise: &mut dyn NoiseSource,
        on_event: &mut dyn FnMut(ProgressEvent) -> ControlFlow<()>,
    ) -> Result<Rgb32FImage, PipelineError> {
        let member = GroupMember { request, input, control_maps, noise };
        let latents = self.generate_latents(&mut [member], on_event)?;
        self.decode_to_float(latents, &mut || on_event(ProgressEvent::Checkpoint))
    }

    /// The scheduler for a request, from the checkpoint's own configuration.
    pub fn scheduler(
        &self,
        request: &GenerationRequest,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        let options = SamplerOptions { compat: request.compat, ..SamplerOptions::default() };
        Ok(schedulers::build_with(
            request.sampler,
            request.schedule,
            &self.scheduler_config,
            request.steps as usize,
            &options,
        )?)
    }

    /// The latents that denoising starts from, `[1, 4, height / 8, width / 8]` in f32.
    pub fn prepare_latents(
        &self,
        request: &GenerationRequest,
        scheduler: &dyn Scheduler,
        noise: &mut dyn NoiseSource,
    ) -> Tensor<4> {
        let side = |pixels: u32| (pixels / LATENT_CELL) as usize;
        let shape = [1, self.latent_channels, side(request.height), side(request.width)];
        noise.initial(shape) * scheduler.init_noise_sigma()
    }

    /// Chooses what shows unfinished pictures: the small autoencoder at `path`, or colours that are
    /// estimated from the latents.
    ///
    /// # Errors
    ///
    /// Where there is no small autoencoder for the checkpoint's latents; then it is the colours.
    pub fn set_preview_decoder(&mut self, path: Option<&Path>) -> Result<(), PipelineError> {
        if self.preview_decoder.as_ref().map(|(path, _)| path.as_path()) == path {
            return Ok(());
        }
        self.preview_decoder = None;
        let Some(path) = path else { return Ok(()) };
        let decoder = PreviewDecoder::load(path, &self.files, self.latent_channels, &self.device)?;
        self.preview_decoder = Some((path.to_owned(), decoder));
        Ok(())
    }

    /// What latents, `[1, channels, height, width]` as the UNet sees them, may become.
    fn preview(
        &self,
        latents: &Tensor<4>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Option<RgbImage>, Cancelled> {
        match &self.preview_decoder {
            Some((_, decoder)) => decoder.decode(latents.clone(), checkpoint),
            None => Ok(self.latent_rgb.apply(latents)),
        }
    }

    /// The upscaler in the file at `path`, which is kept until another one is needed.
    pub(crate) fn upscaler(&mut self, path: &Path) -> Result<Arc<ImageUpscaler>, PipelineError> {
        if let Some((kept, upscaler)) = &self.upscaler
            && kept == path
        {
            return Ok(Arc::clone(upscaler));
        }
        // Two at once may not find room.
        self.upscaler = None;
        let upscaler = Arc::new(UpscalerFile::open(path)?.load(&self.device)?);
        self.upscaler = Some((path.to_owned(), Arc::clone(&upscaler)));
        Ok(upscaler)
    }

    /// Waits until the device has done all that it was asked to do.
    pub fn synchronise(&self) -> Result<(), PipelineError> {
        self.device.synchronise()
    }

    /// Turns latents into a picture: `round(255 · clamp(x / 2 + 1/2, 0, 1))`, as diffusers'
    /// `image_processor.py` does.
    pub fn decode(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<RgbImage, PipelineError> {
        let image = self.decode_to_float(latents, checkpoint)?;
        let (width, height) = image.dimensions();
        let bytes = image
            .into_raw()
            .into_iter()
            .map(|value| (value * 255.0).round_ties_even() as u8)
            .collect();
        RgbImage::from_raw(width, height, bytes).ok_or(PipelineError::NotANumber)
    }

    /// Turns latents into a picture with values from 0 to 1.
    pub fn decode_to_float(
        &self,
        latents: Tensor<4>,
        checkpoint: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Rgb32FImage, PipelineError> {
        let pixels = self.decode_to_tensor(latents, checkpoint)?;
        picture_tensor::from_tensor(pixels, |value| (value / 2.0 + 0.5).clamp(0.0, 1.0))
    }
}
