//! The unified predictor-corrector (Zhao et al., arXiv:2302.04867): diffusers
//! `schedulers/scheduling_unipc_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;

use super::{
    Plan, RunSettings, Scheduler, SchedulerConfig, SchedulerError,
    config::SolverType,
    noise_level::alpha_sigma,
    prediction::weighted_sum,
    solver_steps::{SolverSteps, refuse_unsupported, refuse_zero},
    timesteps::distinct_at_end,
};

/// A run of UniPC.
#[derive(Debug)]
pub(super) struct UniPc {
    plan: Plan,
    equations: Equations,
    order: usize,
    lower_order_final: bool,
    /// The steps after which nothing is corrected.
    disable_corrector: Vec<usize>,
    /// One for each step, and the one that the last step ends at.
    sigmas: Vec<f64>,
    /// What the model predicted, the latest first.
    predictions: VecDeque<Tensor<4>>,
    /// The sample before the latest step, and that step's order.
    latest: Option<(Tensor<4>, usize)>,
}

/// The form of the equations.
#[derive(Debug, Clone, Copy)]
struct Equations {
    /// Whether the image is integrated and not the noise.
    predicts_original: bool,
    /// Whether B(h) is h and not e^h - 1.
    first_b: bool,
}

impl UniPc {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        refuse_unsupported(run)?;
        let equations = Equations {
            predicts_original: run.config.predict_x0.unwrap_or(true),
            first_b: run.config.solver_type == Some(SolverType::Bh1),
        };
        if !equations.predicts_original {
            refuse_zero(run, "`predict_x0`: false")?;
        }
        // The class does not know these keys.
        let config = SchedulerConfig {
            lambda_min_clipped: None,
            use_lu_lambdas: None,
            ..run.config.clone()
        };
        let steps = SolverSteps::new(&RunSettings { config: &config, ..*run })?;
        let order = config.solver_order.unwrap_or(2);
        Ok(Self {
            plan: steps.plan(),
            equations,
            order,
            lower_order_final: config.lower_order_final.unwrap_or(true),
            disable_corrector: config.disable_corrector.unwrap_or_default(),
            sigmas: steps.sigmas,
            predictions: VecDeque::with_capacity(order + 1),
            latest: None,
        })
    }

    /// The step after an evaluation is of this order at the most.
    fn order_of(&self, evaluation: usize) -> usize {
        let left = self.plan.evaluations() - evaluation;
        if self.lower_order_final {
            self.order.min(left)
        } else if self.sigmas[evaluation + 1] == 0.0 {
            1
        } else {
            self.order
        }
    }

    /// The sum of a step from `sigmas[from]` to `sigmas[from + 1]`.
    ///
    /// `predictions` are those at `from` and before it, the latest first; `corrected` is the one
    /// at `from + 1`, in a corrector.
    fn sum(
        &self,
        from: usize,
        sample: Tensor<4>,
        predictions: &[Tensor<4>],
        corrected: Option<&Tensor<4>>,
    ) -> Tensor<4> {
        let (current, next) = (self.sigmas[from], self.sigmas[from + 1]);
        if current == next {
            return sample;
        }
        let order = distinct_at_end(&self.sigmas[..=from], predictions.len());
        let predictions = &predictions[..order];
        let earlier: Vec<f64> =
            (1..predictions.len()).map(|earlier| self.sigmas[from - earlier]).collect();
        let weights = self.equations.weights(current, next, &earlier, corrected.is_some());
        let values = predictions.iter().chain(corrected).cloned();
        weighted_sum(
            std::iter::once((weights.sample, sample))
                .chain(weights.predictions.into_iter().zip(values)),
        )
    }
}

/// What the parts of the next sample are multiplied by.
#[derive(Debug)]
struct Weights {
    sample: f64,
    /// Of the latest prediction, the ones before it, and in a corrector the one at the end.
    predictions: Vec<f64>,
}

impl Equations {
    /// The weights of a step from the sigma `current` to the sigma `next`, given those of the
    /// predictions before it.
    fn weights(self, current: f64, next: f64, earlier: &[f64], corrects: bool) -> Weights {
        let lambda = |sigma: f64| -sigma.ln();
        let h = lambda(next) - lambda(current);
        let signed = if self.predicts_original { -h } else { h };
        let growth = signed.exp_m1();
        let ((alpha, sigma), (current_alpha, current_sigma)) =
            (alpha_sigma(next), alpha_sigma(current));
        let (sample, scale) = if self.predicts_original {
            (sigma / current_sigma, alpha)
        } else {
            (alpha / current_alpha, sigma)
        };
        // How far each difference reaches, in units of the step.
        let mut reaches: Vec<f64> =
            earlier.iter().map(|&sigma| (lambda(sigma) - lambda(current)) / h).collect();
        if corrects {
            reaches.push(1.0);
        }
        let shares: Vec<f64> = self
            .shares(&reaches, signed, growth)
            .into_iter()
            .zip(&reaches)
            .map(|(share, reach)| -scale * share / reach)
            .collect();
        let latest = -scale * growth - shares.iter().sum::<f64>();
        let predictions = std::iter::once(latest).chain(shares).collect();
        Weights { sample, predictions }
    }

    /// B(h) times the weight of each difference (equation 9): the solution of a Vandermonde
    /// system. Of first order, and for the predictor of second order, it is one half.
    fn shares(self, reaches: &[f64], signed: f64, growth: f64) -> Vec<f64> {
        if reaches.is_empty() {
            return Vec::new();
        }
        let b = if self.first_b { signed } else { growth };
        if reaches.len() == 1 {
            return vec![0.5 * b];
        }
        let mut phi = growth / signed - 1.0;
        let mut factorial = 1.0;
        let right = (0..reaches.len())
            .map(|power| {
                let value = phi * factorial;
                factorial *= power as f64 + 2.0;
                phi = phi / signed - 1.0 / factorial;
                value
            })
            .collect();
        let rows = (0..reaches.len())
            .map(|power| reaches.iter().map(|reach| reach.powi(power as i32)).collect())
            .collect();
        solve(rows, right)
    }
}

impl Scheduler for UniPc {
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
        let mixture = if self.equations.predicts_original {
            self.plan.original(evaluation)
        } else {
            self.plan.noise(evaluation)
        };
        let prediction = mixture.of(sample.clone(), model_output);
        let sample = match self.latest.take() {
            Some((before, order)) if !self.disable_corrector.contains(&(evaluation - 1)) => {
                let used = &self.predictions.make_contiguous()[..order];
                let used = used.to_vec();
                self.sum(evaluation - 1, before, &used, Some(&prediction))
            }
            _ => sample,
        };
        self.predictions.truncate(self.order - 1);
        self.predictions.push_front(prediction);
        let order = self.order_of(evaluation).min(self.predictions.len());
        let used: Vec<Tensor<4>> = self.predictions.iter().take(order).cloned().collect();
        let next = self.sum(evaluation, sample.clone(), &used, None);
        self.latest = Some((sample, order));
        next
    }
}

/// The solution of a system of a few linear equations, by elimination with pivots.
///
/// The system is not singular: the reaches that it is made of differ.
fn solve(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size)
            .max_by(|&one, &other| rows[one][column].abs().total_cmp(&rows[other][column].abs()))
            .unwrap_or(column);
        rows.swap(column, pivot);
        right.swap(column, pivot);
        for row in column + 1..size {
            let factor = rows[row][column] / rows[column][column];
            let (above, below) = rows.split_at_mut(row);
            for (value, pivot) in below[0].iter_mut().zip(&above[column]) {
                *value -= factor * pivot;
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|other| rows[row][other] * right[other]).sum();
        right[row] = (right[row] - known) / rows[row][row];
    }
    right
}
