//! The exponential integrator DEIS (Zhang and Chen, arXiv:2204.13902) with polynomials in the
//! logarithm of rho: diffusers `schedulers/scheduling_deis_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerConfig, SchedulerError,
    config::FinalSigmasType,
    noise_level::alpha_sigma,
    prediction::weighted_sum,
    solver_steps::{FEW_STEPS, SolverSteps, refuse_unsupported},
    timesteps::distinct_at_end,
};

/// A run of DEIS.
#[derive(Debug)]
pub(super) struct Deis {
    plan: Plan,
    order: usize,
    lower_order_final: bool,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// The noise that the model predicted, the latest first.
    predictions: VecDeque<Tensor<4>>,
}

impl Deis {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        refuse_unsupported(run)?;
        // The class does not know these keys, and its runs end at the smallest sigma.
        let config = SchedulerConfig {
            final_sigmas_type: Some(FinalSigmasType::SigmaMin),
            lambda_min_clipped: None,
            rescale_betas_zero_snr: None,
            use_lu_lambdas: None,
            ..run.config.clone()
        };
        let steps = SolverSteps::new(&RunSettings { config: &config, ..*run })?;
        let plan = steps.plan();
        let order = config.solver_order.unwrap_or(2);
        Ok(Self {
            lower_order_final: config.lower_order_final.unwrap_or(true) && plan.steps() < FEW_STEPS,
            plan,
            order,
            sigmas: steps.sigmas,
            predictions: VecDeque::with_capacity(order),
        })
    }

    /// The order of a step, given how many predictions there are with the latest one.
    fn order_of(&self, evaluation: usize) -> usize {
        let left = self.plan.evaluations() - evaluation;
        let most = if self.lower_order_final { left.min(self.order) } else { self.order };
        distinct_at_end(&self.sigmas[..=evaluation], most.min(self.predictions.len()))
    }
}

impl Scheduler for Deis {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        _noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let prediction = self.plan.noise(evaluation).of(sample.clone(), model_output);
        self.predictions.truncate(self.order - 1);
        self.predictions.push_front(prediction);
        let earliest = evaluation + 1 - self.order_of(evaluation);
        let next = self.sigmas[evaluation + 1];
        let weights = weights(&self.sigmas[earliest..=evaluation], next);
        let (alpha, _) = alpha_sigma(next);
        let (current_alpha, _) = alpha_sigma(self.sigmas[evaluation]);
        let terms = weights.into_iter().map(|weight| alpha * weight);
        weighted_sum(
            std::iter::once((alpha / current_alpha, sample))
                .chain(terms.zip(self.predictions.iter().cloned())),
        )
    }
}

/// The integrals from the latest sigma to `next` of the polynomials, in the logarithm of sigma,
/// that are one at a sigma and zero at the others, the latest first.
///
/// `sigmas` are one to three, the latest last.
fn weights(sigmas: &[f64], next: f64) -> Vec<f64> {
    let mut backwards = sigmas.iter().rev();
    let Some(&current) = backwards.next() else { return Vec::new() };
    let earlier: Vec<f64> = backwards.map(|sigma| (sigma / current).ln()).collect();
    // The integrals of the powers of the logarithm of sigma over the latest one.
    let (ratio, logarithm) = (next / current, (next / current).ln());
    let constant = current * (ratio - 1.0);
    let linear = current * (ratio * (logarithm - 1.0) + 1.0);
    let square = current * (ratio * (logarithm * logarithm - 2.0 * logarithm + 2.0) - 2.0);
    let earlier = match *earlier.as_slice() {
        [] => Vec::new(),
        [first, second, ..] => vec![
            (square - second * linear) / (first * (first - second)),
            (square - first * linear) / (second * (second - first)),
        ],
        [first] => vec![linear / first],
    };
    let latest = constant - earlier.iter().sum::<f64>();
    std::iter::once(latest).chain(earlier).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadratics_of_the_logarithm_are_integrated_exactly() {
        let sigmas = [5.0_f64, 3.0, 2.0];
        let value = |sigma: f64| 3.0 * sigma.ln().powi(2) - sigma.ln() + 2.0;
        let integral = |sigma: f64| {
            let log = sigma.ln();
            sigma * (3.0 * (log * log - 2.0 * log + 2.0) - (log - 1.0) + 2.0)
        };
        let sum: f64 = weights(&sigmas, 1.2)
            .iter()
            .zip(sigmas.iter().rev())
            .map(|(weight, &sigma)| weight * value(sigma))
            .sum();
        assert!((sum - (integral(1.2) - integral(2.0))).abs() < 1e-12, "{sum}");
    }
}
