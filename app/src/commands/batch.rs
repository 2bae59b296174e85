//! `emberbrush batch`

use std::{
    path::PathBuf,
    thread::{self, ScopedJoinHandle},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use emberbrush_pipeline::{
    batch::{self, BatchPlan, Item, Job, Manifest, PlanSettings},
    diffusion::DiffusionPipeline,
    editing::{self, Sources},
    metadata,
    picture::{self, Picture},
    prompt::{PromptSyntax, Wildcards},
    request::{GenerationRequest, Mode},
};

use crate::{
    cli::{BatchArguments, Defaults},
    commands::generate::{dtype_name, wildcards},
    interruption::{self, Interruption},
    model,
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
    let named = || arguments.jobs.display().to_string();
    // What no checkpoint could change is refused before one is loaded.
    let settings = settings(arguments, &Defaults::WITHOUT_CHECKPOINT, "", wildcards.as_ref())?;
    BatchPlan::new(jobs, &settings).with_context(named)?;

    let reporter = Reporter::new(arguments.json);
    let started = Instant::now();
    let (mut pipeline, report) = model::load(&arguments.model)?;
    reporter.unused_keys(&report.unused_keys);
    let dtype = dtype_name(&pipeline);
    let device = &pipeline.device().info.name;
    reporter.loaded(pipeline.name(), device, &dtype, started.elapsed());

    let defaults = Defaults::of(&pipeline, 0);
    let settings = self::settings(arguments, &defaults, pipeline.name(), wildcards.as_ref())?;
    let mut plan = BatchPlan::new(jobs, &settings).with_context(named)?;
    let date = Manifest::claim(&arguments.output, &plan, &today())?;
    plan.name_files(&settings, &date);
    let mut manifest = Manifest::open(&arguments.output, arguments.shard)?;
    for file in manifest.changed() {
        report::warn(&format!("{file} was changed since it was made, and is left as it is"));
    }

    let mine: Vec<&Item> =
        plan.items().iter().filter(|item| arguments.shard.contains(item.index)).collect();
    let left: Vec<&Item> =
        mine.iter().copied().filter(|item| !manifest.contains(item.index)).collect();
    reporter.batch(mine.len(), mine.len() - left.len());
    let mut run = Run { arguments, interruption, reporter: &reporter, total: plan.items().len() };
    let failed = run.make(&mut pipeline, &dtype, &left, &mut manifest)?;
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

fn settings<'a>(
    arguments: &BatchArguments,
    defaults: &Defaults,
    model: &str,
    wildcards: &'a dyn Wildcards,
) -> anyhow::Result<PlanSettings<'a>> {
    Ok(PlanSettings {
        base: defaults.request().with_fields(&arguments.defaults.fields())?,
        seed: arguments.defaults.seed,
        wildcards,
        pattern: arguments.name.clone(),
        format: arguments.output_format,
        model: model.to_owned(),
    })
}

/// The folder that is asked for, or the one beside the job file where there is one.
fn wildcard_folder(arguments: &BatchArguments) -> Option<PathBuf> {
    arguments.wildcards.clone().or_else(|| {
        let beside = arguments.jobs.with_file_name("wildcards");
        beside.is_dir().then_some(beside)
    })
}

struct Run<'a> {
    arguments: &'a BatchArguments,
    interruption: &'a Interruption,
    reporter: &'a Reporter,
    /// Number of pictures of the whole job set.
    total: usize,
}

/// A picture that is being encoded and written.
type Writing<'scope> = ScopedJoinHandle<'scope, anyhow::Result<()>>;

impl Run<'_> {
    /// Makes pictures one after the other; while one is made, the one before it is written. Gives
    /// the number of those that failed.
    fn make(
        &mut self,
        pipeline: &mut DiffusionPipeline,
        dtype: &str,
        items: &[&Item],
        manifest: &mut Manifest,
    ) -> anyhow::Result<usize> {
        let mut failed = 0;
        let mut sources = Prepared::default();
        let name = pipeline.name().to_owned();
        let manifest = std::sync::Mutex::new(manifest);
        let (reporter, arguments, manifest) = (self.reporter, self.arguments, &manifest);
        thread::scope(|scope| {
            let mut writing: Option<(&Item, Writing<'_>)> = None;
            for &item in items {
                let seed = item.request.seed;
                reporter.begin(item.index as u32, self.total as u32, seed, item.request.steps);
                let started = Instant::now();
                let made = self.make_one(pipeline, item, &mut sources);
                if let Some((item, handle)) = writing.take() {
                    failed += finish(reporter, item, handle);
                }
                let picture = match made {
                    Ok(picture) => picture,
                    Err(error) if interruption::is_cancellation(&error) => return Err(error),
                    Err(error) => {
                        reporter.failed_job(item.index, item.line, &error);
                        failed += 1;
                        continue;
                    }
                };
                let took = started.elapsed();
                let texts = metadata::texts(&item.request, 0, &name, dtype, PromptSyntax::Weighted);
                let handle = scope.spawn(move || {
                    let format = arguments.output_format;
                    let effort = arguments.effort.effort();
                    let bytes = picture::encode_with(&picture, format, &texts, effort)?;
                    let mut manifest =
                        manifest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let path = manifest.write(item, &bytes, took.as_secs_f64())?;
                    let wanted = arguments.output.join(&item.file);
                    reporter.written(&path, &wanted, item.request.seed, took, None);
                    Ok(())
                });
                writing = Some((item, handle));
            }
            if let Some((item, handle)) = writing {
                failed += finish(reporter, item, handle);
            }
            Ok(failed)
        })
    }

    fn make_one(
        &self,
        pipeline: &mut DiffusionPipeline,
        item: &Item,
        sources: &mut Prepared,
    ) -> anyhow::Result<Picture> {
        let sources = sources.get(&item.request)?;
        let mut on_event = |event| {
            self.reporter.progress(&event);
            self.interruption.flow()
        };
        Ok(editing::edit(pipeline, &item.request, sources, 0, &mut on_event)?.picture)
    }
}

/// Waits for a picture to be on disk; 1 where that failed.
fn finish(reporter: &Reporter, item: &Item, handle: Writing<'_>) -> usize {
    let error = match handle.join() {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(_) => anyhow::anyhow!("the picture could not be encoded"),
    };
    reporter.failed_job(item.index, item.line, &error);
    1
}

/// The pictures that the last request started from, for jobs that share them.
#[derive(Default)]
struct Prepared {
    mode: Option<Mode>,
    sources: Option<Sources>,
}

impl Prepared {
    fn get(&mut self, request: &GenerationRequest) -> anyhow::Result<Option<&Sources>> {
        if self.mode.as_ref() != Some(&request.mode) {
            self.mode = None;
            self.sources = Sources::read(&request.mode)?;
            self.mode = Some(request.mode.clone());
        }
        Ok(self.sources.as_ref())
    }
}

/// The date in UTC, as `2026-01-31` (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn today() -> String {
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
