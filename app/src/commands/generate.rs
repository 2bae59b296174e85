//! `emberbrush generate`

use std::{
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use emberbrush_pipeline::{
    diffusion::{DiffusionPipeline, VaeTiling},
    editing::{self, Sources},
    metadata,
    output::{OutputPlan, write_new},
    picture::{self, FileFormat, Picture, Recount},
    prompt::{ExpansionError, NoWildcards, PromptSyntax, WildcardFolder, Wildcards, expand},
    request::GenerationRequest,
};

use crate::{
    cli::GenerateArguments, commands::settings::Repeated, interruption::Interruption, model,
    report::Reporter,
};

pub(crate) fn run(
    arguments: &GenerateArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let repeated = arguments.from.as_deref().map(Repeated::read).transpose()?;
    let from = repeated.as_ref().map(|repeated| repeated.fields.clone()).unwrap_or_default();
    arguments.check(&from)?;
    let model = match &repeated {
        Some(repeated) => repeated.model(&arguments.model)?,
        None => arguments.model.clone(),
    };
    let sources = Sources::read(&arguments.source_mode(&from)?)?;
    let output = OutputPlan::prepare(arguments.output.as_deref(), arguments.output_format)?;
    let reporter = Reporter::new(arguments.json);

    let started = Instant::now();
    let (mut pipeline, report) = model::load(&model)?;
    reporter.unused_keys(&report.unused_keys);
    reporter.loaded(
        pipeline.name(),
        &pipeline.device().info.name,
        &dtype_name(&pipeline),
        started.elapsed(),
    );

    pipeline.set_vae_tiling(match arguments.vae_tile {
        None => VaeTiling::Automatic,
        Some(0) => VaeTiling::Off,
        Some(pixels) => VaeTiling::Tiles(pixels),
    });
    let of_image = repeated.as_ref().and_then(|repeated| repeated.prompt_syntax);
    let syntax = arguments.prompt_syntax.or(of_image).unwrap_or_default();
    pipeline.set_prompt_syntax(syntax);
    let request = arguments.request(&pipeline, sources.as_ref(), &from, random_seed())?;
    request.check()?;
    let wildcards = wildcards(arguments.wildcards.as_deref());
    for index in 0..request.count {
        let seed = request.seed_of(index);
        let request = match syntax {
            PromptSyntax::Weighted => expanded(&request, seed, wildcards.as_ref())?,
            PromptSyntax::Literal => request.clone(),
        };
        reporter.begin(index, request.count, seed, request.steps);
        let started = Instant::now();
        let image =
            make(&mut pipeline, &request, sources.as_ref(), index, &reporter, interruption)?;
        let wanted = output.path(seed, &request.prompt);
        let texts =
            metadata::texts(&request, index, pipeline.name(), &dtype_name(&pipeline), syntax);
        let effort = arguments.effort.effort();
        let bytes = picture::encode_with(&image, output.format(), &texts, effort)?;
        let path = write_new(&bytes, &wanted)?;
        let unchanged = unchanged(sources.as_ref(), &image, &path, output.format())?;
        reporter.written(&path, &wanted, seed, started.elapsed(), unchanged);
    }
    Ok(())
}

/// Where the wildcards of prompts come from.
pub(crate) fn wildcards(folder: Option<&Path>) -> Box<dyn Wildcards> {
    match folder {
        Some(folder) => Box::new(WildcardFolder::new(folder)),
        None => Box::new(NoWildcards),
    }
}

/// The request with the alternatives and wildcards that `seed` chooses.
fn expanded(
    request: &GenerationRequest,
    seed: u64,
    wildcards: &dyn Wildcards,
) -> Result<GenerationRequest, ExpansionError> {
    let mut expanded = request.clone();
    expanded.prompt = expand(&request.prompt, seed, wildcards)?;
    expanded.negative_prompt = expand(&request.negative_prompt, seed, wildcards)?;
    Ok(expanded)
}

/// The name of the type of weights and activations.
pub(crate) fn dtype_name(pipeline: &DiffusionPipeline) -> String {
    format!("{:?}", pipeline.dtype()).to_lowercase()
}

fn make(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    sources: Option<&Sources>,
    index: u32,
    reporter: &Reporter,
    interruption: &Interruption,
) -> anyhow::Result<Picture> {
    let mut on_event = |event| {
        reporter.progress(&event);
        interruption.flow()
    };
    Ok(editing::edit(pipeline, request, sources, index, &mut on_event)?.picture)
}

/// Reads the written file back and counts what changed outside the mask.
fn unchanged(
    sources: Option<&Sources>,
    image: &Picture,
    path: &Path,
    format: FileFormat,
) -> anyhow::Result<Option<(Recount, bool)>> {
    let Some(sources) = sources.filter(|sources| sources.is_pasted(image)) else {
        return Ok(None);
    };
    let recount = sources.recount(&picture::read(path)?);
    Ok(recount.map(|recount| (recount, format.keeps(image))))
}

/// A seed for those who name none, short enough to type again.
fn random_seed() -> u64 {
    let nanoseconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64);
    // The clock's low digits alone would be close together for runs in a row.
    let mixed = nanoseconds.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)) & 0xFFFF_FFFF
}
