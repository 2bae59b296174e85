//! Multistep DPM-Solver (Lu et al., arXiv:2206.00927) and DPM-Solver++ (arXiv:2211.01095):
//! diffusers `schedulers/scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError,
    config::{AlgorithmType, SolverType},
    dpm_solver_terms::Terms,
    prediction::weighted_sum,
    sampler::Sampler,
    solver_steps::{FEW_STEPS, SolverSteps, refuse_unsupported, refuse_zero},
};

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
    /// A run of the deterministic solver, or of a stochastic one where the sampler is one.
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        refuse_unsupported(run)?;
        let RunSettings { sampler, config, .. } = *run;
        let algorithm = config.algorithm_type.unwrap_or_default();
        let asked_order = config.solver_order.unwrap_or(2);
        let (algorithm, order) = match sampler {
            Sampler::Dpmpp2mSde => (algorithm.stochastic(), asked_order.min(2)),
            Sampler::Dpmpp3mSde => (algorithm.stochastic(), 3),
            _ => (algorithm.deterministic(), asked_order),
        };
        if order == 3 && algorithm == AlgorithmType::SdeDpmsolver {
            return Err(SchedulerError::Unsupported {
                sampler,
                option: "`solver_order`: 3 with `algorithm_type`: sde-dpmsolver".to_owned(),
            });
        }
        if !algorithm.predicts_original() {
            refuse_zero(run, "an `algorithm_type` without ++")?;
        }
        let steps = SolverSteps::new(run)?;
        let plan = steps.plan();
        let lower_order_final =
            config.lower_order_final.unwrap_or(true) && plan.steps() < FEW_STEPS;
        Ok(Self {
            first_order_at_end: lower_order_final
                || config.euler_at_final.unwrap_or(false)
                || steps.sigmas[plan.steps()] == 0.0,
            plan,
            algorithm,
            solver: config.solver_type.unwrap_or_default(),
            order,
            lower_order_final,
            sigmas: steps.sigmas,
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
            self.plan.noise(evaluation)
        };
        mixture.of(sample, model_output)
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
        let terms = weights.predictions.into_iter().zip(self.predictions.iter().cloned());
        let noise = self.algorithm.draws_noise().then(|| (weights.noise, noise()));
        weighted_sum(std::iter::once((weights.sample, sample)).chain(terms).chain(noise))
    }
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
                    SolverType::Heun => first,
                    _ => midpoint,
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

#[cfg(test)]
mod tests {
    use super::{super::timesteps::linspace, *};

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
