//! The engine that runs checkpoints.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc, time::Instant};

use emberbrush_pipeline::{
    device::{self, ComputeDtype, DeviceInfo},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    error::PipelineError,
    memory::{MemoryPlan, MemorySettings},
    metadata::{self, MadeWith, ModelHash},
    output::{OutputError, OutputPlan, write_new},
    picture::{self, Effort, FileFormat, Picture},
    progress::ProgressEvent,
    prompt::{PromptSyntax, WildcardFolder},
    request::GenerationRequest,
};

use super::{
    Delivery, Engine, FinishedPicture, Job, JobEnd, JobEvent, LoadedModel, MemoryForecast,
    MemoryForecaster, ModelSource, Setup, WrittenSettings, prompt_reader::prompt_reader, thumbnail,
};
use crate::{
    cli::Defaults,
    commands::generate::expanded,
    failure::{Explanation, Failure},
    model::{self, ModelPlace},
};

/// Runs checkpoints with [`DiffusionPipeline`].
#[derive(Debug, Default)]
pub struct DiffusionEngine {
    pipeline: Option<DiffusionPipeline>,
    hash: Option<ModelHash>,
}

impl Engine for DiffusionEngine {
    fn load(&mut self, setup: &Setup) -> Result<LoadedModel, Failure> {
        // Two checkpoints at once may not find room.
        self.pipeline = None;
        let started = Instant::now();
        let path = match &setup.model {
            ModelSource::InTheBox => None,
            ModelSource::Folder(path) => Some(path.as_path()),
        };
        let place = ModelPlace { path, vae: setup.vae.as_deref(), ..ModelPlace::default() };
        let device = device::open(setup.device)?;
        let is_device_new = device.is_new;
        let (pipeline, _) = model::load_on(device, place, ComputeDtype::Auto)?;
        let loaded = LoadedModel {
            source: setup.model.clone(),
            vae: setup.vae.clone(),
            name: pipeline.name().to_owned(),
            family: pipeline.family(),
            device: pipeline.device().info.clone(),
            is_device_new,
            dtype: pipeline.dtype_name(),
            defaults: Defaults { checkpoint: pipeline.defaults(), random_seed: 0 }.request(),
            checkpoint: pipeline.defaults(),
            prompts: prompt_reader(&pipeline),
            memory: memory_forecaster(&pipeline),
            took: started.elapsed(),
        };
        self.hash = Some(ModelHash::start(pipeline.files()));
        self.pipeline = Some(pipeline);
        Ok(loaded)
    }

    fn run(&mut self, job: &Job, on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>) -> JobEnd {
        let Some(pipeline) = &mut self.pipeline else {
            return JobEnd::Failed(Failure::new(
                Explanation::new("error-no-model"),
                "no checkpoint",
            ));
        };
        run(pipeline, self.hash.as_ref(), job, on_event).unwrap_or_else(JobEnd::Failed)
    }

    fn devices(&mut self) -> Vec<DeviceInfo> {
        device::list()
    }
}

fn memory_forecaster(pipeline: &DiffusionPipeline) -> MemoryForecaster {
    let Some(planner) = pipeline.memory_planner().cloned() else {
        return MemoryForecaster::unknown();
    };
    let (native_side, wanted) = (pipeline.native_side(), *pipeline.wanted_memory());
    MemoryForecaster::new(move |request, context| {
        let of_plan = |plan: &MemoryPlan, fits| MemoryForecast {
            peak: plan.peak_bytes(),
            budget: plan.budget.map(|budget| budget.bytes),
            savings: plan.stepped_down.clone(),
            fits,
        };
        let wanted = MemorySettings { batch: 1, ..wanted };
        match planner.plan_request(request, None, native_side, context, wanted) {
            Ok(plan) => of_plan(&plan, true),
            Err(PipelineError::Memory(refused)) => of_plan(&refused.plan, false),
            // What is wrong with the request is told by the run itself.
            Err(_) => MemoryForecaster::unknown().forecast(request, context),
        }
    })
}

fn run(
    pipeline: &mut DiffusionPipeline,
    hash: Option<&ModelHash>,
    job: &Job,
    on_event: &mut dyn FnMut(JobEvent) -> ControlFlow<()>,
) -> Result<JobEnd, Failure> {
    job.request.check()?;
    pipeline.set_adapter_folders(job.adapter_folders.clone());
    pipeline.set_preview_decoder(job.preview_decoder.as_deref())?;
    let output = Output::prepare(&job.delivery, job.written)?;
    let wildcards = WildcardFolder::new(&job.wildcards);
    let sources = match &job.sources {
        Some(pictures) => Some(Sources::new(
            &job.request.mode,
            pictures.init.as_ref().clone(),
            pictures.mask.as_deref(),
        )?),
        None => Sources::read(&job.request.mode)?,
    };
    let mut with = MadeWith {
        model: pipeline.name().to_owned(),
        model_hash: None,
        dtype: pipeline.dtype_name(),
        prompt_syntax: PromptSyntax::Weighted,
        adapter_hashes: Default::default(),
        vae: pipeline.vae_hash().map(|vae| vae.record()),
    };
    for index in job.first..job.request.count {
        let request = expanded(job.request.image(index), &wildcards)?;
        // Whether to stop is asked again at the first block.
        let _ = on_event(JobEvent::Started { index, seed: request.seed });
        let started = Instant::now();
        let mut tell = |event| {
            on_event(match event {
                ProgressEvent::Checkpoint | ProgressEvent::SteppedDown(_) => JobEvent::Checkpoint,
                ProgressEvent::UnusedKeys(unused) => JobEvent::UnusedKeys(unused),
                ProgressEvent::Stage(stage) => JobEvent::Stage(stage),
                ProgressEvent::Step { step, steps, duration, preview } => {
                    JobEvent::Step { step, steps, duration, preview }
                }
            })
        };
        let picture = match editing::edit(pipeline, &request, sources.as_ref(), 0, &mut tell) {
            Ok(edited) => edited.picture,
            Err(PipelineError::Cancelled(_)) => return Ok(JobEnd::Cancelled),
            Err(error) => return Err(error.into()),
        };
        with.model_hash = hash.and_then(ModelHash::get);
        with.adapter_hashes = pipeline.adapter_hashes(&request);
        let path = output.write(&request, &with, &picture)?;
        let _ = on_event(JobEvent::Picture(Box::new(FinishedPicture {
            index,
            request,
            model: pipeline.name().to_owned(),
            thumbnail: thumbnail(&picture),
            picture: Arc::new(picture),
            path,
            took: started.elapsed(),
        })));
    }
    Ok(JobEnd::Done)
}

/// Where pictures are written, known to be writable, and what is written into them.
struct Output {
    place: OutputPlace,
    written: WrittenSettings,
}

enum OutputPlace {
    Folder(OutputPlan),
    File(PathBuf, FileFormat),
    Memory,
}

impl Output {
    fn prepare(delivery: &Delivery, written: WrittenSettings) -> Result<Self, OutputError> {
        let place = match delivery {
            Delivery::Memory => OutputPlace::Memory,
            Delivery::Folder { folder, format } => {
                // A name with a separator at its end is a folder, with or without a dot in it.
                let folder = folder.join("");
                OutputPlace::Folder(OutputPlan::prepare(Some(&folder), Some(*format))?)
            }
            Delivery::File { path, format } => {
                OutputPlan::prepare(Some(path), Some(*format))?;
                OutputPlace::File(path.clone(), *format)
            }
        };
        Ok(Self { place, written })
    }

    fn write(
        &self,
        request: &GenerationRequest,
        with: &MadeWith,
        picture: &Picture,
    ) -> Result<Option<PathBuf>, Failure> {
        let (wanted, format) = match &self.place {
            OutputPlace::Memory => return Ok(None),
            OutputPlace::Folder(plan) => (plan.path(request.seed, &request.prompt), plan.format()),
            OutputPlace::File(path, format) => (path.clone(), *format),
        };
        let texts = self.written.of(metadata::texts(request, 0, with));
        let bytes = picture::encode_with(picture, format, &texts, Effort::default())?;
        Ok(Some(write_new(&bytes, &wanted)?))
    }
}
