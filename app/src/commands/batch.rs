//! `emberbrush batch`

use std::{
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use emberbrush_pipeline::{
    batch::{
        self, BatchPlan, Item, Job, JobModel, Manifest, PlanSettings, RunEvent, RunSettings,
        StatedModel,
    },
    device,
    diffusion::CheckpointDefaults,
    error::PipelineError,
    request::{FieldError, GenerationRequest},
};

use crate::{
    cli::{BatchArguments, Defaults},
    commands::generate::wildcards,
    interruption::Interruption,
    model::{self, ModelPlace},
    report::{self, Reporter},
};

pub(crate) fn run(arguments: &BatchArguments, interruption: &Interruption) -> anyhow::Result<()> {
    let mut jobs = batch::read(&arguments.jobs)?;
    if arguments.matrix {
        jobs = batch::matrix(jobs, &arguments.jobs)?;
    }
    make(arguments, &jobs, interruption)?;
    Ok(())
}

/// Makes the pictures of all jobs that are not there yet, and gives the name of each file, in
/// order; `None` for those of other parts that are not made yet.
pub(crate) fn make(
    arguments: &BatchArguments,
    jobs: &[Job],
    interruption: &Interruption,
) -> anyhow::Result<Vec<Option<String>>> {
    let wildcards = wildcards(wildcard_folder(arguments).as_deref());
    let files = model::files(arguments.model.place())?;
    let model_of = |stated: &StatedModel| job_model(arguments, stated);
    let settings = PlanSettings {
        model: JobModel {
            path: arguments.model.model.as_deref().map(canonical),
            vae: arguments.model.vae.as_deref().map(canonical),
            name: files.name(),
            base: base(arguments, CheckpointDefaults::read(&files)?)?,
        },
        model_of: &model_of,
        seed: arguments.defaults.seed,
        prompt_syntax: arguments.prompt_syntax,
        wildcards: wildcards.as_ref(),
        pattern: arguments.name.clone(),
        format: arguments.output_format,
    };
    let mut plan =
        BatchPlan::new(jobs, &settings).with_context(|| arguments.jobs.display().to_string())?;
    let device = device::open(arguments.model.device)?;
    let date = Manifest::claim(&arguments.output, &plan, &today())?;
    plan.name_files(&settings, &date);
    let mut manifest = Manifest::open(&arguments.output, arguments.shard)?;
    for file in manifest.changed() {
        report::warn(&format!("{file} was changed since it was made, and is left as it is"));
    }

    let reporter = Reporter::new(arguments.json);
    let mine: Vec<&Item> =
        plan.items().iter().filter(|item| arguments.shard.contains(item.index)).collect();
    let made = mine.iter().filter(|item| manifest.contains(item.index)).count();
    reporter.batch(mine.len(), made);
    let run = RunSettings {
        format: arguments.output_format,
        effort: arguments.effort.effort(),
        batch_size: arguments.batch_size,
        load: &|model| {
            let started = Instant::now();
            let place = place(arguments, model.path.as_deref(), model.vae.as_deref());
            let (dtype, allowance) =
                (arguments.model.dtype.into(), arguments.model.memory.allowance());
            let found = model::Found::on(device.clone(), place, dtype, allowance)?;
            let (mut pipeline, report) = found.load()?;
            pipeline.set_adapter_folders(arguments.defaults.adapters.folders());
            reporter.unused_keys(&report.unused_keys);
            reporter.loaded(pipeline.name(), &device, &pipeline.dtype_name(), started.elapsed());
            Ok(pipeline)
        },
    };
    let total = plan.items().len() as u32;
    let tell = |event: RunEvent<'_>| {
        match event {
            RunEvent::Begin(items) => {
                for item in items {
                    let request = &item.request;
                    reporter.begin(item.index as u32, total, request.seed, request.steps);
                }
            }
            RunEvent::Progress(event) => reporter.progress(&event),
            RunEvent::Written { item, path, took } => {
                let wanted = arguments.output.join(&item.file);
                reporter.written(&path, &wanted, item.request.seed, took, None);
            }
            RunEvent::NotLoaded { model, items, error } => {
                let lines: Vec<(usize, usize)> =
                    items.iter().map(|item| (item.index, item.line)).collect();
                reporter.failed_model(&model.name, &lines, &error.into());
            }
            RunEvent::Failed { item, error } => {
                reporter.failed_job(item.index, item.line, &error.into());
            }
        }
        interruption.flow()
    };
    let failed =
        batch::run(&plan, &mine, &mut manifest, &run, &tell).map_err(PipelineError::from)?;
    if arguments.csv {
        manifest.write_csv()?;
    }
    if failed > 0 {
        bail!(
            "{failed} of {} pictures could not be made; the same command tries them again",
            mine.len()
        );
    }
    let file = |item: &Item| manifest.entries().get(&item.index).map(|entry| entry.file.clone());
    Ok(plan.items().iter().map(file).collect())
}

/// What jobs with a checkpoint of these defaults are completed with.
fn base(
    arguments: &BatchArguments,
    checkpoint: CheckpointDefaults,
) -> Result<GenerationRequest, FieldError> {
    let defaults = Defaults { checkpoint, random_seed: 0 };
    defaults.request().with_fields(&arguments.defaults.fields())
}

/// The checkpoint that a job names. One that cannot be read is found out about when it is to be
/// loaded, so that only its own jobs fail.
fn job_model(arguments: &BatchArguments, stated: &StatedModel) -> JobModel {
    let path = match stated.model.as_deref() {
        Some(emberbrush_assets::DEFAULT_MODEL_NAME) => None,
        Some(path) => Some(PathBuf::from(path)),
        None => arguments.model.model.clone(),
    };
    let stated_vae = stated.vae.as_ref().map(PathBuf::from);
    let vae = stated_vae.or_else(|| arguments.model.vae.clone()).as_deref().map(canonical);
    let read = || -> anyhow::Result<JobModel> {
        let files = model::files(place(arguments, path.as_deref(), vae.as_deref()))?;
        let base = base(arguments, CheckpointDefaults::read(&files)?)?;
        let path = path.as_deref().map(canonical);
        Ok(JobModel { path, vae: vae.clone(), name: files.name(), base })
    };
    read().unwrap_or_else(|_| {
        let path = path.clone().unwrap_or_default();
        let last = path.file_name().unwrap_or(path.as_os_str());
        JobModel {
            name: last.to_string_lossy().into_owned(),
            vae: vae.clone(),
            base: Defaults::WITHOUT_CHECKPOINT.request(),
            path: Some(path),
        }
    })
}

/// Where the checkpoint at `path` is: the configurations that are asked for are those of the
/// checkpoint that is asked for, and of no other that a job names.
fn place<'a>(
    arguments: &'a BatchArguments,
    path: Option<&'a Path>,
    vae: Option<&'a Path>,
) -> ModelPlace<'a> {
    let asked = arguments.model.place();
    let is_asked = path.map(canonical) == asked.path.map(canonical);
    ModelPlace { path, config: asked.config.filter(|_| is_asked), vae }
}

/// A path that is the same for every way to write it.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The folder that is asked for, or the one beside the job file where there is one.
fn wildcard_folder(arguments: &BatchArguments) -> Option<PathBuf> {
    arguments.wildcards.clone().or_else(|| {
        let beside = arguments.jobs.with_file_name("wildcards");
        beside.is_dir().then_some(beside)
    })
}

/// The date in UTC, as `2026-01-31` (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
pub(crate) fn today() -> String {
    let days = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs() / 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
