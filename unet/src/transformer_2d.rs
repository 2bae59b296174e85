//! Transformers over the positions of a feature map.

use burn::tensor::Tensor;
use emberbrush_layers::{
    attention::{Attention, AttentionOptions, AttentionSlicing},
    feature_map,
    feed_forward::FeedForward,
    linear::Linear,
    norm::{GroupNorm, LayerNorm},
    weights::{WeightError, Weights},
};

use crate::{blocks::Conditions, token_merging::TokenMerge};

const GROUP_NORM_EPSILON: f64 = 1e-6;
const LAYER_NORM_EPSILON: f64 = 1e-5;

/// What a [`Transformer2DModel`] is built from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transformer2DOptions {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    pub(crate) cross_attention_dim: usize,
    /// Whether the first attention of each block looks at the text too.
    pub(crate) only_cross_attention: bool,
    pub(crate) layers: usize,
    pub(crate) norm_num_groups: usize,
    pub(crate) upcast_attention: bool,
    /// Whether tokens may be merged in its self-attention.
    pub(crate) merges_tokens: bool,
    /// The number of the first of its blocks among all of the network's.
    pub(crate) first_block: usize,
}

/// Self-attention, attention to the text and a feed-forward network, each behind a layer
/// normalisation and beside a shortcut (diffusers `models/attention.py`).
#[derive(Debug)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
    only_cross_attention: bool,
    merges_tokens: bool,
    /// Its number among all blocks of the network.
    index: usize,
}

impl BasicTransformerBlock {
    fn new(
        weights: &Weights<'_>,
        index: usize,
        options: Transformer2DOptions,
    ) -> Result<Self, WeightError> {
        let Transformer2DOptions { channels, only_cross_attention, .. } = options;
        let norm = |name| LayerNorm::new(&weights.at(name), channels, LAYER_NORM_EPSILON);
        let attention = |name, context_channels| {
            Attention::new(
                &weights.at(name),
                AttentionOptions {
                    channels,
                    context_channels,
                    heads: options.heads,
                    bias: false,
                    upcast: options.upcast_attention,
                },
            )
        };
        let text = options.cross_attention_dim;
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: attention("attn1", if only_cross_attention { text } else { channels })?,
            norm2: norm("norm2")?,
            attn2: attention("attn2", text)?,
            norm3: norm("norm3")?,
            ff: FeedForward::new(&weights.at("ff"), channels)?,
            only_cross_attention,
            merges_tokens: options.merges_tokens,
            index,
        })
    }

    fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.attn1.reload(&weights.at("attn1"))?;
        self.attn2.reload(&weights.at("attn2"))?;
        self.ff.reload(&weights.at("ff"))
    }

    /// `size` is the height and width of the feature map whose pixels the tokens are.
    fn forward(
        &self,
        x: Tensor<3>,
        size: [usize; 2],
        conditions: &mut Conditions<'_>,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        let x = self.attend_to_itself(x, size, conditions, slicing);
        let x = self.attend_to_text(x, conditions, slicing);
        self.ff.forward_onto(self.norm3.forward(x.clone()), x)
    }

    fn attend_to_itself(
        &self,
        x: Tensor<3>,
        size: [usize; 2],
        conditions: &Conditions<'_>,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        let context = |normed: &Tensor<3>| {
            self.attn1.keys_and_values(match self.only_cross_attention {
                true => conditions.encoder_hidden_states.clone(),
                false => normed.clone(),
            })
        };
        let ratio = conditions.economy.token_merging();
        let merge = if self.merges_tokens { TokenMerge::new(&x, size, ratio) } else { None };
        let normed = self.norm1.forward(x.clone());
        match merge {
            None => {
                let context = context(&normed);
                self.attn1.forward_onto(normed, context, x, slicing)
            }
            Some(merge) => {
                let normed = merge.merge(normed);
                let context = context(&normed);
                let attended = self.attn1.forward(normed, context, slicing);
                feature_map::add(merge.unmerge(attended), x)
            }
        }
    }

    fn attend_to_text(
        &self,
        x: Tensor<3>,
        conditions: &mut Conditions<'_>,
        slicing: AttentionSlicing,
    ) -> Tensor<3> {
        let Conditions { encoder_hidden_states: text, economy, .. } = conditions;
        if let Some(attended) = economy.attended(self.index) {
            return feature_map::add(x, attended);
        }
        let normed = self.norm2.forward(x.clone());
        let context =
            economy.keys_and_values(self.index, || self.attn2.keys_and_values(text.clone()));
        if economy.reuses_cross_attention() {
            let attended = self.attn2.forward(normed, context, slicing);
            economy.keep_attended(self.index, attended.clone());
            return feature_map::add(x, attended);
        }
        self.attn2.forward_onto(normed, context, x, slicing)
    }
}

/// Transformer blocks over the pixels of a feature map, between two projections and beside a
/// shortcut (diffusers `models/transformers/transformer_2d.py`).
#[derive(Debug)]
pub(crate) struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Linear,
}

impl Transformer2DModel {
    /// Reads `norm`, `proj_in`, `transformer_blocks.*` and `proj_out`.
    pub(crate) fn new(
        weights: &Weights<'_>,
        options: Transformer2DOptions,
    ) -> Result<Self, WeightError> {
        let Transformer2DOptions { channels, norm_num_groups, .. } = options;
        let blocks = weights.at("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::new(
                &weights.at("norm"),
                norm_num_groups,
                channels,
                GROUP_NORM_EPSILON,
            )?,
            proj_in: Linear::new(&weights.at("proj_in"), channels, channels)?,
            transformer_blocks: (0..options.layers)
                .map(|layer| {
                    let index = options.first_block + layer;
                    BasicTransformerBlock::new(&blocks.at(layer), index, options)
                })
                .collect::<Result<_, _>>()?,
            proj_out: Linear::new(&weights.at("proj_out"), channels, channels)?,
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.proj_in.reload(&weights.at("proj_in"))?;
        let blocks = weights.at("transformer_blocks");
        for (layer, block) in self.transformer_blocks.iter_mut().enumerate() {
            block.reload(&blocks.at(layer))?;
        }
        self.proj_out.reload(&weights.at("proj_out"))
    }

    /// # Shapes
    ///
    /// - x and output: `[batch, channels, height, width]`
    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        conditions: &mut Conditions<'_>,
        slicing: AttentionSlicing,
    ) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let tokens = feature_map::to_tokens(self.norm.forward(x.clone()));
        let mut tokens = self.proj_in.forward(tokens);
        for block in &self.transformer_blocks {
            tokens = block.forward(tokens, [height, width], conditions, slicing);
        }
        let tokens = self.proj_out.forward_onto(tokens, feature_map::to_tokens(x));
        feature_map::from_tokens(tokens, [height, width])
    }
}
