//! What the model is told beside the prompts, and how it is guided: arguments of `generate`.

use clap::Args;
use emberbrush_pipeline::{request::ConditioningOptions, schedulers::Compat};

/// What the model is told beside the prompts, and how it is guided.
#[derive(Debug, Args)]
pub(crate) struct ConditioningArguments {
    /// The prompt of SDXL's second text encoder [default: that of the first].
    #[arg(long, value_name = "TEXT")]
    prompt_2: Option<String>,
    /// The negative prompt of SDXL's second text encoder [default: that of the first].
    #[arg(long, value_name = "TEXT")]
    negative_2: Option<String>,
    /// Which layer of the text encoders is taken, counted from the end: 1 is the last, which skips
    /// nothing, 2 the last but one, as A1111 counts [default: 1].
    #[arg(long, value_name = "N")]
    clip_skip: Option<u32>,
    /// How much of the contrast that guidance adds is taken back, from 0 to 1 [default: 0].
    #[arg(long, value_name = "X")]
    guidance_rescale: Option<f64>,
    /// The seed whose noise is mixed in with --variation-strength; picture k has this + k, and all
    /// have one --seed [default: a random one].
    #[arg(long, value_name = "N")]
    variation_seed: Option<u64>,
    /// How far the first noise goes from that of --seed to that of --variation-seed, from 0 to 1
    /// [default: 0].
    #[arg(long, value_name = "X")]
    variation_strength: Option<f64>,
    /// Whose meaning samplers, schedules and the steps of a prompt have: diffusers, or a1111, which
    /// also takes its random numbers (philox) [default: diffusers].
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) compat: Option<Compat>,
}

impl ConditioningArguments {
    /// The options, with those of `base` for what is left open.
    pub(crate) fn over(&self, base: ConditioningOptions, random_seed: u64) -> ConditioningOptions {
        let own_seed = if base.varies() { base.variation_seed } else { random_seed ^ 1 };
        let strength = self.variation_strength.unwrap_or(base.variation_strength);
        let seed = if strength > 0.0 { own_seed } else { base.variation_seed };
        ConditioningOptions {
            prompt_2: self.prompt_2.clone().or(base.prompt_2),
            negative_2: self.negative_2.clone().or(base.negative_2),
            clip_skip: self.clip_skip.unwrap_or(base.clip_skip),
            guidance_rescale: self.guidance_rescale.unwrap_or(base.guidance_rescale),
            variation_seed: self.variation_seed.unwrap_or(seed),
            variation_strength: strength,
            size_conditions: base.size_conditions,
        }
    }
}
