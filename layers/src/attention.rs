//! Scaled dot-product attention over several heads.

use burn::tensor::{DType, Tensor, module, ops::AttentionModuleOptions};

use crate::{
    kernels,
    linear::Linear,
    weights::{WeightError, Weights},
};

/// Which keys a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Those at its own position and before.
    Causal,
}

/// How many queries are answered at once. Each has its own softmax, so the result is the same up
/// to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttentionSlicing {
    /// All of them.
    #[default]
    Off,
    /// So many that their scores, over all heads and the whole batch, are at most this number;
    /// one where not even its scores are.
    Scores(usize),
}

impl AttentionSlicing {
    /// The number of queries of a slice, of `queries` that have `scores` each.
    pub fn queries(self, queries: usize, scores: usize) -> usize {
        match self {
            Self::Off => queries,
            Self::Scores(most) => (most / scores.max(1)).clamp(1, queries.max(1)),
        }
    }
}

/// [`multi_head_attention`] without a mask, slice by slice.
///
/// # Shapes
///
/// Those of [`multi_head_attention`].
pub fn sliced_attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    slicing: AttentionSlicing,
) -> Tensor<3> {
    let [batch, queries, _] = query.dims();
    let slice = slicing.queries(queries, batch * heads * key.dims()[1]);
    let attend = |query: Tensor<3>| {
        multi_head_attention(query, key.clone(), value.clone(), heads, Visibility::All)
    };
    if slice >= queries {
        return attend(query);
    }
    let slices = (0..queries)
        .step_by(slice)
        .map(|first| attend(query.clone().narrow(1, first, slice.min(queries - first))))
        .collect();
    Tensor::cat(slices, 1)
}

/// `softmax(Q Kᵀ / √d) V`, head by head (Vaswani et al. 2017, equation 1).
///
/// # Shapes
///
/// - query: `[batch, queries, heads · head_dim]`
/// - key, value: `[batch, keys, heads · head_dim]`
/// - output: `[batch, queries, heads · head_dim]`
pub fn multi_head_attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    visibility: Visibility,
) -> Tensor<3> {
    let causal = visibility == Visibility::Causal;
    kernels::attend([query, key, value], heads, causal)
        .unwrap_or_else(|tensors| plain_attention(tensors, heads, causal))
}

fn plain_attention([query, key, value]: [Tensor<3>; 3], heads: usize, causal: bool) -> Tensor<3> {
    let [batch, queries, channels] = query.dims();
    let split = |x: Tensor<3>| {
        let [batch, tokens, channels] = x.dims();
        x.reshape([batch, tokens, heads, channels / heads]).swap_dims(1, 2)
    };
    let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: causal };
    module::attention(split(query), split(key), split(value), None, None, options)
        .swap_dims(1, 2)
        .reshape([batch, queries, channels])
}

/// What an [`Attention`] layer is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionOptions {
    /// Channels of the queries and of the output, a multiple of `heads`.
    pub channels: usize,
    /// Channels of what keys and values are made from.
    pub context_channels: usize,
    /// Number of heads.
    pub heads: usize,
    /// Whether `to_q`, `to_k` and `to_v` have a bias; `to_out.0` always has one.
    pub bias: bool,
    /// Whether to compute in f32 where the weights are of half precision.
    pub upcast: bool,
}

/// What an [`Attention`] makes of its context, `[batch, keys, channels]` each.
#[derive(Debug, Clone)]
pub struct KeysAndValues {
    key: Tensor<3>,
    value: Tensor<3>,
}

/// Multi-head attention with its four projections (diffusers `models/attention_processor.py`).
#[derive(Debug)]
pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    upcast: bool,
}

impl Attention {
    /// Reads `to_q`, `to_k`, `to_v` and `to_out.0`.
    ///
    /// # Errors
    ///
    /// Besides those of the source: `channels` must be a multiple of `heads`.
    pub fn new(weights: &Weights<'_>, options: AttentionOptions) -> Result<Self, WeightError> {
        let AttentionOptions { channels, context_channels, heads, bias, upcast } = options;
        if heads == 0 || !channels.is_multiple_of(heads) {
            return Err(WeightError::Config(format!(
                "config.json: {channels} channels cannot be split into {heads} attention heads"
            )));
        }
        let projection = |name: &str, inputs: usize| {
            let weights = weights.at(name);
            if bias {
                Linear::new(&weights, inputs, channels)
            } else {
                Linear::without_bias(&weights, inputs, channels)
            }
        };
        Ok(Self {
            to_q: projection("to_q", channels)?,
            to_k: projection("to_k", context_channels)?,
            to_v: projection("to_v", context_channels)?,
            to_out: Linear::new(&weights.at("to_out.0"), channels, channels)?,
            heads,
            upcast,
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.to_q.reload(&weights.at("to_q"))?;
        self.to_k.reload(&weights.at("to_k"))?;
        self.to_v.reload(&weights.at("to_v"))?;
        self.to_out.reload(&weights.at("to_out.0"))
    }

    /// The keys and values of what is attended to.
    ///
    /// # Shapes
    ///
    /// - context: `[batch, keys, context_channels]`
    pub fn keys_and_values(&self, context: Tensor<3>) -> KeysAndValues {
        KeysAndValues { key: self.to_k.forward(context.clone()), value: self.to_v.forward(context) }
    }

    /// Attends from `x` to what keys and values were made of; where that is `x` it is
    /// self-attention.
    ///
    /// # Shapes
    ///
    /// - x and output: `[batch, queries, channels]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        context: KeysAndValues,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        self.to_out.forward(self.attended(x, context, slicing))
    }

    /// [`Attention::forward`] with a shortcut added.
    ///
    /// # Shapes
    ///
    /// - x, shortcut and output: `[batch, queries, channels]`
    pub fn forward_onto(
        &self,
        x: Tensor<3>,
        context: KeysAndValues,
        shortcut: Tensor<3>,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        self.to_out.forward_onto(self.attended(x, context, slicing), shortcut)
    }

    fn attended(
        &self,
        x: Tensor<3>,
        context: KeysAndValues,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        let KeysAndValues { key, value } = context;
        let query = self.to_q.forward(x);
        let dtype = query.dtype();
        if self.upcast && matches!(dtype, DType::F16 | DType::BF16) {
            let [query, key, value] = [query, key, value].map(|x| x.cast(DType::F32));
            sliced_attention(query, key, value, self.heads, slicing).cast(dtype)
        } else {
            sliced_attention(query, key, value, self.heads, slicing)
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData, activation};

    use super::{AttentionSlicing, Visibility, multi_head_attention, sliced_attention};

    /// Values between -2 and 2 that no two positions share a pattern of.
    fn numbers(shape: [usize; 3], seed: u64, device: &Device) -> Tensor<3> {
        let mut state = seed;
        let values = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                (state >> 40) as f32 / (1_u32 << 22) as f32 - 2.0
            })
            .collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Equation 1 of Vaswani et al. 2017, written out for each head.
    fn written_out(
        [query, key, value]: [Tensor<3>; 3],
        heads: usize,
        visibility: Visibility,
    ) -> Tensor<3> {
        let [_, queries, channels] = query.dims();
        let keys = key.dims()[1];
        let width = channels / heads;
        let device = query.device();
        let hidden = (0..queries)
            .flat_map(|q| (0..keys).map(move |k| if k > q { -1e30_f32 } else { 0.0 }))
            .collect::<Vec<_>>();
        let hidden = Tensor::<3>::from_data(TensorData::new(hidden, [1, queries, keys]), &device);
        let head = |index: usize| {
            let part = |x: &Tensor<3>| x.clone().narrow(2, index * width, width);
            let scores = part(&query).matmul(part(&key).swap_dims(1, 2)) / (width as f64).sqrt();
            let scores =
                if visibility == Visibility::Causal { scores + hidden.clone() } else { scores };
            activation::softmax(scores, 2).matmul(part(&value))
        };
        Tensor::cat((0..heads).map(head).collect(), 2)
    }

    fn check(batch: usize, queries: usize, keys: usize, heads: usize, width: usize) {
        let device = Device::flex();
        let channels = heads * width;
        let inputs = [
            numbers([batch, queries, channels], 1, &device),
            numbers([batch, keys, channels], 2, &device),
            numbers([batch, keys, channels], 3, &device),
        ];
        for visibility in [Visibility::All, Visibility::Causal] {
            if visibility == Visibility::Causal && queries != keys {
                continue;
            }
            let [query, key, value] = inputs.clone();
            let actual = multi_head_attention(query, key, value, heads, visibility);
            let expected = written_out(inputs.clone(), heads, visibility);
            let largest = expected.clone().abs().max().into_scalar::<f32>();
            let difference = (actual - expected).abs().max().into_scalar::<f32>();
            assert!(
                difference <= 1e-5 * largest,
                "{queries}x{keys}, {heads} heads of {width}, {visibility:?}: {difference:e}"
            );
        }
    }

    #[test]
    fn few_scores() {
        check(2, 20, 20, 4, 8);
        check(2, 20, 77, 4, 8);
    }

    /// The CPU backend changes to another algorithm above 262 144 scores.
    #[test]
    fn many_scores() {
        check(1, 600, 600, 1, 64);
        check(1, 1024, 600, 2, 40);
    }

    #[test]
    fn slices_give_the_same() {
        let device = Device::flex();
        let [query, key, value] = [([2, 100, 64], 1), ([2, 50, 64], 2), ([2, 50, 64], 3)]
            .map(|(shape, seed)| numbers(shape, seed, &device));
        let whole =
            multi_head_attention(query.clone(), key.clone(), value.clone(), 4, Visibility::All);
        for (scores, slice) in [(1, 1), (3 * 2 * 4 * 50, 3), (30 * 2 * 4 * 50 + 7, 30)] {
            let slicing = AttentionSlicing::Scores(scores);
            assert_eq!(slicing.queries(100, 2 * 4 * 50), slice);
            let sliced = sliced_attention(query.clone(), key.clone(), value.clone(), 4, slicing);
            assert_eq!(sliced.dims(), whole.dims());
            let difference = (sliced - whole.clone()).abs().max().into_scalar::<f32>();
            assert!(difference <= 1e-5, "slices of {slice}: {difference:e}");
        }
    }

    /// The single head of AutoencoderKL's middle attention is as wide as the network.
    #[test]
    fn wide_head() {
        check(1, 600, 600, 1, 512);
        check(1, 64, 64, 1, 512);
    }
}
