//! Ways to make nearly the same picture with fewer operations: arguments of `generate`.

use clap::Args;
use emberbrush_pipeline::request::FewerOperations;

/// Ways to make nearly the same picture with fewer operations.
#[derive(Debug, Args)]
pub(crate) struct FewerOperationsArguments {
    /// After which share of the steps, from 0 to 1, the negative prompt is left out: the rest run
    /// the UNet for one prompt instead of two and are not guided [default: 1, never].
    #[arg(long, value_name = "X")]
    skip_negative_after: Option<f64>,
    /// Run the deep part of the UNet in one of N steps only, and take its last result in the others
    /// [default: 1, each time].
    #[arg(long, value_name = "N")]
    deep_cache: Option<u32>,
    /// Share of the tokens, from 0 to 0.75, that the UNet's self-attention merges with others like
    /// them at the highest resolution [default: 0].
    #[arg(long, value_name = "X")]
    token_merging: Option<f64>,
    /// After which share of the steps, from 0 to 1, the UNet looks at the prompt once more and takes
    /// what came of it in the rest [default: 1, never].
    #[arg(long, value_name = "X")]
    reuse_cross_attention_after: Option<f64>,
}

impl FewerOperationsArguments {
    /// The options, with those of `base` for what is left open.
    pub(crate) fn over(&self, base: FewerOperations) -> FewerOperations {
        FewerOperations {
            skip_negative_after: self.skip_negative_after.unwrap_or(base.skip_negative_after),
            deep_cache: self.deep_cache.unwrap_or(base.deep_cache),
            token_merging: self.token_merging.unwrap_or(base.token_merging),
            reuse_cross_attention_after: self
                .reuse_cross_attention_after
                .unwrap_or(base.reuse_cross_attention_after),
        }
    }
}
