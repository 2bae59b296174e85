//! Evaluations that do less: what they leave out, and what is kept for them from one evaluation to
//! the next, such as the keys and values of a text, which stay the same.

use burn::tensor::Tensor;
use emberbrush_layers::attention::KeysAndValues;

/// What an evaluation leaves out. At first it is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Savings {
    /// What becomes of the deep part of the network.
    pub deep_features: DeepFeatures,
    /// What becomes of the attention to the text.
    pub cross_attention: CrossAttention,
    /// The share of the tokens, from 0 to 3/4, that self-attention does without at the highest
    /// resolution that has transformers (Bolya and Hoffman, arXiv:2303.17604).
    pub token_merging: f64,
}

/// The deep part of the network: all but the first convolution, the last residual block, the
/// transformer after it and the last convolution (Ma et al., arXiv:2312.00858, with the first skip
/// connection as the branch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeepFeatures {
    /// It is run, and its result is kept nowhere.
    #[default]
    Computed,
    /// It is run, and its result is kept.
    Kept,
    /// The result that was kept stands for it, where there is one. What ControlNets add is the kept
    /// one's too.
    Reused,
}

/// What the cross-attention of each transformer block adds to its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrossAttention {
    /// It is computed, and kept nowhere.
    #[default]
    Computed,
    /// It is taken from the first evaluation since the cache was new (in the style of Zhang et al.,
    /// arXiv:2404.02747).
    Reused,
}

/// What evaluations of one network keep for those after them, which have the same text and as many
/// samples of the same size. Keys and values of the text are always kept, and change nothing.
#[derive(Debug, Default)]
pub struct EvaluationCache {
    deep: Option<KeptFeatures>,
    /// By the number of the transformer block.
    cross_attention: Vec<KeptAttention>,
}

/// What is kept of the cross-attention of one transformer block.
#[derive(Debug, Default)]
struct KeptAttention {
    /// Keys and values of the text, always.
    context: Option<KeysAndValues>,
    /// What [`CrossAttention::Reused`] takes, `[batch, height · width, channels]`.
    attended: Option<Tensor<3>>,
}

/// What [`DeepFeatures::Kept`] keeps.
#[derive(Debug, Clone)]
pub(crate) struct KeptFeatures {
    /// What goes into the last residual block, without the skip connection.
    pub(crate) x: Tensor<4>,
    /// What ControlNets added to that skip connection.
    pub(crate) residual: Option<Tensor<4>>,
}

impl EvaluationCache {
    /// Whether there is something for [`DeepFeatures::Reused`].
    pub fn has_deep_features(&self) -> bool {
        self.deep.is_some()
    }

    fn cross_attention_of(&mut self, index: usize) -> &mut KeptAttention {
        if self.cross_attention.len() <= index {
            self.cross_attention.resize_with(index + 1, KeptAttention::default);
        }
        &mut self.cross_attention[index]
    }
}

/// The savings of one evaluation, and the cache of the run that it is a part of.
#[derive(Debug, Default)]
pub(crate) struct Economy<'a> {
    savings: Savings,
    cache: Option<&'a mut EvaluationCache>,
}

impl<'a> Economy<'a> {
    pub(crate) fn new(savings: Savings, cache: &'a mut EvaluationCache) -> Self {
        Self { savings, cache: Some(cache) }
    }

    /// The share of the tokens that are merged.
    pub(crate) fn token_merging(&self) -> f64 {
        self.savings.token_merging
    }

    /// What stands for the deep part.
    pub(crate) fn deep_features(&self) -> Option<KeptFeatures> {
        let is_reused = self.savings.deep_features == DeepFeatures::Reused;
        self.cache.as_ref().filter(|_| is_reused)?.deep.clone()
    }

    /// Whether what the deep part puts out is to be kept.
    pub(crate) fn keeps_deep_features(&self) -> bool {
        self.savings.deep_features == DeepFeatures::Kept
    }

    /// Keeps what the deep part puts out, and what was added to the first skip connection, where
    /// that is wanted.
    pub(crate) fn keep_deep_features(&mut self, x: &Tensor<4>, residual: Option<Tensor<4>>) {
        let is_kept = self.keeps_deep_features();
        if let Some(cache) = self.cache.as_mut().filter(|_| is_kept) {
            cache.deep = Some(KeptFeatures { x: x.clone(), residual });
        }
    }

    /// Whether cross-attention is computed once.
    pub(crate) fn reuses_cross_attention(&self) -> bool {
        self.savings.cross_attention == CrossAttention::Reused
    }

    /// What the cross-attention of block `index` put out before, where that is to be taken.
    pub(crate) fn attended(&self, index: usize) -> Option<Tensor<3>> {
        let is_reused = self.reuses_cross_attention();
        let cache = self.cache.as_ref().filter(|_| is_reused)?;
        cache.cross_attention.get(index)?.attended.clone()
    }

    /// Keeps what the cross-attention of block `index` puts out; its keys and values have no use
    /// any more.
    pub(crate) fn keep_attended(&mut self, index: usize, attended: Tensor<3>) {
        if let Some(cache) = &mut self.cache {
            let attended = Some(attended);
            *cache.cross_attention_of(index) = KeptAttention { context: None, attended };
        }
    }

    /// Keys and values of the text for block `index`, which `compute` makes where none are kept.
    pub(crate) fn keys_and_values(
        &mut self,
        index: usize,
        compute: impl FnOnce() -> KeysAndValues,
    ) -> KeysAndValues {
        match &mut self.cache {
            None => compute(),
            Some(cache) => {
                cache.cross_attention_of(index).context.get_or_insert_with(compute).clone()
            }
        }
    }
}
