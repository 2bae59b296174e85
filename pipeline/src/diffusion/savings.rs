//! What the evaluations of a run leave out, and what they keep for one another.

use emberbrush_unet::{CrossAttention, DeepFeatures, EvaluationCache, Savings};

use super::control::RunShare;
use crate::request::FewerOperations;

/// What the evaluations of a run keep, one cache for each batch of prompts. It begins anew where
/// the prompts change.
#[derive(Debug)]
pub(super) struct RunSavings {
    wanted: FewerOperations,
    caches: Vec<EvaluationCache>,
}

/// What one evaluation for one batch of prompts leaves out.
#[derive(Debug)]
pub(super) struct BatchSavings<'a> {
    pub(super) savings: Savings,
    pub(super) cache: &'a mut EvaluationCache,
}

impl RunSavings {
    pub(super) fn new(wanted: FewerOperations) -> Self {
        Self { wanted, caches: Vec::new() }
    }

    /// Forgets what was kept for other prompts.
    pub(super) fn begin_prompts(&mut self) {
        self.caches.clear();
    }

    /// The savings of batch `batch` of an evaluation.
    pub(super) fn of_batch(&mut self, batch: usize, share: RunShare) -> BatchSavings<'_> {
        if self.caches.len() <= batch {
            self.caches.resize_with(batch + 1, EvaluationCache::default);
        }
        let cache = &mut self.caches[batch];
        let FewerOperations { deep_cache, token_merging, reuse_cross_attention_after, .. } =
            self.wanted;
        let is_deep = share.evaluation.is_multiple_of(deep_cache as usize);
        let deep_features = match deep_cache {
            0 | 1 => DeepFeatures::Computed,
            _ if is_deep || !cache.has_deep_features() => DeepFeatures::Kept,
            _ => DeepFeatures::Reused,
        };
        let cross_attention = match share.is_after(reuse_cross_attention_after) {
            true => CrossAttention::Reused,
            false => CrossAttention::Computed,
        };
        BatchSavings { savings: Savings { deep_features, cross_attention, token_merging }, cache }
    }
}

impl BatchSavings<'_> {
    /// Whether the deep part of the UNet is run, and with it what steers it.
    pub(super) fn runs_deep_part(&self) -> bool {
        self.savings.deep_features != DeepFeatures::Reused
    }
}
