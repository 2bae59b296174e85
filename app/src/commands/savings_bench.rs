//! `emberbrush bench --savings`

use std::time::Duration;

use emberbrush_pipeline::{
    diffusion::DiffusionPipeline,
    progress::ProgressEvent,
    request::{FewerOperations, GenerationRequest},
};
use serde_json::json;

use crate::{
    cli::BenchArguments,
    commands::bench,
    interruption::Interruption,
    model,
    report::{object, println},
};

/// What is drawn, on grounds of several colours, so that each picture has a prompt of its own.
const SUBJECTS: [&str; 16] = [
    "apple", "cat", "rocket", "tree", "car", "house", "pizza", "dog", "flower", "star", "fish",
    "clock", "bird", "cake", "boat", "key",
];
const COLOURS: [&str; 5] = ["blue", "yellow", "white", "green", "pink"];

/// How far pictures are from those that were made in full.
#[derive(Debug, Default)]
struct Distance {
    values: u64,
    sum: u64,
    squares: u64,
    largest: u8,
}

impl Distance {
    fn add(&mut self, picture: &[u8], full: &[u8]) {
        for (&one, &other) in picture.iter().zip(full) {
            let difference = one.abs_diff(other);
            self.values += 1;
            self.sum += u64::from(difference);
            self.squares += u64::from(difference).pow(2);
            self.largest = self.largest.max(difference);
        }
    }

    /// In grey levels.
    fn mean(&self) -> f64 {
        self.sum as f64 / self.values as f64
    }

    /// Peak signal-to-noise ratio in decibels; infinite where nothing differs.
    fn psnr(&self) -> f64 {
        let mean_square = self.squares as f64 / self.values as f64;
        10.0 * (255.0_f64.powi(2) / mean_square).log10()
    }
}

/// The ways that are compared, as they are written on the command line.
fn ways() -> Vec<(String, FewerOperations)> {
    let none = FewerOperations::default();
    let skipped = [0.75, 0.5].map(|after| {
        (
            format!("--skip-negative-after {after}"),
            FewerOperations { skip_negative_after: after, ..none },
        )
    });
    let cached = [2, 3, 5].map(|interval| {
        (format!("--deep-cache {interval}"), FewerOperations { deep_cache: interval, ..none })
    });
    let merged = [0.25, 0.5].map(|share| {
        (format!("--token-merging {share}"), FewerOperations { token_merging: share, ..none })
    });
    let reused = [0.5, 0.25].map(|after| {
        (
            format!("--reuse-cross-attention-after {after}"),
            FewerOperations { reuse_cross_attention_after: after, ..none },
        )
    });
    skipped.into_iter().chain(cached).chain(merged).chain(reused).collect()
}

/// Makes pictures in full and with each way of doing less in turn, and tells the share of the UNet's
/// time that each takes and how far its pictures are from those in full.
pub(crate) fn run(
    arguments: &BenchArguments,
    pictures: u32,
    interruption: &Interruption,
) -> anyhow::Result<()> {
    let (mut pipeline, _) = model::load(&arguments.model)?;
    let base = bench::picture(arguments, pipeline.defaults());
    let ways = ways();
    let mut found: Vec<(Distance, Vec<f64>)> =
        ways.iter().map(|_| (Distance::default(), Vec::new())).collect();
    for index in 0..pictures {
        let place = index as usize;
        let (subject, colour) = (SUBJECTS[place % SUBJECTS.len()], COLOURS[place % COLOURS.len()]);
        let request = GenerationRequest {
            prompt: format!("a {subject} on a {colour} background"),
            seed: u64::from(index),
            ..base.clone()
        };
        if index == 0 {
            // The first picture warms up and is not counted.
            let warm_up = GenerationRequest { steps: 2, ..request.clone() };
            make(&mut pipeline, &warm_up, interruption)?;
        }
        let (full, in_full) = make(&mut pipeline, &request, interruption)?;
        for ((_, way), (distance, shares)) in ways.iter().zip(&mut found) {
            let fewer = GenerationRequest { fewer_operations: *way, ..request.clone() };
            let (picture, duration) = make(&mut pipeline, &fewer, interruption)?;
            distance.add(&picture, &full);
            shares.push(duration.as_secs_f64() / in_full.as_secs_f64());
        }
    }
    if !arguments.json {
        println("                                     time of the UNet   mean   largest   PSNR");
    }
    for ((name, _), (distance, mut shares)) in ways.into_iter().zip(found) {
        shares.sort_by(f64::total_cmp);
        let share = shares.get(shares.len() / 2).copied().unwrap_or(f64::NAN);
        let (mean, largest, psnr) = (distance.mean(), distance.largest, distance.psnr());
        if arguments.json {
            object(&json!({
                "way": name, "unet_share": share, "mean": mean, "largest": largest,
                "psnr_db": psnr.is_finite().then_some(psnr), "pictures": pictures,
                "steps": base.steps, "width": base.width, "height": base.height,
                "model": pipeline.name(), "device": pipeline.device().info.name,
            }));
        } else {
            println(&format!("{name:36} {share:17.2} {mean:6.2} {largest:9} {psnr:6.1}"));
        }
    }
    Ok(())
}

/// The bytes of a picture, and how long its steps took.
fn make(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    interruption: &Interruption,
) -> anyhow::Result<(Vec<u8>, Duration)> {
    let mut steps = Duration::ZERO;
    let picture = pipeline.generate(request, 0, &mut |event| {
        if let ProgressEvent::Step { duration, .. } = event {
            steps += duration;
        }
        interruption.flow()
    })?;
    Ok((picture.into_raw(), steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_over_all_values() {
        let full = [10, 20, 30, 10, 20, 30];
        let picture = [10, 20, 30, 16, 20, 27];
        let mut distance = Distance::default();
        distance.add(&picture, &full);
        distance.add(&full, &full);
        assert_eq!((distance.mean(), distance.largest), (9.0 / 12.0, 6));
        // 45 over 12 values.
        assert!((distance.psnr() - 42.39).abs() < 0.01, "{}", distance.psnr());
    }
}
