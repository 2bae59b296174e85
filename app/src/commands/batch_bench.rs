//! `emberbrush bench --pictures`

use std::time::{Duration, Instant};

use anyhow::bail;
use emberbrush_pipeline::{
    batch::{
        self, BatchPlan, Item, Job, JobModel, Manifest, PlanSettings, RunEvent, RunSettings, Shard,
    },
    error::PipelineError,
    picture::{Effort, FileFormat},
    prompt::{NoWildcards, PromptSyntax},
    request::GenerationRequest,
};
use serde_json::{Map, json};

use crate::{
    cli::BenchArguments,
    commands::bench,
    interruption::Interruption,
    model,
    report::{self, println},
};

/// What is drawn, so that each picture has a prompt of its own to be encoded.
const SUBJECTS: [&str; 4] = ["apple", "cup", "lighthouse", "tree"];

/// Measures what a job set costs beside the networks: the same pictures by the networks alone,
/// one after the other, and as a job set, from before loading to the last file.
pub(crate) fn run(
    arguments: &BenchArguments,
    pictures: u32,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let (mut pipeline, _) = model::load(&arguments.model)?;
    let base = bench::picture(arguments, pipeline.defaults());
    let jobs: Vec<Job> = (0..pictures as usize)
        .map(|index| {
            let prompt = format!("a {} number {index}", SUBJECTS[index % SUBJECTS.len()]);
            let fields = Map::from_iter([("prompt".to_owned(), json!(prompt))]);
            Job { line: index + 1, fields }
        })
        .collect();
    let model =
        JobModel { path: None, vae: None, name: pipeline.name().to_owned(), base: base.clone() };
    let settings = PlanSettings {
        model: model.clone(),
        model_of: &|_| model.clone(),
        seed: Some(0),
        prompt_syntax: PromptSyntax::Weighted,
        wildcards: &NoWildcards,
        pattern: "{index}".parse()?,
        format: FileFormat::Png,
    };
    let mut plan = BatchPlan::new(&jobs, &settings)?;
    plan.name_files(&settings, "");

    // The first picture warms up and is not counted.
    let warm_up = GenerationRequest { prompt: "a warm-up".to_owned(), ..base };
    let mut models = Duration::ZERO;
    for request in [&warm_up].into_iter().chain(plan.items().iter().map(|item| &item.request)) {
        let started = Instant::now();
        pipeline.generate(request, 0, &mut |_| interruption.flow())?;
        pipeline.synchronise()?;
        if request != &warm_up {
            models += started.elapsed();
        }
    }
    let device = pipeline.device().clone();
    drop(pipeline);

    let folder = tempfile::tempdir()?;
    let items: Vec<&Item> = plan.items().iter().collect();
    let started = Instant::now();
    let mut manifest = Manifest::open(folder.path(), Shard::default())?;
    let run = RunSettings {
        format: FileFormat::Png,
        effort: Effort::default(),
        batch_size: arguments.batch_size,
        load: &|_| {
            let dtype = arguments.model.dtype.into();
            Ok(model::load_on(device.clone(), arguments.model.place(), dtype)?.0)
        },
    };
    let tell = |event: RunEvent<'_>| {
        match event {
            RunEvent::Failed { error, .. } => report::warn(&error.to_string()),
            RunEvent::NotLoaded { error, .. } => report::warn(&error.to_string()),
            _ => {}
        }
        interruption.flow()
    };
    let failed =
        batch::run(&plan, &items, &mut manifest, &run, &tell).map_err(PipelineError::from)?;
    let whole = started.elapsed().as_secs_f64();
    if failed > 0 {
        bail!("{failed} of {pictures} pictures could not be made");
    }
    let models = models.as_secs_f64();
    if arguments.json {
        report::object(&json!({
            "pictures": pictures, "models_s": models, "batch_s": whole, "ratio": whole / models,
            "model": model.name, "device": device.info.name,
        }));
    } else {
        println(&format!("networks alone, {pictures} pictures one by one  {models:8.2} s"));
        println(&format!("the same as a job set, loading to last file {whole:8.2} s"));
        println(&format!("ratio                                       {:8.3}", whole / models));
    }
    Ok(())
}
