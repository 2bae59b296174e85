//! `emberbrush generate`

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use emberbrush_pipeline::{
    metadata::{PARAMETERS, parameters},
    output::{OutputPlan, write_png},
};

use crate::{cli::GenerateArguments, interruption::Interruption, model, report::Reporter};

pub(crate) fn run(
    arguments: &GenerateArguments,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    arguments.check()?;
    let output = OutputPlan::prepare(arguments.output.as_deref())?;
    let reporter = Reporter::new(arguments.json);

    let started = Instant::now();
    let (mut pipeline, report) = model::load(&arguments.model)?;
    reporter.unused_keys(&report.unused_keys);
    reporter.loaded(
        pipeline.name(),
        &pipeline.device().info.name,
        &format!("{:?}", pipeline.dtype()).to_lowercase(),
        started.elapsed(),
    );

    let request = arguments.request(&pipeline, random_seed());
    request.check()?;
    for index in 0..request.count {
        let seed = request.seed_of(index);
        reporter.begin(index, request.count, seed, request.steps);
        let started = Instant::now();
        let image = pipeline.generate(&request, index, &mut |event| {
            reporter.progress(&event);
            interruption.flow()
        })?;
        let wanted = output.path(seed, &request.prompt);
        let texts = [(PARAMETERS, parameters(&request, seed, pipeline.name()))];
        let path = write_png(&image, &texts, &wanted)?;
        reporter.written(&path, &wanted, seed, started.elapsed());
    }
    Ok(())
}

/// A seed for those who name none, short enough to type again.
fn random_seed() -> u64 {
    let nanoseconds =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64);
    // The clock's low digits alone would be close together for runs in a row.
    let mixed = nanoseconds.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)) & 0xFFFF_FFFF
}
