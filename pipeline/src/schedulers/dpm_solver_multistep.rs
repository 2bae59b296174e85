//! Multistep DPM-Solver (Lu et al., arXiv:2206.00927) and DPM-Solver++ (arXiv:2211.01095):
//! diffusers `schedulers/scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, Scheduler, SchedulerConfig, SchedulerError,
    config::{AlgorithmType, BetaSchedule, FinalSigmasType, SolverType, TimestepSpacing},
    noise_level::{NoiseLevel, alpha_sigma},
    noise_schedule::NoiseSchedule,
    plan::Evaluation,
    prediction::weighted_sum,
    sampler::{Sampler, Schedule},
    sigma_spacing::{SigmaSpacing, interpolate, range, timestep_of},
    timesteps::{check_steps, leading, linspace, trailing},
};

/// Runs of fewer steps end at lower order where `lower_order_final` says so.
const FEW_STEPS: usize = 15;

/// A run of DPM-Solver.
#[derive(Debug)]
pub(super) struct DpmSolverMultistep {
    plan: Plan,
    algorithm: AlgorithmType,
    solver: SolverType,
    order: usize,
    lower_order_final: bool,
    first_order_at_end: bool,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// What the model predicted (the image or the noise, by the algorithm), the latest first.
    predictions: VecDeque<Tensor<4>>,
}

impl DpmSolverMultistep {
    pub(super) fn new(
        sampler: Sampler,
        schedule: Schedule,
        config: &SchedulerConfig,
        steps: usize,
    ) -> Result<Self, SchedulerError> {
        let algorithm = config.algorithm_type.unwrap_or_default();
        let order = config.solver_order.unwrap_or(2);
        let final_sigma = config.final_sigmas_type.unwrap_or_default();
        refuse_unsupported(sampler, config, algorithm, order)?;
        if !algorithm.predicts_original() && final_sigma == FinalSigmasType::Zero {
            return Err(SchedulerError::Config {
                key: "final_sigmas_type",
                reason: "is zero, to which an `algorithm_type` without ++ cannot step".to_owned(),
            });
        }
        let zero_snr = config.rescale_betas_zero_snr.unwrap_or(false);
        let training = NoiseSchedule::new(config, zero_snr)?;
        let training = if zero_snr { training.with_finite_sigmas() } else { training };
        let training = training.sigmas()?;
        let spacing = SigmaSpacing::choose(schedule, config)?;
        let spacing = if spacing == SigmaSpacing::Timesteps && config.use_lu_lambdas == Some(true) {
            SigmaSpacing::Lu
        } else {
            spacing
        };
        let (timesteps, mut sigmas) = plan(spacing, config, &training, steps)?;
        sigmas.push(match final_sigma {
            FinalSigmasType::Zero => 0.0,
            FinalSigmasType::SigmaMin => training[0],
        });
        let lower_order_final =
            config.lower_order_final.unwrap_or(true) && timesteps.len() < FEW_STEPS;
        Ok(Self {
            plan: preserving_plan(config, &timesteps, &sigmas),
            algorithm,
            solver: config.solver_type.unwrap_or_default(),
            order,
            lower_order_final,
            first_order_at_end: lower_order_final
                || config.euler_at_final.unwrap_or(false)
                || final_sigma == FinalSigmasType::Zero,
            sigmas,
            predictions: VecDeque::with_capacity(order),
        })
    }

    /// The order of a step, given how many predictions there are with the latest one.
    fn order_of(&self, evaluation: usize) -> usize {
        let left = self.plan.evaluations() - 1 - evaluation;
        let most = match left {
            0 if self.first_order_at_end => 1,
            1 if self.lower_order_final => 2,
            _ => self.order,
        };
        most.min(self.predictions.len())
    }

    /// What the algorithm integrates: the denoised image or the noise.
    fn predict(&self, evaluation: usize, model_output: Tensor<4>, sample: Tensor<4>) -> Tensor<4> {
        let mixture = if self.algorithm.predicts_original() {
            self.plan.original(evaluation)
        } else {
            let (alpha, sigma) = alpha_sigma(self.sigmas[evaluation]);
            self.plan.prediction().noise(alpha, sigma)
        };
        mixture.of(sample, model_output)
    }
}

impl AlgorithmType {
    fn predicts_original(self) -> bool {
        matches!(self, Self::DpmsolverPlusPlus | Self::SdeDpmsolverPlusPlus)
    }

    fn draws_noise(self) -> bool {
        matches!(self, Self::SdeDpmsolver | Self::SdeDpmsolverPlusPlus)
    }
}

impl Scheduler for DpmSolverMultistep {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let prediction = self.predict(evaluation, model_output, sample.clone());
        self.predictions.truncate(self.order - 1);
        self.predictions.push_front(prediction);
        let order = self.order_of(evaluation);
        let earlier = (evaluation + 1).saturating_sub(order);
        let weights = StepWeights::new(
            self.algorithm,
            self.solver,
            self.sigmas[evaluation + 1],
            &self.sigmas[earlier..=evaluation],
        );
        let mut next = weighted_sum([
            (weights.sample, sample),
            (weights.predictions[0], self.predictions[0].clone()),
        ]);
        for (&weight, prediction) in weights.predictions.iter().zip(&self.predictions).skip(1) {
            next = weighted_sum([(1.0, next), (weight, prediction.clone())]);
        }
        if self.algorithm.draws_noise() {
            next = weighted_sum([(1.0, next), (weights.noise, noise())]);
        }
        next
    }
}

fn refuse_unsupported(
    sampler: Sampler,
    config: &SchedulerConfig,
    algorithm: AlgorithmType,
    order: usize,
) -> Result<(), SchedulerError> {
    let refused = |option: String| Err(SchedulerError::Unsupported { sampler, option });
    if config.thresholding.unwrap_or(false) {
        return refused("`thresholding`: true".to_owned());
    }
    if config.use_flow_sigmas.unwrap_or(false) {
        return refused("`use_flow_sigmas`: true".to_owned());
    }
    if let Some(variance @ ("learned" | "learned_range")) = config.variance_type.as_deref() {
        return refused(format!("`variance_type`: {variance}"));
    }
    if !(1..=3).contains(&order) {
        return refused(format!("`solver_order`: {order}"));
    }
    if order == 3 && algorithm == AlgorithmType::SdeDpmsolver {
        return refused("`solver_order`: 3 with `algorithm_type`: sde-dpmsolver".to_owned());
    }
    Ok(())
}

/// The timesteps and the sigmas of a run, without the sigma that it ends at.
fn plan(
    spacing: SigmaSpacing,
    config: &SchedulerConfig,
    training: &[f64],
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
    check_steps(steps, training.len())?;
    let (largest, smallest) = range(config, training[training.len() - 1], training[0])?;
    if let Some(sigmas) = spacing.space(largest, smallest, steps) {
        let cosine = config.beta_schedule == Some(BetaSchedule::SquaredcosCapV2);
        let rounds = matches!(spacing, SigmaSpacing::Karras | SigmaSpacing::Lu) && !cosine;
        let timesteps = sigmas
            .iter()
            .map(|&sigma| {
                let timestep = timestep_of(sigma, training);
                if rounds { timestep.round_ties_even() } else { timestep.trunc() }
            })
            .collect();
        return Ok((timesteps, sigmas));
    }
    // The cosine schedule's last levels are so noisy that the solver loses its footing there.
    let limit = config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY);
    let visited = training.iter().filter(|&&sigma| -sigma.ln() >= limit).count();
    check_steps(steps, visited)?;
    let timesteps = match config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace) {
        TimestepSpacing::Linspace => linspace(0.0, (visited - 1) as f64, steps + 1)
            .into_iter()
            .skip(1)
            .rev()
            .map(f64::round_ties_even)
            .collect(),
        TimestepSpacing::Leading => {
            check_steps(steps, visited - 1)?;
            let ratio = visited / (steps + 1);
            leading(ratio, steps, ratio + config.steps_offset.unwrap_or(0))
        }
        TimestepSpacing::Trailing => trailing(visited, training.len() as f64 / steps as f64),
    };
    let sigmas = timesteps.iter().map(|&timestep| interpolate(training, timestep)).collect();
    Ok((timesteps, sigmas))
}

/// The plan of a solver that makes one evaluation a step, at variance preserving levels.
fn preserving_plan(config: &SchedulerConfig, timesteps: &[f64], sigmas: &[f64]) -> Plan {
    let evaluations = timesteps.iter().zip(sigmas).zip(0..).map(|((&timestep, &sigma), step)| {
        Evaluation { timestep, level: NoiseLevel::preserving(sigma), step }
    });
    Plan::new(config.prediction_type.unwrap_or_default(), 1.0, evaluations)
}

/// What the parts of the next sample are multiplied by.
#[derive(Debug)]
struct StepWeights {
    sample: f64,
    /// Of the latest prediction, the one before it, and so on.
    predictions: [f64; 3],
    noise: f64,
}

impl StepWeights {
    /// The weights of a step to the sigma `next`.
    ///
    /// `sigmas` are those of the predictions that the step may use, the latest last; there are
    /// as many as the order wanted.
    fn new(algorithm: AlgorithmType, solver: SolverType, next: f64, sigmas: &[f64]) -> Self {
        let lambda = |sigma: f64| -sigma.ln();
        let mut backwards = sigmas.iter().rev().copied();
        let current = backwards.next().unwrap_or(next);
        let h = lambda(next) - lambda(current);
        if h == 0.0 {
            return Self { sample: 1.0, predictions: [0.0; 3], noise: 0.0 };
        }
        let mut later = current;
        // Rounded timesteps can repeat a sigma, and no difference can be taken across that.
        let intervals: Vec<f64> = backwards
            .map(|sigma| lambda(std::mem::replace(&mut later, sigma)) - lambda(sigma))
            .take_while(|interval| *interval != 0.0)
            .collect();
        let Terms { sample, prediction, midpoint, first, second, noise } =
            Terms::new(algorithm, current, next, h);
        let predictions = match intervals.as_slice() {
            [] => [prediction, 0.0, 0.0],
            [interval] => {
                let first = match solver {
                    SolverType::Midpoint => midpoint,
                    SolverType::Heun => first,
                };
                let slope = first * h / interval;
                [prediction + slope, -slope, 0.0]
            }
            [interval, earlier, ..] => {
                let both = interval + earlier;
                let curvature = first * interval / both + second * h / both;
                let slope = (first + curvature) * h / interval;
                let earlier_slope = -curvature * h / earlier;
                [prediction + slope, earlier_slope - slope, -earlier_slope]
            }
        };
        Self { sample, predictions, noise }
    }
}

/// The factors of the solution's terms, in the logarithm of alpha over sigma over a step of `h`.
struct Terms {
    sample: f64,
    /// Of the latest prediction.
    prediction: f64,
    /// Of its first difference in the midpoint method.
    midpoint: f64,
    /// Of its first difference otherwise.
    first: f64,
    /// Of its second difference.
    second: f64,
    noise: f64,
}

impl Terms {
    fn new(algorithm: AlgorithmType, current: f64, next: f64, h: f64) -> Self {
        let (alpha, sigma) = alpha_sigma(next);
        let (current_alpha, current_sigma) = alpha_sigma(current);
        match algorithm {
            AlgorithmType::DpmsolverPlusPlus => {
                let decay = (-h).exp_m1();
                Self {
                    sample: sigma / current_sigma,
                    prediction: -alpha * decay,
                    midpoint: -0.5 * alpha * decay,
                    first: alpha * (decay / h + 1.0),
                    second: -alpha * ((decay + h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::Dpmsolver => {
                let growth = h.exp_m1();
                Self {
                    sample: alpha / current_alpha,
                    prediction: -sigma * growth,
                    midpoint: -0.5 * sigma * growth,
                    first: -sigma * (growth / h - 1.0),
                    second: -sigma * ((growth - h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::SdeDpmsolverPlusPlus => {
                let twice = 2.0 * h;
                let decay = -(-twice).exp_m1();
                Self {
                    sample: sigma / current_sigma * (-h).exp(),
                    prediction: alpha * decay,
                    midpoint: 0.5 * alpha * decay,
                    first: alpha * (1.0 - decay / twice),
                    second: alpha * ((decay - twice) / (twice * twice) - 0.5),
                    noise: sigma * decay.sqrt(),
                }
            }
            AlgorithmType::SdeDpmsolver => {
                let growth = h.exp_m1();
                Self {
                    sample: alpha / current_alpha,
                    prediction: -2.0 * sigma * growth,
                    midpoint: -sigma * growth,
                    first: -2.0 * sigma * (growth / h - 1.0),
                    second: 0.0,
                    noise: sigma * (2.0 * h).exp_m1().sqrt(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Integrates from sigma 10 to 0.1 a model whose denoised image at sigma is `1 / (1 + sigma)`
    /// and gives the sample at the end.
    fn solve(order: usize, solver: SolverType, steps: usize) -> f64 {
        let sigmas: Vec<f64> =
            linspace(10_f64.ln(), 0.1_f64.ln(), steps + 1).into_iter().map(f64::exp).collect();
        let images: Vec<f64> = sigmas.iter().map(|sigma| 1.0 / (1.0 + sigma)).collect();
        (0..steps).fold(0.3, |sample, step| {
            let used = order.min(step + 1);
            let weights = StepWeights::new(
                AlgorithmType::DpmsolverPlusPlus,
                solver,
                sigmas[step + 1],
                &sigmas[step + 1 - used..=step],
            );
            let images = images[step + 1 - used..=step].iter().rev();
            weights
                .predictions
                .iter()
                .zip(images)
                .fold(weights.sample * sample, |sum, (weight, image)| sum + weight * image)
        })
    }

    #[test]
    fn errors_shrink_with_the_order() {
        let exact = solve(3, SolverType::Heun, 40_000);
        for (order, solver, least) in [
            (1, SolverType::Midpoint, 1.9),
            (2, SolverType::Midpoint, 3.6),
            (2, SolverType::Heun, 3.6),
            (3, SolverType::Heun, 3.9),
        ] {
            let error = |steps| (solve(order, solver, steps) - exact).abs();
            let gain = error(200) / error(400);
            assert!(gain > least, "order {order} {solver:?}: halving gains {gain}");
        }
        assert!(
            (solve(3, SolverType::Heun, 400) - exact).abs()
                < 0.2 * (solve(2, SolverType::Heun, 400) - exact).abs()
        );
    }

    #[test]
    fn repeated_sigmas_give_finite_weights() {
        for algorithm in [
            AlgorithmType::Dpmsolver,
            AlgorithmType::DpmsolverPlusPlus,
            AlgorithmType::SdeDpmsolver,
            AlgorithmType::SdeDpmsolverPlusPlus,
        ] {
            for (next, sigmas) in [(1.0, [3.0, 2.0, 2.0]), (2.0, [4.0, 3.0, 2.0])] {
                let weights = StepWeights::new(algorithm, SolverType::Heun, next, &sigmas);
                assert!(weights.sample.is_finite() && weights.noise.is_finite());
                assert!(weights.predictions.iter().all(|weight| weight.is_finite()));
            }
        }
    }
}
