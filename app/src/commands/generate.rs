//! `emberbrush generate`

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use emberbrush_pipeline::{
    diffusion::{CheckpointDefaults, DiffusionPipeline},
    editing::{self, GroupPicture, Sources, UpscalerFile},
    error::PipelineError,
    memory::{MemoryPlan, PlanContext},
    metadata::{self, MadeWith, ModelHash},
    output::{OutputPlan, write_new},
    picture::{self, FileFormat, Picture, Recount},
    prompt::{ExpansionError, NoWildcards, PromptSyntax, WildcardFolder, Wildcards, expand},
    request::{GenerationRequest, Mode},
};

use crate::{
    cli::GenerateArguments,
    commands::{previews::PreviewFolder, settings::Repeated},
    interruption::Interruption,
    model::Found,
    report::{self, Reporter},
};

/// A run that is known in full, and not begun.
pub(crate) struct Prepared {
    pub(crate) found: Found,
    pub(crate) sources: Option<Sources>,
    pub(crate) request: GenerationRequest,
    /// How memory allows the run to be made.
    pub(crate) plan: Result<MemoryPlan, PipelineError>,
    syntax: PromptSyntax,
}

impl Prepared {
    /// Reads everything but weights.
    pub(crate) fn new(arguments: &GenerateArguments) -> anyhow::Result<Self> {
        let repeated = arguments.from.as_deref().map(Repeated::read).transpose()?;
        let from = repeated.as_ref().map(|repeated| repeated.fields.clone()).unwrap_or_default();
        arguments.check(&from)?;
        let model = match &repeated {
            Some(repeated) => repeated.model(&arguments.model)?,
            None => arguments.model.clone(),
        };
        let sources = Sources::read(&arguments.source_mode(&from)?)?;
        let found = Found::new(&model)?;
        let checkpoint = CheckpointDefaults::read(&found.files)?;
        let request = arguments.request(checkpoint, sources.as_ref(), &from, random_seed())?;
        request.check()?;
        arguments.adapters.folders().check(&request.adapters)?;
        let of_image = repeated.as_ref().and_then(|repeated| repeated.prompt_syntax);
        let syntax = arguments.prompt_syntax.or(of_image).unwrap_or_default();
        let (sources_read, wanted) = (sources.as_ref(), arguments.wanted_memory());
        editing::check_control(&request, sources_read)?;
        let side = checkpoint.native_side;
        let context = PlanContext {
            prompt_syntax: syntax,
            adapter_folders: arguments.adapters.folders(),
            preview_decoder: arguments.previews.preview_decoder.clone(),
        };
        let plan = found.planner.plan_request(&request, sources_read, side, &context, wanted);
        Ok(Self { found, sources, request, plan, syntax })
    }
}

pub(crate) fn run(
    arguments: &GenerateArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let Prepared { found, sources, request, plan, syntax } = Prepared::new(arguments)?;
    plan?;
    let output = OutputPlan::prepare(arguments.output.as_deref(), arguments.output_format)?;
    if let Some(sources) = &sources {
        warn_of_profile(sources, &request.mode, output.format());
    }
    let reporter = Reporter::new(arguments.json);

    let started = Instant::now();
    let (mut pipeline, report) = found.load()?;
    reporter.unused_keys(&report.unused_keys);
    if let Some(path) = request.mode.upscaler() {
        let unused = UpscalerFile::open(path).map_err(PipelineError::from)?.unused_keys();
        reporter
            .unused_keys(&unused.iter().map(|key| format!("upscaler: {key}")).collect::<Vec<_>>());
    }
    let (name, dtype) = (pipeline.name(), pipeline.dtype_name());
    reporter.loaded(name, pipeline.device(), &dtype, started.elapsed());
    pipeline.set_wanted_memory(arguments.wanted_memory());
    pipeline.set_preview_decoder(arguments.previews.preview_decoder.as_deref())?;
    let previews =
        arguments.previews.previews.as_deref().map(PreviewFolder::prepare).transpose()?;
    pipeline.set_prompt_syntax(syntax);
    pipeline.set_adapter_folders(arguments.adapters.folders());
    let wildcards = wildcards(arguments.wildcards.as_deref());
    let making = Making {
        sources: sources.as_ref(),
        output: &output,
        previews: previews.as_ref(),
        arguments,
        syntax,
        hash: ModelHash::start(pipeline.files()),
        reporter: &reporter,
        interruption,
        count: request.count,
    };
    let mut group: Vec<GenerationRequest> = Vec::new();
    for index in 0..request.count {
        let mut single = request.image(index);
        if syntax == PromptSyntax::Weighted {
            single = expanded(single, wildcards.as_ref())?;
        }
        if let Some(first) = group.first() {
            let is_full = group.len() >= arguments.batch_size.of(&pipeline, first);
            let shape = || pipeline.group_shape(first);
            if is_full || shape().is_none() || shape() != pipeline.group_shape(&single) {
                making.make(&mut pipeline, &group, index - group.len() as u32)?;
                group.clear();
            }
        }
        group.push(single);
    }
    making.make(&mut pipeline, &group, request.count - group.len() as u32)
}

/// What is the same for all pictures of a run.
struct Making<'a> {
    sources: Option<&'a Sources>,
    output: &'a OutputPlan,
    previews: Option<&'a PreviewFolder>,
    arguments: &'a GenerateArguments,
    syntax: PromptSyntax,
    hash: ModelHash,
    reporter: &'a Reporter,
    interruption: &'a Interruption,
    /// Number of pictures.
    count: u32,
}

impl Making<'_> {
    /// Makes pictures at once and writes each as it is finished. `begin` is the number of the
    /// first, from 0.
    fn make(
        &self,
        pipeline: &mut DiffusionPipeline,
        group: &[GenerationRequest],
        begin: u32,
    ) -> anyhow::Result<()> {
        for (index, request) in (begin..).zip(group) {
            self.reporter.begin(index, self.count, request.seed, request.steps);
        }
        let (name, dtype) = (pipeline.name().to_owned(), pipeline.dtype_name());
        let vae = pipeline.vae_hash();
        let pictures: Vec<_> = group.iter().map(|request| (request, self.sources)).collect();
        let mut failed = None;
        let finished = editing::edit_group(
            pipeline,
            &pictures,
            &mut |event| {
                self.reporter.progress(&event);
                if let (Some(previews), Some(first)) = (self.previews, group.first()) {
                    previews.write(first.seed, &event);
                }
                self.interruption.flow()
            },
            &mut |GroupPicture { place, batch, adapter_hashes, took, edited }| {
                let request = &group[place];
                let with = MadeWith {
                    model: name.clone(),
                    model_hash: self.hash.get(),
                    dtype: dtype.clone(),
                    prompt_syntax: self.syntax,
                    adapter_hashes,
                    vae: vae.as_ref().map(|vae| vae.record()),
                };
                let texts = metadata::texts_of_batch(request, 0, &with, batch);
                let written = edited
                    .map_err(anyhow::Error::from)
                    .and_then(|edited| self.write(&edited.picture, request, &texts, took));
                if let Err(error) = written {
                    failed.get_or_insert(error);
                }
            },
        );
        finished.map_err(PipelineError::from)?;
        failed.map_or(Ok(()), Err)
    }

    fn write(
        &self,
        picture: &Picture,
        request: &GenerationRequest,
        texts: &[(&'static str, String)],
        took: Duration,
    ) -> anyhow::Result<()> {
        let wanted = self.output.path(request.seed, &request.prompt);
        let (format, effort) = (self.output.format(), self.arguments.effort.effort());
        let bytes = picture::encode_with(picture, format, texts, effort)?;
        let path = write_new(&bytes, &wanted)?;
        let lossless = format.keeps(picture, effort);
        let unchanged = unchanged(self.sources, picture, &path, lossless)?;
        self.reporter.written(&path, &wanted, request.seed, took, unchanged);
        Ok(())
    }
}

/// Where the wildcards of prompts come from.
pub(crate) fn wildcards(folder: Option<&Path>) -> Box<dyn Wildcards> {
    match folder {
        Some(folder) => Box::new(WildcardFolder::new(folder)),
        None => Box::new(NoWildcards),
    }
}

/// The request with the alternatives and wildcards that its seed chooses.
pub(crate) fn expanded(
    request: GenerationRequest,
    wildcards: &dyn Wildcards,
) -> Result<GenerationRequest, ExpansionError> {
    let seed = request.seed;
    request.with_prompts(|prompt| expand(prompt, seed, wildcards))
}

/// Tells where colours cannot be what they were.
fn warn_of_profile(sources: &Sources, mode: &Mode, format: FileFormat) {
    let init = mode.init().map(|init| init.init.display().to_string()).unwrap_or_default();
    if let Some(problem) = sources.init.profile_problem() {
        report::warn(&format!("{init}: {problem}"));
    }
    if sources.init.icc_profile.is_some() && !format.keeps_profile() {
        report::warn(&format!("{format} files hold no colour profile; that of {init} is left out"));
    }
}

/// Reads the written file back and counts what changed outside the mask.
fn unchanged(
    sources: Option<&Sources>,
    image: &Picture,
    path: &Path,
    lossless: bool,
) -> anyhow::Result<Option<(Recount, bool)>> {
    let Some(sources) = sources.filter(|sources| sources.is_pasted(image)) else {
        return Ok(None);
    };
    let recount = sources.recount(&picture::read(path)?);
    Ok(recount.map(|recount| (recount, lossless)))
}

/// A seed for those who name none, short enough to type again.
pub(crate) fn random_seed() -> u64 {
    let nanoseconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64);
    // The clock's low digits alone would be close together for runs in a row.
    let mixed = nanoseconds.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)) & 0xFFFF_FFFF
}
