//! Multistep DPM-Solver++ in sigmas: k-diffusion's `sample_dpmpp_2m`, `sample_dpmpp_2m_sde`
//! (midpoint) and `sample_dpmpp_3m_sde`, with their default eta of 1.
//!
//! In exact arithmetic the steps of the first two are those of
//! [`DpmSolverMultistep`](super::dpm_solver_multistep::DpmSolverMultistep), but a run starts from
//! the largest sigma times noise and not from noise of unit variance.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerError, prediction::weighted_sum, sampler::Sampler,
    sigma_spacing::SigmaSpacing, sigma_steps::SigmaSteps,
};

/// The most predictions that a step uses.
const MOST: usize = 3;

/// A run of the solver.
#[derive(Debug)]
pub(super) struct DpmppMultistep {
    plan: Plan,
    solver: Solver,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// The images that the model predicted, the latest first.
    originals: VecDeque<Tensor<4>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Solver {
    Second,
    SecondStochastic,
    ThirdStochastic,
}

impl DpmppMultistep {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let solver = match run.sampler {
            Sampler::Dpmpp2mSde => Solver::SecondStochastic,
            Sampler::Dpmpp3mSde => Solver::ThirdStochastic,
            _ => Solver::Second,
        };
        let steps = SigmaSteps::new(SigmaSpacing::choose(run)?, run)?;
        let originals = VecDeque::with_capacity(MOST);
        Ok(Self { plan: steps.plan(), solver, sigmas: steps.sigmas, originals })
    }
}

impl Scheduler for DpmppMultistep {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The stochastic solvers draw noise at each step but one to zero.
    fn step(
        &mut self,
        evaluation: usize,
        model_output: Tensor<4>,
        sample: Tensor<4>,
        noise: &mut dyn FnMut() -> Tensor<4>,
    ) -> Tensor<4> {
        let original = self.plan.original(evaluation).of(sample.clone(), model_output);
        self.originals.truncate(MOST - 1);
        self.originals.push_front(original);
        let known = self.originals.len().min(evaluation + 1);
        let weights =
            Weights::new(self.solver, &self.sigmas[evaluation + 1 - known..=evaluation + 1]);
        let originals = weights.originals.into_iter().zip(self.originals.iter().cloned());
        let noise = (weights.noise > 0.0).then(|| (weights.noise, noise()));
        weighted_sum(std::iter::once((weights.sample, sample)).chain(originals).chain(noise))
    }
}

/// What the parts of the next sample are multiplied by.
#[derive(Debug)]
struct Weights {
    sample: f64,
    /// Of the latest image, the one before it, and so on.
    originals: [f64; MOST],
    noise: f64,
}

impl Weights {
    /// The weights of a step to the last of `sigmas`, before which stand those of the images that
    /// are known, the latest last.
    fn new(solver: Solver, sigmas: &[f64]) -> Self {
        let count = sigmas.len();
        let (sigma, next) = (sigmas[count - 2], sigmas[count - 1]);
        if next == 0.0 {
            return Self { sample: 0.0, originals: [1.0, 0.0, 0.0], noise: 0.0 };
        }
        // The widths of the steps in the logarithm of sigma, the latest first.
        let mut widths = sigmas.windows(2).rev().map(|pair| (pair[0] / pair[1]).ln());
        let h = widths.next().unwrap_or_default();
        let earlier: Vec<f64> = widths.take_while(|width| *width != 0.0).collect();
        let stochastic = solver != Solver::Second;
        let h_eta = if stochastic { 2.0 * h } else { h };
        let mut weights = Self {
            sample: if stochastic { next / sigma * (-h).exp() } else { next / sigma },
            originals: [-(-h_eta).exp_m1(), 0.0, 0.0],
            noise: if stochastic { next * (-(-2.0 * h).exp_m1()).sqrt() } else { 0.0 },
        };
        match (solver, &earlier[..]) {
            (_, []) => {}
            (Solver::Second | Solver::SecondStochastic, [last, ..]) => {
                weights.add_slope(0.5 * weights.originals[0] * h / last);
            }
            (Solver::ThirdStochastic, [last]) => weights.add_slope(phi_2(h_eta) * h / last),
            (Solver::ThirdStochastic, [last, before, ..]) => {
                let (r0, r1) = (last / h, before / h);
                let (phi_2, phi_3) = (phi_2(h_eta), phi_2(h_eta) / h_eta - 0.5);
                // The derivatives are combinations of the two slopes.
                let slope = phi_2 * (1.0 + r0 / (r0 + r1)) - phi_3 / (r0 + r1);
                let earlier_slope = -phi_2 * r0 / (r0 + r1) + phi_3 / (r0 + r1);
                weights.add_slope(slope / r0);
                weights.originals[1] += earlier_slope / r1;
                weights.originals[2] -= earlier_slope / r1;
            }
        }
        weights
    }

    /// Adds the difference of the two latest images so many times.
    fn add_slope(&mut self, times: f64) {
        self.originals[0] += times;
        self.originals[1] -= times;
    }
}

fn phi_2(h: f64) -> f64 {
    (-h).exp_m1() / h + 1.0
}
