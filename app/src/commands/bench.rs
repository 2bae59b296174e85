//! `emberbrush bench`

use std::time::Instant;

use emberbrush_pipeline::{
    diffusion::{CheckpointDefaults, Denoising, DiffusionPipeline},
    memory,
    request::{GenerationRequest, RequestError},
    rng::NoiseGenerator,
    schedulers::Sampler,
};
use serde_json::json;

use crate::{
    cli::{BenchArguments, Defaults},
    commands::{batch_bench, savings_bench},
    interruption::Interruption,
    model,
    report::{object, println},
};

/// How often encoding and decoding are measured, at most.
const REPETITIONS: u32 = 3;

/// What one bench finds, in seconds and megabytes.
struct Measurements {
    load_s: f64,
    text_s: f64,
    unet_step_s: f64,
    vae_decode_s: f64,
    peak_rss_mb: Option<f64>,
}

pub(crate) fn run(arguments: &BenchArguments, interruption: &Interruption) -> anyhow::Result<()> {
    if let Some(pictures) = arguments.pictures {
        return batch_bench::run(arguments, pictures, interruption);
    }
    if let Some(pictures) = arguments.savings {
        return savings_bench::run(arguments, pictures, interruption);
    }
    let started = Instant::now();
    let (mut pipeline, _) = model::load(&arguments.model)?;
    pipeline.synchronise()?;
    let load_s = started.elapsed().as_secs_f64();

    let recommended = pipeline.recommended();
    let side = pipeline.native_side();
    let request = GenerationRequest {
        negative_prompt: "blurry, low quality".to_owned(),
        width: arguments.width.or(recommended.width).unwrap_or(side),
        height: arguments.height.or(recommended.height).unwrap_or(side),
        // The first step warms up and is not counted.
        steps: arguments.steps.saturating_add(1),
        guidance_scale: 7.5,
        sampler: Sampler::Ddim,
        ..GenerationRequest::new("a photo of a cat")
    };
    if arguments.steps == 0 {
        return Err(RequestError::NoSteps.into());
    }
    request.check()?;
    let plan = pipeline.plan_memory(&request, None, 1)?;
    if let Some(plan) = &plan {
        pipeline.set_wanted_memory(plan.settings);
    }
    let measurements = measure(&mut pipeline, &request, interruption, load_s)?;
    if arguments.json {
        object(&json!({
            "load_s": measurements.load_s,
            "text_s": measurements.text_s,
            "unet_step_s": measurements.unet_step_s,
            "vae_decode_s": measurements.vae_decode_s,
            "peak_rss_mb": measurements.peak_rss_mb,
            "memory": arguments.model.memory.allowance().mode,
            "stepped_down": plan.map(|plan| plan.stepped_down),
            "width": request.width,
            "height": request.height,
            "steps": arguments.steps,
            "model": pipeline.name(),
            "device": pipeline.device().info.name,
        }));
    } else {
        println(&format!("load                    {:8.3} s", measurements.load_s));
        println(&format!("text encode, two prompts {:7.3} s", measurements.text_s));
        println(&format!("UNet step, batch 2      {:8.3} s", measurements.unet_step_s));
        println(&format!("VAE decode              {:8.3} s", measurements.vae_decode_s));
        if let Some(peak) = measurements.peak_rss_mb {
            println(&format!("peak memory             {peak:8.0} MB"));
        }
    }
    Ok(())
}

/// A picture as the checkpoint recommends it, of the size and the steps that are asked for.
pub(super) fn picture(
    arguments: &BenchArguments,
    checkpoint: CheckpointDefaults,
) -> GenerationRequest {
    let base = Defaults { checkpoint, random_seed: 0 }.request();
    GenerationRequest {
        width: arguments.width.unwrap_or(base.width),
        height: arguments.height.unwrap_or(base.height),
        steps: arguments.steps,
        ..base
    }
}

fn measure(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    interruption: &Interruption,
    load_s: f64,
) -> anyhow::Result<Measurements> {
    let repetitions = REPETITIONS.min(request.steps - 1);
    let mut text = Vec::new();
    for repetition in 0..=repetitions {
        // Encoded prompts are kept, so each repetition needs one of its own.
        let prompts = GenerationRequest {
            prompt: format!("a photo of a cat {repetition}"),
            ..request.clone()
        };
        let started = Instant::now();
        pipeline.encode_prompt(&prompts, &mut || interruption.flow())?;
        pipeline.synchronise()?;
        text.push(started.elapsed().as_secs_f64());
    }
    let conditioning = pipeline.encode_prompt(request, &mut || interruption.flow())?;

    let mut noise = NoiseGenerator::new(request.rng, request.seed);
    let mut scheduler = pipeline.scheduler(request)?;
    let device = pipeline.device().device.clone();
    let mut draw = |shape| noise.normal(shape, &device);
    let start = pipeline
        .start_from_noise(request, scheduler.as_ref(), &mut draw, &mut || interruption.flow())?;
    let mut steps = Vec::new();
    let mut started = Instant::now();
    let latents = pipeline.denoise_from(
        start,
        &conditioning,
        request,
        scheduler.as_mut(),
        &mut draw,
        &mut |denoising| {
            if let Denoising::Evaluated { .. } = denoising {
                steps.push(started.elapsed().as_secs_f64());
                started = Instant::now();
            }
            interruption.flow()
        },
    )?;

    let mut decode = Vec::new();
    for _ in 0..=repetitions {
        let started = Instant::now();
        pipeline.decode(latents.clone(), &mut || interruption.flow())?;
        decode.push(started.elapsed().as_secs_f64());
    }
    Ok(Measurements {
        load_s,
        text_s: median_after_warm_up(&text),
        unet_step_s: median_after_warm_up(&steps),
        vae_decode_s: median_after_warm_up(&decode),
        peak_rss_mb: memory::peak_resident_bytes().map(|bytes| bytes as f64 / 1e6),
    })
}

/// The median of all but the first.
fn median_after_warm_up(seconds: &[f64]) -> f64 {
    let mut counted = seconds.get(1..).unwrap_or_default().to_vec();
    counted.sort_by(f64::total_cmp);
    counted.get(counted.len() / 2).copied().unwrap_or(f64::NAN)
}
