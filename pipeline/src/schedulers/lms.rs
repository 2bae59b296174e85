//! The linear multistep method: diffusers `schedulers/scheduling_lms_discrete.py`, after
//! k-diffusion's `sample_lms`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError, prediction::weighted_sum,
    sigma_spacing::SigmaSpacing, sigma_steps::SigmaSteps, timesteps::distinct_at_end,
};

const ORDER: usize = 4;

/// A run of the linear multistep method.
#[derive(Debug)]
pub(super) struct Lms {
    plan: Plan,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// The derivatives of the sample, the latest first.
    derivatives: VecDeque<Tensor<4>>,
}

impl Lms {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let config = run.config.without_keys_of_euler_and_zero_snr();
        let run = RunSettings { config: &config, ..*run };
        let steps = SigmaSteps::new(SigmaSpacing::choose(&run)?, &run)?;
        Ok(Self {
            plan: steps.plan(),
            sigmas: steps.sigmas,
            derivatives: VecDeque::with_capacity(ORDER),
        })
    }
}

impl Scheduler for Lms {
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
        let slope = self.plan.noise(evaluation).of(sample.clone(), model_output);
        self.derivatives.truncate(ORDER - 1);
        self.derivatives.push_front(slope);
        let order = distinct_at_end(&self.sigmas[..=evaluation], self.derivatives.len());
        let earliest = evaluation + 1 - order;
        let weights = weights(&self.sigmas[earliest..=evaluation], self.sigmas[evaluation + 1]);
        let terms = weights.into_iter().zip(self.derivatives.iter().cloned());
        weighted_sum(std::iter::once((1.0, sample)).chain(terms))
    }
}

/// The integrals from the latest sigma to `next` of the polynomials that are one at a sigma and
/// zero at the others, the latest first.
///
/// `sigmas` are up to four, the latest last.
fn weights(sigmas: &[f64], next: f64) -> Vec<f64> {
    let latest: Vec<f64> = sigmas.iter().rev().copied().collect();
    let Some(&current) = latest.first() else { return Vec::new() };
    let basis = |index: usize, at: f64| {
        let others = latest.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| (at - other) / (latest[index] - other)).product::<f64>()
    };
    // Gauss' rule of two points, which is exact for cubic polynomials.
    let (middle, half) = ((current + next) / 2.0, (next - current) / 2.0);
    let offset = half / 3_f64.sqrt();
    (0..latest.len())
        .map(|index| half * (basis(index, middle - offset) + basis(index, middle + offset)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubic_derivatives_are_integrated_exactly() {
        let sigmas = [5.0, 3.0, 2.0, 1.5];
        let slope = |sigma: f64| 4.0 * sigma.powi(3) - 3.0 * sigma * sigma + 1.0;
        let integral = |sigma: f64| sigma.powi(4) - sigma.powi(3) + sigma;
        let weights = weights(&sigmas, 0.4);
        let sum: f64 = weights
            .iter()
            .zip(sigmas.iter().rev())
            .map(|(weight, &sigma)| weight * slope(sigma))
            .sum();
        assert!((sum - (integral(0.4) - integral(1.5))).abs() < 1e-12, "{sum}");
    }
}
