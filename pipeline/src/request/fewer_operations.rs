//! Ways to make nearly the same picture with fewer operations.

use serde::{Deserialize, Serialize};

use super::{RequestError, Share};

/// The most evaluations of the UNet for which its deep part may be run once.
const MAX_INTERVAL: u32 = 100;

/// The largest share of tokens that can be merged: of each square of four one remains.
const MAX_MERGED: f64 = 0.75;

/// Ways to make nearly the same picture with fewer operations, none of them by default. Shares are
/// of a run's evaluations of the UNet, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct FewerOperations {
    /// The share after which the negative prompt is left out: what remains is not guided and runs
    /// the UNet for half as many prompts. 1 leaves it in to the end. Prompts that `AND` joins keep
    /// it.
    pub skip_negative_after: f64,
    /// Of how many evaluations one runs the deep part of the UNet, whose result the others take
    /// (DeepCache, Ma et al., arXiv:2312.00858); 1 runs it each time.
    pub deep_cache: u32,
    /// The share of the tokens, from 0 to 3/4, that the UNet's self-attention merges at the highest
    /// resolution (Bolya and Hoffman, arXiv:2303.17604).
    pub token_merging: f64,
    /// The share after which one more evaluation attends to the prompt, and those that follow take
    /// what came of it (in the style of Zhang et al., arXiv:2404.02747). With 1 all do.
    pub reuse_cross_attention_after: f64,
}

impl Default for FewerOperations {
    fn default() -> Self {
        Self {
            skip_negative_after: 1.0,
            deep_cache: 1,
            token_merging: 0.0,
            reuse_cross_attention_after: 1.0,
        }
    }
}

impl FewerOperations {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        for (share, value) in [
            (Share::SkipNegativeAfter, self.skip_negative_after),
            (Share::ReuseCrossAttentionAfter, self.reuse_cross_attention_after),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(RequestError::Share { share, value });
            }
        }
        if !(0.0..=MAX_MERGED).contains(&self.token_merging) {
            let (most, value) = (MAX_MERGED, self.token_merging);
            return Err(RequestError::TokenMerging { most, value });
        }
        if !(1..=MAX_INTERVAL).contains(&self.deep_cache) {
            let (most, value) = (MAX_INTERVAL, self.deep_cache);
            return Err(RequestError::DeepCache { most, value });
        }
        Ok(())
    }
}
