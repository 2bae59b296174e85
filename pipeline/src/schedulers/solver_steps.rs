//! What the solvers in the logarithm of alpha over sigma share: the sample is of unit variance,
//! and they count the timesteps without the one at which a run ends.

use super::{
    Plan, RunSettings, SchedulerError,
    config::{BetaSchedule, FinalSigmasType, PredictionType, TimestepSpacing},
    noise_level::NoiseLevel,
    noise_schedule::NoiseSchedule,
    plan::Evaluation,
    sigma_spacing::{SigmaSpacing, interpolate, range},
    timesteps::{check_steps, leading, linspace, trailing},
};

/// Runs of fewer steps of a multistep solver end at lower order where `lower_order_final` says
/// so.
pub(super) const FEW_STEPS: usize = 15;

/// The sigmas and timesteps of a run: diffusers
/// `schedulers/scheduling_dpmsolver_multistep.py`, `set_timesteps`.
#[derive(Debug)]
pub(super) struct SolverSteps {
    prediction: PredictionType,
    timesteps: Vec<f64>,
    /// One for each timestep, and the one that the last step ends at.
    pub(super) sigmas: Vec<f64>,
}

impl SolverSteps {
    pub(super) fn new(run: &RunSettings<'_>) -> Result<Self, SchedulerError> {
        let &RunSettings { config, .. } = run;
        let training = NoiseSchedule::with_sigmas(config)?;
        let spacing = SigmaSpacing::choose(run)?;
        let spacing = if spacing == SigmaSpacing::Timesteps && config.use_lu_lambdas == Some(true) {
            SigmaSpacing::Lu
        } else {
            spacing
        };
        let (timesteps, mut sigmas) = Self::spaced(spacing, run, &training)?;
        let end = match config.final_sigmas_type.unwrap_or_default() {
            FinalSigmasType::Zero => 0.0,
            FinalSigmasType::SigmaMin => training[0],
        };
        // A solver that cannot step to zero says so by its final sigma.
        let smallest = config.sigma_min.unwrap_or(training[0]);
        sigmas.push(spacing.end(smallest).map_or(end, |own| own.max(end)));
        Ok(Self { prediction: config.prediction_type.unwrap_or_default(), timesteps, sigmas })
    }

    /// The timesteps and the sigmas without the one that the run ends at.
    fn spaced(
        spacing: SigmaSpacing,
        run: &RunSettings<'_>,
        training: &[f64],
    ) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
        let &RunSettings { config, steps, .. } = run;
        check_steps(steps, training.len())?;
        let range = range(config, training[training.len() - 1], training[0])?;
        if let Some(places) = spacing.places(training, range, steps) {
            let cosine = config.beta_schedule == Some(BetaSchedule::SquaredcosCapV2);
            let whole = |timestep: f64| match spacing {
                SigmaSpacing::Karras { .. } | SigmaSpacing::Lu if !cosine => {
                    timestep.round_ties_even()
                }
                SigmaSpacing::Karras { .. }
                | SigmaSpacing::Lu
                | SigmaSpacing::Exponential
                | SigmaSpacing::Beta => timestep.trunc(),
                _ => timestep,
            };
            return Ok(places.iter().map(|place| (whole(place.timestep), place.sigma)).unzip());
        }
        // The cosine schedule's last levels are so noisy that the solver loses its footing there.
        let limit = config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY);
        let visited = training.iter().filter(|&&sigma| -sigma.ln() >= limit).count();
        check_steps(steps, visited)?;
        let timesteps: Vec<f64> = match config.timestep_spacing.unwrap_or(TimestepSpacing::Linspace)
        {
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

    /// The plan of a solver that makes one evaluation a step.
    pub(super) fn plan(&self) -> Plan {
        let evaluations =
            self.timesteps.iter().zip(&self.sigmas).zip(0..).map(|((&timestep, &sigma), step)| {
                Evaluation { timestep, level: NoiseLevel::preserving(sigma), step }
            });
        Plan::new(self.prediction, 1.0, evaluations)
    }
}

/// Refuses what a configuration can ask for but latent models do not need.
pub(super) fn refuse_unsupported(run: &RunSettings<'_>) -> Result<(), SchedulerError> {
    let &RunSettings { sampler, config, .. } = run;
    let refused = |option: String| Err(SchedulerError::Unsupported { sampler, option });
    run.refuse_thresholding()?;
    if config.use_flow_sigmas.unwrap_or(false) {
        return refused("`use_flow_sigmas`: true".to_owned());
    }
    if let Some(variance @ ("learned" | "learned_range")) = config.variance_type.as_deref() {
        return refused(format!("`variance_type`: {variance}"));
    }
    match config.solver_order {
        Some(order) if !(1..=3).contains(&order) => refused(format!("`solver_order`: {order}")),
        _ => Ok(()),
    }
}

/// Refuses a run to sigma zero for a solver that integrates the noise.
pub(super) fn refuse_zero(run: &RunSettings<'_>, key: &str) -> Result<(), SchedulerError> {
    match run.config.final_sigmas_type.unwrap_or_default() {
        FinalSigmasType::SigmaMin => Ok(()),
        FinalSigmasType::Zero => Err(SchedulerError::Config {
            key: "final_sigmas_type",
            reason: format!("is zero, to which {key} cannot step; it must be sigma_min"),
        }),
    }
}
