//! `unet/config.json`.

use emberbrush_layers::activation::Activation;
use serde::Deserialize;

/// A value for every level of resolution, or a list with one for each.
///
/// A list is always one of levels: where a value can be a list itself, that is tried second.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PerLevel<T> {
    /// One each, from the highest resolution to the lowest.
    Each(Vec<T>),
    /// The same at every level.
    Same(T),
}

/// Number of transformer blocks at the layers of one level.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TransformerLayers {
    /// The same at every layer.
    Same(usize),
    /// One number for each layer.
    Each(Vec<usize>),
}

/// A block of the downward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Residual blocks.
    DownBlock2D,
    /// Residual blocks, each followed by a transformer.
    CrossAttnDownBlock2D,
}

/// The block between both halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum MidBlockType {
    /// A residual block, a transformer, a residual block.
    UNetMidBlock2DCrossAttn,
    /// One residual block, as in the distilled SSD-1B and Vega.
    UNetMidBlock2D,
}

/// A block of the upward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Residual blocks.
    UpBlock2D,
    /// Residual blocks, each followed by a transformer.
    CrossAttnUpBlock2D,
}

/// What is added to the time embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdditionEmbedType {
    /// The pooled text embedding and sizes of the picture, as in Stable Diffusion XL.
    TextTime,
}

/// The configuration of a [`crate::UNet2DConditionModel`], read from the published
/// `unet/config.json` with the defaults of diffusers (`models/unets/unet_2d_condition.py`).
///
/// Every field has the name of its key. Options that this network does not have are read so
/// that a configuration which sets them can be refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct UNet2DConditionConfig {
    /// Side length, or height and width, of the latents of the training pictures.
    pub sample_size: Option<PerLevel<usize>>,
    /// Channels of the sample: 4; 9 with an inpainting mask and its masked picture.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Whether the sample is mapped from 0..1 to -1..1 first.
    pub center_input_sample: bool,
    /// Whether cosines come before sines in the timestep embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of the timestep embedding's frequencies.
    pub freq_shift: f64,
    /// Blocks from the highest resolution to the lowest.
    pub down_block_types: Vec<DownBlockType>,
    /// The block between; null for none.
    pub mid_block_type: Option<MidBlockType>,
    /// Blocks from the lowest resolution to the highest.
    pub up_block_types: Vec<UpBlockType>,
    /// Whether the first attention of a transformer block looks at the text too.
    pub only_cross_attention: PerLevel<bool>,
    /// Channels of the levels.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level on the way down; one more on the way up.
    pub layers_per_block: PerLevel<usize>,
    /// Zeros around the input of the downsampling convolutions; 0 puts one on the bottom and
    /// right only.
    pub downsample_padding: usize,
    /// Divisor of the residual sums of the middle block.
    pub mid_block_scale_factor: f64,
    /// Activation of residual blocks and time embedding.
    pub act_fn: Activation,
    /// Groups of the group normalisations.
    pub norm_num_groups: usize,
    /// Epsilon of the group normalisations outside the transformers.
    pub norm_eps: f64,
    /// Width of the text embeddings.
    pub cross_attention_dim: PerLevel<usize>,
    /// Transformer blocks at each layer of a level.
    pub transformer_layers_per_block: PerLevel<TransformerLayers>,
    /// The same for the way up, from the lowest resolution to the highest, where it is not the
    /// mirror image of the way down.
    pub reverse_transformer_layers_per_block: Option<Vec<TransformerLayers>>,
    /// Number of attention heads, in spite of its name (diffusers issue 2011).
    pub attention_head_dim: PerLevel<usize>,
    /// Number of attention heads, where it differs from `attention_head_dim`.
    pub num_attention_heads: Option<PerLevel<usize>>,
    /// Whether the transformers' outer projections are stored as matrices and not as 1×1
    /// convolutions. They are the same map, so both are read whatever this says.
    pub use_linear_projection: bool,
    /// Whether attention is computed in f32 with weights of half precision.
    pub upcast_attention: Option<bool>,
    /// What is added to the time embedding.
    pub addition_embed_type: Option<AdditionEmbedType>,
    /// Width of the embedding of each added number.
    pub addition_time_embed_dim: Option<usize>,
    /// Width of the pooled text embedding and the embedded numbers together.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Width of the time embedding; four times the first level's channels by default.
    pub time_embedding_dim: Option<usize>,
    /// Width of the guidance embedding of models distilled from classifier-free guidance.
    pub time_cond_proj_dim: Option<usize>,
    /// Side length of the first convolution.
    pub conv_in_kernel: usize,
    /// Side length of the last convolution.
    pub conv_out_kernel: usize,

    /// Only "default".
    pub resnet_time_scale_shift: String,
    /// Only "positional".
    pub time_embedding_type: String,
    /// Only "default".
    pub attention_type: String,
    /// Not supported.
    pub dual_cross_attention: bool,
    /// Not supported.
    pub class_embeddings_concat: bool,
    /// Not supported.
    pub class_embed_type: Option<String>,
    /// Not supported.
    pub num_class_embeds: Option<usize>,
    /// Not supported.
    pub encoder_hid_dim: Option<usize>,
    /// Not supported.
    pub encoder_hid_dim_type: Option<String>,
    /// Not supported.
    pub time_embedding_act_fn: Option<String>,
    /// Not supported.
    pub timestep_post_act: Option<String>,
    /// Not supported.
    pub cross_attention_norm: Option<String>,
}

impl Default for UNet2DConditionConfig {
    fn default() -> Self {
        use {DownBlockType::*, UpBlockType::*};
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                DownBlock2D,
            ],
            mid_block_type: Some(MidBlockType::UNetMidBlock2DCrossAttn),
            up_block_types: vec![
                UpBlock2D,
                CrossAttnUpBlock2D,
                CrossAttnUpBlock2D,
                CrossAttnUpBlock2D,
            ],
            only_cross_attention: PerLevel::Same(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerLevel::Same(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: PerLevel::Same(1280),
            transformer_layers_per_block: PerLevel::Same(TransformerLayers::Same(1)),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerLevel::Same(8),
            num_attention_heads: None,
            use_linear_projection: false,
            upcast_attention: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_embedding_dim: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            resnet_time_scale_shift: "default".to_owned(),
            time_embedding_type: "positional".to_owned(),
            attention_type: "default".to_owned(),
            dual_cross_attention: false,
            class_embeddings_concat: false,
            class_embed_type: None,
            num_class_embeds: None,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            cross_attention_norm: None,
        }
    }
}
