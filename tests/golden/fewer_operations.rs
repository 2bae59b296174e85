//! Ways to make a picture with fewer operations, against the same made in parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::ControlFlow;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use emberbrush_pipeline::{
    checkpoint::folder,
    device::{self, ComputeDtype, DeviceChoice},
    diffusion::{Denoising, DenoisingStart, DiffusionPipeline},
    prompt::PromptSyntax,
    request::{FewerOperations, GenerationRequest},
    schedulers::Sampler,
};
use emberbrush_tests::{
    Golden, NETWORK_TOLERANCE, UNetCase, assert_close, checkpoint, load_in, relative_difference,
    values,
};
use emberbrush_unet::{
    ControlNetOutput, CrossAttention, DeepFeatures, EvaluationCache, Savings, UNet2DConditionModel,
    UNetInput,
};

const STEPS: usize = 4;

/// Largest allowed difference in f64, where only the sinusoids of timesteps are rounded to f32.
const DOUBLE_TOLERANCE: f32 = 1e-6;

fn unet(name: &str, dtype: FloatDType) -> UNet2DConditionModel {
    let checkpoint = checkpoint(name);
    let folder = checkpoint.join("unet");
    let config = std::fs::read(folder.join("config.json")).unwrap();
    let config = serde_json::from_slice(&config).unwrap();
    let weights = folder.join("diffusion_pytorch_model.safetensors");
    load_in(weights, &Device::flex(), dtype, |weights| UNet2DConditionModel::new(&config, weights))
}

fn evaluate(
    unet: &UNet2DConditionModel,
    input: UNetInput<'_>,
    savings: Savings,
    cache: &mut EvaluationCache,
) -> Tensor<4> {
    unet.forward_saving(input, savings, cache, &mut || ControlFlow::Continue(())).unwrap()
}

/// Compares evaluations of `cases`, the last of each with `key` of the goldens, in f32 and in f64.
/// Savings are those of the first evaluation and of those after it.
fn check(name: &str, cases: &[&str], [first, rest]: [Savings; 2], key: &str) {
    let device = Device::flex();
    let inputs = Golden::open(&format!("unet_{name}"), &device);
    let golden = Golden::open("fewer_operations", &device);
    let exact = golden.tensor::<4>(&format!("{name}.{key}.exact"));
    let expected = golden.tensor::<4>(&format!("{name}.{key}.out"));
    // Merging amplifies rounding in the tiny SDXL network, which f64 tells from a mistake.
    let rounding = NETWORK_TOLERANCE.max(3.0 * relative_difference(&expected, &exact));
    for (dtype, expected, tolerance) in
        [(FloatDType::F64, &exact, DOUBLE_TOLERANCE), (FloatDType::F32, &expected, rounding)]
    {
        let unet = unet(&format!("{name}-tiny"), dtype);
        let mut cache = EvaluationCache::default();
        let outputs = cases.iter().enumerate().map(|(place, case)| {
            let case = UNetCase::read(&inputs, case);
            let savings = if place == 0 { first } else { rest };
            evaluate(&unet, case.input(DType::from(dtype)), savings, &mut cache)
        });
        let output = outputs.last().unwrap().cast(DType::F32);
        assert_close(&format!("{name} {key} in {dtype:?}"), &output, expected, tolerance);
        let case = UNetCase::read(&inputs, cases[cases.len() - 1]);
        let input = case.input(DType::from(dtype));
        let ordinary = unet.forward(input, &mut || ControlFlow::Continue(())).unwrap();
        assert!(relative_difference(&ordinary.cast(DType::F32), &output) > 1e-3, "{name} {key}");
    }
}

const KEPT: Savings = Savings {
    deep_features: DeepFeatures::Kept,
    cross_attention: CrossAttention::Computed,
    token_merging: 0.0,
};
const REUSED: Savings = Savings { deep_features: DeepFeatures::Reused, ..KEPT };

#[test]
fn deep_features_of_another_evaluation_are_reused() {
    for name in ["sd15", "sdxl"] {
        check(name, &["b2", "b2_tvec"], [KEPT, REUSED], "deep");
    }
}

#[test]
fn cross_attention_of_another_evaluation_is_reused() {
    let reused = Savings { cross_attention: CrossAttention::Reused, ..Savings::default() };
    for name in ["sd15", "sdxl"] {
        check(name, &["b2", "b2_tvec"], [reused, reused], "cross");
    }
}

/// On the odd case's second level, where Stable Diffusion XL has its first transformers, the squares
/// of four do not cover all tokens.
#[test]
fn half_of_the_tokens_are_merged() {
    let merging = Savings { token_merging: 0.5, ..Savings::default() };
    for name in ["sd15", "sdxl"] {
        for case in ["b2", "nonsquare", "odd"] {
            check(name, &[case], [merging, merging], &format!("merged.{case}"));
        }
    }
}

#[test]
fn without_savings_nothing_changes() {
    let device = Device::flex();
    let unet = unet("sd15-tiny", FloatDType::F32);
    let golden = Golden::open("unet_sd15", &device);
    let case = UNetCase::read(&golden, "b2");
    let input = || case.input(DType::F32);
    let ordinary = unet.forward(input(), &mut || ControlFlow::Continue(())).unwrap();
    let cache = &mut EvaluationCache::default();
    let same = |output: Tensor<4>| assert_eq!(values(&output), values(&ordinary));
    same(evaluate(&unet, input(), Savings::default(), cache));
    assert!(!cache.has_deep_features());
    // Nothing was kept so far.
    same(evaluate(&unet, input(), REUSED, cache));
    same(evaluate(&unet, input(), KEPT, cache));
    assert!(cache.has_deep_features());
    // Of the same input the deep features are the same.
    assert!(relative_difference(&evaluate(&unet, input(), REUSED, cache), &ordinary) <= 1e-6);
    // Less than one token of 64.
    same(evaluate(&unet, input(), Savings { token_merging: 1.0 / 65.0, ..KEPT }, cache));
}

/// What a ControlNet adds is reused with the deep features, to the first skip connection too.
#[test]
fn what_controlnets_add_is_reused() {
    let device = Device::flex();
    let unet = unet("sd15-tiny", FloatDType::F32);
    let case = UNetCase::read(&Golden::open("unet_sd15", &device), "b2");
    let golden = Golden::open("controlnet", &device);
    let tensor = |part: &str| golden.tensor::<4>(&format!("sd15.b2.{part}"));
    let down = (0..12).map(|index| tensor(&format!("down.{index}"))).collect();
    let residuals = Some(ControlNetOutput { down, mid: tensor("mid") });
    let steered = || UNetInput { residuals: residuals.clone(), ..case.input(DType::F32) };
    let cache = &mut EvaluationCache::default();
    let whole = evaluate(&unet, steered(), KEPT, cache);
    let shallow = evaluate(&unet, case.input(DType::F32), REUSED, cache);
    assert!(relative_difference(&shallow, &whole) <= 1e-6);
}

fn load() -> DiffusionPipeline {
    load_checkpoint("sd15-tiny")
}

fn load_checkpoint(name: &str) -> DiffusionPipeline {
    let folder = checkpoint(name);
    let files = folder::locate(&folder).unwrap();
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let (mut pipeline, _) = DiffusionPipeline::load(&files, device, ComputeDtype::F32).unwrap();
    pipeline.set_prompt_syntax(PromptSyntax::Weighted);
    pipeline
}

fn request(prompt: &str, guidance_scale: f64, skip_negative_after: f64) -> GenerationRequest {
    let mut request = GenerationRequest {
        negative_prompt: "blur".to_owned(),
        width: 64,
        height: 64,
        steps: STEPS as u32,
        guidance_scale,
        sampler: Sampler::Ddim,
        seed: 5,
        ..GenerationRequest::new(prompt)
    };
    request.fewer_operations.skip_negative_after = skip_negative_after;
    request
}

/// The latents after each evaluation from `start` on.
fn denoise(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
    start: DenoisingStart,
) -> Vec<Tensor<4>> {
    let conditioning = pipeline.encode_prompt(request, &mut || ControlFlow::Continue(())).unwrap();
    let mut scheduler = pipeline.scheduler(request).unwrap();
    let mut after = Vec::new();
    pipeline
        .denoise_from(
            start,
            &conditioning,
            request,
            scheduler.as_mut(),
            &mut |_| panic!("DDIM draws no noise"),
            &mut |denoising| {
                if let Denoising::Evaluated { latents, .. } = denoising {
                    after.push(latents.clone());
                }
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    after
}

fn noise(pipeline: &DiffusionPipeline) -> Tensor<4> {
    let values: Vec<f32> = (0..4 * 8 * 8).map(|index| (index as f32 * 0.7).sin() * 1.4).collect();
    let device = &pipeline.device().device;
    Tensor::from_data(TensorData::new(values, [1, 4, 8, 8]), device)
}

fn run(pipeline: &mut DiffusionPipeline, request: &GenerationRequest) -> Vec<Tensor<4>> {
    let start = DenoisingStart::noise(noise(pipeline));
    denoise(pipeline, request, start)
}

#[test]
fn without_the_negative_prompt_the_rest_is_not_guided() {
    let pipeline = &mut load();
    let guided = run(pipeline, &request("a cat", 5.0, 1.0));
    for (share, kept) in [(0.5, 2), (0.7, 3), (0.0, 0)] {
        let skipped = run(pipeline, &request("a cat", 5.0, share));
        let start = match kept {
            0 => noise(pipeline),
            kept => guided[kept - 1].clone(),
        };
        let mut start = DenoisingStart::noise(start);
        start.evaluation = kept;
        let rest = denoise(pipeline, &request("a cat", 1.0, 1.0), start);
        assert_eq!((skipped.len(), rest.len()), (STEPS, STEPS - kept));
        for (place, latents) in skipped.iter().enumerate() {
            let expected = if place < kept { &guided[place] } else { &rest[place - kept] };
            let difference = relative_difference(latents, expected);
            assert!(difference <= 1e-6, "{share}, evaluation {place}: {difference:e}");
        }
        let last = STEPS - 1;
        assert!(relative_difference(&skipped[last], &guided[last]) > 1e-3, "{share}");
    }
}

#[test]
fn prompts_that_and_joins_keep_the_negative_one() {
    let pipeline = &mut load();
    let whole = run(pipeline, &request("a cat AND a dog", 5.0, 1.0));
    let asked = run(pipeline, &request("a cat AND a dog", 5.0, 0.25));
    assert_eq!(relative_difference(&asked[STEPS - 1], &whole[STEPS - 1]), 0.0);
}

/// The latents after each evaluation, and how often the UNet asked before it whether to go on.
fn run_counting(
    pipeline: &mut DiffusionPipeline,
    request: &GenerationRequest,
) -> (Vec<Tensor<4>>, Vec<usize>) {
    let conditioning = pipeline.encode_prompt(request, &mut || ControlFlow::Continue(())).unwrap();
    let mut scheduler = pipeline.scheduler(request).unwrap();
    let (mut after, mut blocks, mut now) = (Vec::new(), Vec::new(), 0);
    let start = DenoisingStart::noise(noise(pipeline));
    let no_noise = &mut |_| panic!("no noise is drawn");
    pipeline
        .denoise_from(start, &conditioning, request, scheduler.as_mut(), no_noise, &mut |event| {
            match event {
                Denoising::Checkpoint => now += 1,
                Denoising::Evaluated { latents, .. } => {
                    after.push(latents.clone());
                    blocks.push(std::mem::take(&mut now));
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    (after, blocks)
}

fn with(fewer_operations: FewerOperations) -> GenerationRequest {
    GenerationRequest { fewer_operations, ..request("a cat", 5.0, 1.0) }
}

const NONE: FewerOperations = FewerOperations {
    skip_negative_after: 1.0,
    deep_cache: 1,
    token_merging: 0.0,
    reuse_cross_attention_after: 1.0,
};

#[test]
fn one_of_some_evaluations_runs_the_deep_part() {
    for name in ["sd15-tiny", "sdxl-tiny"] {
        let pipeline = &mut load_checkpoint(name);
        let (ordinary, all) = run_counting(pipeline, &with(NONE));
        let whole = all[0];
        assert_eq!(all, vec![whole; STEPS], "{name}");
        for (deep_cache, deep) in
            [(1, vec![0, 1, 2, 3]), (2, vec![0, 2]), (3, vec![0, 3]), (9, vec![0])]
        {
            let fewer = FewerOperations { deep_cache, ..NONE };
            let (latents, blocks) = run_counting(pipeline, &with(fewer));
            let whole: Vec<usize> = (0..STEPS).filter(|&at| blocks[at] == whole).collect();
            assert_eq!(whole, deep, "{name}: {blocks:?}");
            // The beginning, a residual block, perhaps a transformer, and the end.
            let shallow = blocks.iter().filter(|&&blocks| blocks != all[0]);
            assert!(shallow.clone().all(|&blocks| blocks <= 4), "{name}: {blocks:?}");
            assert_eq!(relative_difference(&latents[0], &ordinary[0]), 0.0);
            let difference = relative_difference(&latents[STEPS - 1], &ordinary[STEPS - 1]);
            assert_eq!(difference == 0.0, deep_cache == 1, "{name}, {deep_cache}");
        }
    }
}

/// With samplers that evaluate the UNet twice a step each evaluation counts.
#[test]
fn evaluations_count_and_not_steps() {
    let pipeline = &mut load();
    let request = |fewer| GenerationRequest { sampler: Sampler::Heun, ..with(fewer) };
    let (_, all) = run_counting(pipeline, &request(NONE));
    assert_eq!(all.len(), 2 * STEPS - 1);
    let fewer = FewerOperations { deep_cache: 2, ..NONE };
    let (_, blocks) = run_counting(pipeline, &request(fewer));
    let is_whole: Vec<bool> = blocks.iter().map(|&blocks| blocks == all[0]).collect();
    assert_eq!(is_whole, [true, false, true, false, true, false, true]);
}

/// Prompts that change, and a negative prompt that is left out, begin anew.
#[test]
fn other_prompts_do_not_take_what_was_kept() {
    let pipeline = &mut load();
    let whole = run_counting(pipeline, &with(NONE)).1[0];
    let fewer = FewerOperations {
        deep_cache: 4,
        reuse_cross_attention_after: 0.0,
        skip_negative_after: 0.75,
        ..NONE
    };
    let asked = GenerationRequest { prompt: "[a cat:a dog:2]".to_owned(), ..with(fewer) };
    let (latents, blocks) = run_counting(pipeline, &asked);
    let is_whole: Vec<bool> = blocks.iter().map(|&blocks| blocks == whole).collect();
    assert_eq!(is_whole, [true, false, true, true]);
    // Each of these three is as from the latents before it without anything kept.
    for (evaluation, guidance_scale) in [(2, 5.0), (3, 1.0)] {
        let mut start = DenoisingStart::noise(latents[evaluation - 1].clone());
        start.evaluation = evaluation;
        let alone = denoise(pipeline, &request("a dog", guidance_scale, 1.0), start);
        let difference = relative_difference(&latents[evaluation], &alone[0]);
        assert!(difference <= 1e-6, "evaluation {evaluation}: {difference:e}");
    }
}

#[test]
fn cross_attention_is_reused_after_one_more_evaluation() {
    let pipeline = &mut load();
    let ordinary = run(pipeline, &with(NONE));
    for (share, same) in [(1.0, 4), (0.5, 3), (0.0, 1)] {
        let fewer = FewerOperations { reuse_cross_attention_after: share, ..NONE };
        let latents = run(pipeline, &with(fewer));
        let is_same = |at: &usize| relative_difference(&latents[*at], &ordinary[*at]) <= 1e-6;
        assert_eq!((0..STEPS).take_while(is_same).count(), same, "{share}");
    }
}

/// All of it together, of several pictures at once and of one.
#[test]
fn pictures_of_a_group_are_as_alone() {
    let fewer = FewerOperations {
        deep_cache: 2,
        token_merging: 0.5,
        reuse_cross_attention_after: 0.5,
        ..NONE
    };
    for name in ["sd15-tiny", "sdxl-tiny"] {
        let pipeline = &mut load_checkpoint(name);
        let requests = ["a cat", "a dog"]
            .map(|prompt| GenerationRequest { prompt: prompt.to_owned(), ..with(fewer) });
        let alone: Vec<Tensor<4>> =
            requests.iter().map(|request| run(pipeline, request).pop().unwrap()).collect();
        let members: Vec<&GenerationRequest> = requests.iter().collect();
        let go_on = &mut || ControlFlow::Continue(());
        let conditioning = pipeline.encode_prompts(&members, go_on).unwrap();
        let mut scheduler = pipeline.scheduler(&requests[0]).unwrap();
        let starts = members.iter().map(|_| DenoisingStart::noise(noise(pipeline))).collect();
        let together = pipeline
            .denoise_group(
                starts,
                &conditioning,
                &members,
                scheduler.as_mut(),
                &mut |_| panic!("DDIM draws no noise"),
                &mut |_| ControlFlow::Continue(()),
            )
            .unwrap();
        let difference = relative_difference(&together, &Tensor::cat(alone, 0));
        assert!(difference <= 1e-4, "{name}: {difference:e}");
    }
}
