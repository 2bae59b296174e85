//! What every sampler must do, whatever its formulas.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    config::{BetaSchedule, PredictionType, TimestepSpacing},
    *,
};

fn stable_diffusion() -> SchedulerConfig {
    SchedulerConfig {
        beta_start: Some(0.00085),
        beta_end: Some(0.012),
        beta_schedule: Some(BetaSchedule::ScaledLinear),
        skip_prk_steps: Some(true),
        ..SchedulerConfig::default()
    }
    .for_stable_diffusion()
}

fn latents(values: [f32; 4]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 2, 2]), &Device::flex())
}

fn values(tensor: &Tensor<4>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().unwrap()
}

fn pairs() -> impl Iterator<Item = (Sampler, Schedule)> {
    Sampler::ALL.into_iter().flat_map(|sampler| {
        Schedule::ALL.into_iter().filter_map(move |schedule| {
            refuse_pair(sampler, schedule).is_ok().then_some((sampler, schedule))
        })
    })
}

/// The model's output where the image is known exactly.
fn perfect(
    prediction: PredictionType,
    scheduler: &dyn Scheduler,
    evaluation: usize,
    image: &Tensor<4>,
    sample: &Tensor<4>,
) -> Tensor<4> {
    // Noise levels in both conventions, read off add_noise.
    let zero = image.zeros_like();
    let one = zero.clone().add_scalar(1.0);
    let part = |image: &Tensor<4>, noise: &Tensor<4>| {
        f64::from(values(&scheduler.add_noise(image.clone(), noise.clone(), evaluation))[0])
    };
    let (image_part, noise_part) = (part(&one, &zero), part(&zero, &one));
    let noise = (sample.clone() - image.clone().mul_scalar(image_part)).div_scalar(noise_part);
    let scale = image_part.hypot(noise_part);
    match prediction {
        PredictionType::Epsilon => noise,
        PredictionType::Sample => image.clone(),
        PredictionType::VPrediction => {
            noise.mul_scalar(image_part / scale) - image.clone().mul_scalar(noise_part / scale)
        }
    }
}

#[test]
fn a_perfect_model_gives_its_image() {
    let image = latents([0.5, -0.25, 1.0, 0.0]);
    let drawn = latents([0.3, -1.2, 0.8, 2.0]);
    for (sampler, schedule) in pairs() {
        for prediction in [PredictionType::Epsilon, PredictionType::VPrediction] {
            // The velocity changes with the noise even where the image is known, so a multistep
            // method that averages outputs is only exact for the noise.
            if sampler == Sampler::Pndm && prediction == PredictionType::VPrediction {
                continue;
            }
            for skipped in [0, 4] {
                let config = SchedulerConfig {
                    prediction_type: Some(prediction),
                    set_alpha_to_one: Some(true),
                    ..stable_diffusion()
                };
                let mut scheduler = build(sampler, schedule, &config, 12).unwrap();
                let start = scheduler.start_after(skipped).unwrap();
                let mut sample = scheduler.add_noise(image.clone(), drawn.clone(), start);
                for evaluation in start..scheduler.timesteps().len() {
                    let output =
                        perfect(prediction, scheduler.as_ref(), evaluation, &image, &sample);
                    let preview = scheduler.predicted_original(evaluation, &output, &sample);
                    if sampler != Sampler::Pndm {
                        let what = format!("{sampler} {schedule} {evaluation} preview");
                        assert_near(&preview, &image, 2e-3, &what);
                    }
                    sample = scheduler.step(evaluation, output, sample, &mut || drawn.clone());
                }
                // A start in the middle makes PNDM's redone step end a level too high.
                if sampler != Sampler::Pndm || skipped == 0 {
                    let what = format!("{sampler} {schedule} {prediction:?}");
                    assert_near(&sample, &image, noise_left(sampler, schedule), &what);
                }
            }
        }
    }
}

/// How far from its image a perfect run may end: some end at the smallest sigma, which is up to
/// 0.041. The noise that is drawn here is 2 at the most, and equal draws add up.
fn noise_left(sampler: Sampler, schedule: Schedule) -> f32 {
    match (sampler, schedule) {
        (Sampler::Deis | Sampler::Tcd, _) | (_, Schedule::KlOptimal) => 0.2,
        _ => 2e-3,
    }
}

fn assert_near(actual: &Tensor<4>, expected: &Tensor<4>, tolerance: f32, what: &str) {
    for (actual, expected) in values(actual).into_iter().zip(values(expected)) {
        assert!((actual - expected).abs() < tolerance, "{what}: {actual} is not {expected}");
    }
}

#[test]
fn every_evaluation_belongs_to_a_step() {
    for (sampler, schedule) in pairs() {
        for steps in [1, 2, 20] {
            let scheduler = build(sampler, schedule, &stable_diffusion(), steps).unwrap();
            let evaluations = scheduler.timesteps().len();
            assert_eq!(scheduler.steps(), steps, "{sampler}");
            assert_eq!(scheduler.step_of(0), 0);
            assert_eq!(scheduler.step_of(evaluations - 1), steps - 1, "{sampler}");
        }
    }
    let config = SchedulerConfig { skip_prk_steps: None, ..stable_diffusion() };
    let scheduler = build(Sampler::Pndm, Schedule::Automatic, &config, 10).unwrap();
    let steps: Vec<usize> =
        (0..scheduler.timesteps().len()).map(|evaluation| scheduler.step_of(evaluation)).collect();
    assert_eq!(steps, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// Runs with an arbitrary model, and says whether all that comes out are numbers.
fn gives_numbers(mut scheduler: Box<dyn Scheduler>) -> bool {
    let sigma = scheduler.init_noise_sigma();
    let mut sample = latents([1.0, -1.0, 0.5, 0.0]).mul_scalar(sigma);
    for evaluation in 0..scheduler.plan().evaluations() {
        let input = scheduler.scale_model_input(sample.clone(), evaluation);
        let output = input.mul_scalar(0.3);
        sample = scheduler.step(evaluation, output, sample, &mut || latents([0.1, 0.2, -0.3, 1.0]));
    }
    values(&sample).iter().all(|value| value.is_finite())
}

#[test]
fn no_number_of_steps_gives_anything_but_numbers() {
    for sampler in Sampler::ALL {
        for spacing in
            [TimestepSpacing::Leading, TimestepSpacing::Trailing, TimestepSpacing::Linspace]
        {
            for zero_snr in [false, true] {
                for steps in [1, 2, 3, 14, 15, 50, 61, 1000] {
                    let config = SchedulerConfig {
                        timestep_spacing: Some(spacing),
                        prediction_type: Some(PredictionType::VPrediction),
                        rescale_betas_zero_snr: Some(zero_snr),
                        ..stable_diffusion()
                    };
                    let what = format!("{sampler} {spacing:?} {zero_snr} {steps}");
                    match build(sampler, Schedule::Automatic, &config, steps) {
                        Ok(scheduler) => assert!(gives_numbers(scheduler), "{what}"),
                        Err(error) => assert!(
                            steps == 1000 && spacing == TimestepSpacing::Leading
                                || steps > 50 && matches!(sampler, Sampler::Lcm | Sampler::Tcd),
                            "{what}: {error}"
                        ),
                    }
                }
            }
        }
    }
}

#[test]
fn no_schedule_gives_anything_but_numbers() {
    for (sampler, schedule) in pairs().filter(|(_, schedule)| *schedule != Schedule::Automatic) {
        for order in [1, 2, 3] {
            for steps in [1, 2, 5, 40] {
                let config = SchedulerConfig { solver_order: Some(order), ..stable_diffusion() };
                let scheduler = build(sampler, schedule, &config, steps).unwrap();
                assert!(gives_numbers(scheduler), "{sampler} {schedule} {order} {steps}");
            }
        }
    }
}

fn refusal(sampler: Sampler, schedule: Schedule, config: &SchedulerConfig, steps: usize) -> String {
    build(sampler, schedule, config, steps).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn impossible_runs_are_refused_with_the_reason() {
    let config = stable_diffusion();
    for (sampler, schedule) in pairs() {
        assert!(refusal(sampler, schedule, &config, 0).contains("at least 1"));
        assert!(refusal(sampler, schedule, &config, 1001).contains("1001"));
        let scheduler = build(sampler, schedule, &config, 5).unwrap();
        assert!(scheduler.start_after(4).is_ok());
        assert!(matches!(scheduler.start_after(5), Err(SchedulerError::NothingLeft { steps: 5 })));
    }
    for sampler in [Sampler::Ddim, Sampler::Ddpm, Sampler::Pndm] {
        let message = refusal(sampler, Schedule::Karras, &config, 10);
        assert!(message.contains("karras") && message.contains("no sigmas"), "{message}");
    }
    for sampler in [Sampler::Lcm, Sampler::Tcd] {
        let message = refusal(sampler, Schedule::Exponential, &config, 4);
        assert!(message.contains("exponential") && message.contains("distilled"), "{message}");
        assert!(refusal(sampler, Schedule::Automatic, &config, 51).contains("50"));
    }
    let sample =
        SchedulerConfig { prediction_type: Some(PredictionType::Sample), ..stable_diffusion() };
    assert!(refusal(Sampler::Pndm, Schedule::Automatic, &sample, 10).contains("prediction_type"));
    let thresholding = SchedulerConfig { thresholding: Some(true), ..stable_diffusion() };
    for sampler in [Sampler::Ddim, Sampler::Dpmpp2m, Sampler::UniPc, Sampler::Lcm] {
        assert!(refusal(sampler, Schedule::Automatic, &thresholding, 10).contains("thresholding"));
    }
    for (key, config) in [
        ("use_flow_sigmas", SchedulerConfig { use_flow_sigmas: Some(true), ..stable_diffusion() }),
        ("solver_order", SchedulerConfig { solver_order: Some(4), ..stable_diffusion() }),
        (
            "variance_type",
            SchedulerConfig { variance_type: Some("learned".to_owned()), ..stable_diffusion() },
        ),
        (
            "final_sigmas_type",
            SchedulerConfig {
                algorithm_type: Some(config::AlgorithmType::Dpmsolver),
                ..stable_diffusion()
            },
        ),
    ] {
        assert!(refusal(Sampler::Dpmpp2m, Schedule::Automatic, &config, 10).contains(key));
    }
}

#[test]
fn pure_noise_cannot_be_read_as_epsilon() {
    let config = SchedulerConfig {
        rescale_betas_zero_snr: Some(true),
        timestep_spacing: Some(TimestepSpacing::Trailing),
        ..stable_diffusion()
    };
    assert!(
        refusal(Sampler::Ddim, Schedule::Automatic, &config, 10).contains("rescale_betas_zero_snr")
    );
    let leading =
        SchedulerConfig { timestep_spacing: Some(TimestepSpacing::Leading), ..config.clone() };
    assert!(build(Sampler::Ddim, Schedule::Automatic, &leading, 10).is_ok());
    assert!(build(Sampler::Euler, Schedule::Automatic, &config, 10).is_ok());
}

#[test]
fn runge_kutta_steps_need_the_whole_run() {
    let config = SchedulerConfig { skip_prk_steps: Some(false), ..stable_diffusion() };
    assert!(refusal(Sampler::Pndm, Schedule::Automatic, &config, 3).contains("skip_prk_steps"));
    let scheduler = build(Sampler::Pndm, Schedule::Automatic, &config, 4).unwrap();
    assert_eq!(scheduler.start_after(0).unwrap(), 0);
    assert!(scheduler.start_after(1).is_err());
}

#[test]
fn absent_keys_take_the_default_of_the_class_that_is_built() {
    let config = stable_diffusion();
    let first = |sampler| build(sampler, Schedule::Automatic, &config, 10).unwrap().timesteps()[0];
    assert_eq!(first(Sampler::Ddim), 901.0);
    assert_eq!(first(Sampler::Pndm), 901.0);
    assert_eq!(first(Sampler::Euler), 999.0);
    assert_eq!(first(Sampler::EulerAncestral), 999.0);
    assert_eq!(first(Sampler::Dpmpp2m), 999.0);
}

#[test]
fn the_end_of_a_run_has_no_noise() {
    let image = latents([0.5, -0.25, 1.0, 0.0]);
    for (sampler, schedule) in pairs() {
        let scheduler = build(sampler, schedule, &stable_diffusion(), 5).unwrap();
        let end = scheduler.timesteps().len();
        let noised = scheduler.add_noise(image.clone(), latents([1.0; 4]), end);
        assert_eq!(values(&noised), values(&image));
    }
}
