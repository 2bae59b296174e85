//! Singlestep DPM-Solver++ (Lu et al., arXiv:2211.01095): diffusers
//! `schedulers/scheduling_dpmsolver_singlestep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerConfig, SchedulerError,
    config::{AlgorithmType, SolverType},
    dpm_solver_terms::Terms,
    prediction::weighted_sum,
    solver_steps::{SolverSteps, refuse_unsupported, refuse_zero},
};

/// A run of singlestep DPM-Solver.
///
/// What the method calls a step is, as in diffusers, several steps here: each goes from the
/// start of the group further than the one before it.
#[derive(Debug)]
pub(super) struct DpmSolverSinglestep {
    plan: Plan,
    algorithm: AlgorithmType,
    solver: SolverType,
    /// Of each step: how many evaluations there are in its group so far.
    orders: Vec<usize>,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// The sample at the start of the group, and the predictions since then, the first one first.
    group: Option<(Tensor<4>, VecDeque<Tensor<4>>)>,
}

impl DpmSolverSinglestep {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        refuse_unsupported(run)?;
        let algorithm = run.config.algorithm_type.unwrap_or_default();
        if algorithm == AlgorithmType::SdeDpmsolver {
            return Err(SchedulerError::Unsupported {
                sampler: run.sampler,
                option: "`algorithm_type`: sde-dpmsolver".to_owned(),
            });
        }
        if !algorithm.predicts_original() {
            refuse_zero(run, "an `algorithm_type` without ++")?;
        }
        // The class does not know these keys.
        let config = SchedulerConfig {
            timestep_spacing: None,
            rescale_betas_zero_snr: None,
            use_lu_lambdas: None,
            ..run.config.clone()
        };
        let steps = SolverSteps::new(&RunSettings { config: &config, ..*run })?;
        let plan = steps.plan();
        let ends_at_zero = steps.sigmas[plan.steps()] == 0.0;
        let order = config.solver_order.unwrap_or(2);
        Ok(Self {
            orders: orders(
                order,
                plan.steps(),
                config.lower_order_final.unwrap_or(false),
                ends_at_zero,
            ),
            plan,
            algorithm,
            solver: config.solver_type.unwrap_or_default(),
            sigmas: steps.sigmas,
            group: None,
        })
    }

    /// Whether an evaluation goes further from the start of the group before it.
    fn continues_group(&self, evaluation: usize) -> bool {
        // Rounded timesteps can repeat a sigma, and no difference can be taken across that.
        self.orders[evaluation] > 1 && self.sigmas[evaluation] != self.sigmas[evaluation - 1]
    }

    /// The weights of the predictions of a group, the first one first, by the sigmas at which
    /// they were made.
    fn prediction_weights(&self, terms: &Terms, sigmas: &[f64], next: f64) -> [f64; 3] {
        let &[start, ..] = sigmas else { return [0.0; 3] };
        let lambda = |sigma: f64| -sigma.ln();
        let h = lambda(next) - lambda(start);
        // How far into the step a prediction was made.
        let share = |sigma: f64| (lambda(sigma) - lambda(start)) / h;
        let heun = self.solver == SolverType::Heun;
        match *sigmas {
            [_, second] => {
                let slope = if heun { terms.first } else { terms.midpoint } / share(second);
                [terms.prediction - slope, slope, 0.0]
            }
            [_, second, third] if heun => {
                let (r1, r0) = (share(second), share(third));
                // The first and second differences, as sums of the predictions' differences
                // from the first.
                let second = (terms.first * r0 - 2.0 * terms.second) / (r0 - r1) / r1;
                let third = (2.0 * terms.second - terms.first * r1) / (r0 - r1) / r0;
                [terms.prediction - second - third, second, third]
            }
            [_, _, third] => {
                let slope = terms.first / share(third);
                [terms.prediction - slope, 0.0, slope]
            }
            _ => [terms.prediction, 0.0, 0.0],
        }
    }
}

impl Scheduler for DpmSolverSinglestep {
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
        let mixture = if self.algorithm.predicts_original() {
            self.plan.original(evaluation)
        } else {
            self.plan.noise(evaluation)
        };
        let prediction = mixture.of(sample.clone(), model_output);
        // A run that starts in the middle of a group starts with a group of its own.
        let (start, mut predictions) = match self.group.take() {
            Some(group) if self.continues_group(evaluation) => group,
            _ => (sample, VecDeque::new()),
        };
        predictions.push_back(prediction);
        let first = evaluation + 1 - predictions.len();
        let (current, next) = (self.sigmas[first], self.sigmas[evaluation + 1]);
        let drawn = self.algorithm.draws_noise().then(noise);
        let result = if current == next {
            start.clone()
        } else {
            let h = current.ln() - next.ln();
            let terms = Terms::new(self.algorithm, current, next, h);
            let weights = self.prediction_weights(&terms, &self.sigmas[first..=evaluation], next);
            let predictions = weights.into_iter().zip(predictions.iter().cloned());
            let drawn = drawn.map(|drawn| (terms.noise, drawn));
            weighted_sum(
                std::iter::once((terms.sample, start.clone())).chain(predictions).chain(drawn),
            )
        };
        self.group = Some((start, predictions));
        result
    }
}

/// Of each step, how many evaluations there are in its group so far.
fn orders(order: usize, steps: usize, lower_order_final: bool, ends_at_zero: bool) -> Vec<usize> {
    let mut orders: Vec<usize> = (0..steps).map(|step| step % order + 1).collect();
    // diffusers sets `lower_order_final` where the steps do not come out even, too, but then the
    // last group is smaller anyway.
    if let Some(last) = orders.last_mut()
        && (ends_at_zero || lower_order_final && *last == order)
    {
        *last = 1;
    }
    orders
}
