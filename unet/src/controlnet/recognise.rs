//! What a ControlNet is, from the shapes of its tensors and the UNet that it is to steer.

use emberbrush_layers::weights::WeightError;

use super::config::ControlNetConfig;
use crate::{
    config::{
        AdditionEmbedType, DownBlockType, MidBlockType, PerLevel, TransformerLayers,
        UNet2DConditionConfig,
    },
    levels::{ContractingLevels, error},
};

/// The shape of the tensor that diffusers calls so, where there is one.
type Shapes<'a> = dyn Fn(&str) -> Option<Vec<usize>> + 'a;

/// More levels, layers or blocks than any network has.
const MOST: usize = 64;

impl ControlNetConfig {
    /// The configuration of a file without one. Shapes tell the structure; what they do not tell
    /// (heads, groups, epsilons) is as in `unet`, of which a ControlNet is a copy.
    ///
    /// # Errors
    ///
    /// Where tensors that every ControlNet has are missing, or its levels are not those of `unet`.
    pub fn from_shapes(
        shape: &Shapes<'_>,
        unet: &UNet2DConditionConfig,
    ) -> Result<Self, WeightError> {
        let convolution = |key: &str| match shape(key).as_deref() {
            Some(&[outputs, inputs, ..]) => Ok([outputs, inputs]),
            Some(other) => Err(error(format!("`{key}` has shape {other:?}"))),
            None => Err(error(format!("it has no tensor `{key}`, so it is no ControlNet"))),
        };
        let [_, in_channels] = convolution("conv_in.weight")?;
        let [first, conditioning_channels] =
            convolution("controlnet_cond_embedding.conv_in.weight")?;
        let mut embedding_channels = vec![first];
        // Every second of the layers between changes the number of channels.
        let blocks =
            count(shape, |block| format!("controlnet_cond_embedding.blocks.{block}.weight"));
        for block in (1..blocks).step_by(2) {
            let key = format!("controlnet_cond_embedding.blocks.{block}.weight");
            embedding_channels.push(convolution(&key)?[0]);
        }

        let levels = count(shape, |level| format!("down_blocks.{level}.resnets.0.conv1.weight"));
        let (mut channels, mut layers) = (Vec::new(), Vec::new());
        let (mut types, mut transformers) = (Vec::new(), Vec::new());
        let mut text_width = None;
        for level in 0..levels {
            let place = format!("down_blocks.{level}");
            channels.push(convolution(&format!("{place}.resnets.0.conv1.weight"))?[0]);
            layers.push(count(shape, |layer| format!("{place}.resnets.{layer}.conv1.weight")));
            let attention = format!("{place}.attentions.0");
            let depth = depth(shape, &attention);
            types.push(match depth {
                0 => DownBlockType::DownBlock2D,
                _ => DownBlockType::CrossAttnDownBlock2D,
            });
            transformers.push(depth);
            text_width = text_width.or(width(shape, &attention));
        }
        let middle = "mid_block.attentions.0";
        let mid_depth = depth(shape, middle);
        if let Some(last) = transformers.last_mut()
            && mid_depth > 0
        {
            *last = mid_depth;
        }
        text_width = text_width.or(width(shape, middle));
        if channels != unet.block_out_channels {
            return Err(error(format!(
                "it was made for a UNet with levels of {channels:?} channels, but the model's have \
                 {:?}",
                unet.block_out_channels
            )));
        }
        let added = shape("add_embedding.linear_1.weight").and_then(|shape| shape.get(1).copied());
        let same = |depth: usize| TransformerLayers::Same(depth.max(1));
        Ok(Self {
            unet: UNet2DConditionConfig {
                in_channels,
                down_block_types: types,
                mid_block_type: Some(match mid_depth {
                    0 => MidBlockType::UNetMidBlock2D,
                    _ => MidBlockType::UNetMidBlock2DCrossAttn,
                }),
                layers_per_block: PerLevel::Each(layers),
                transformer_layers_per_block: PerLevel::Each(
                    transformers.into_iter().map(same).collect(),
                ),
                cross_attention_dim: text_width
                    .map_or_else(|| unet.cross_attention_dim.clone(), PerLevel::Same),
                addition_embed_type: added.map(|_| AdditionEmbedType::TextTime),
                projection_class_embeddings_input_dim: added,
                center_input_sample: false,
                time_cond_proj_dim: None,
                ..unet.clone()
            },
            conditioning_channels,
            conditioning_embedding_out_channels: embedding_channels,
            ..Self::default()
        })
    }

    /// Whether a network of this configuration can steer `unet`.
    ///
    /// # Errors
    ///
    /// What both have, where that differs; and errors of either configuration.
    pub fn check_fits(&self, unet: &UNet2DConditionConfig) -> Result<(), WeightError> {
        let own = ContractingLevels::new(&self.unet)?;
        let other = ContractingLevels::new(unet)?;
        if (own.skip_channels(), own.mid.channels) != (other.skip_channels(), other.mid.channels) {
            return Err(error(format!(
                "it adds to {} skip connections of {:?} channels, but the model's UNet has {} of \
                 {:?}",
                own.skip_channels().len(),
                own.skip_channels(),
                other.skip_channels().len(),
                other.skip_channels(),
            )));
        }
        let looks_at_text = own.down.iter().any(|level| !level.transformer_layers.is_empty())
            || self.unet.mid_block_type == Some(MidBlockType::UNetMidBlock2DCrossAttn);
        let (width, model_width) = (own.mid.cross_attention_dim, other.mid.cross_attention_dim);
        if looks_at_text && width != model_width {
            return Err(error(format!(
                "it was made for text embeddings of width {width}{}, but the model's are {model_width} \
                 wide{}",
                family(width),
                family(model_width)
            )));
        }
        let added = |config: &UNet2DConditionConfig| {
            let width = config.projection_class_embeddings_input_dim;
            width.filter(|_| config.addition_embed_type.is_some())
        };
        match (added(&self.unet), added(unet)) {
            (Some(width), Some(model_width)) if width != model_width => Err(error(format!(
                "it takes pooled text and sizes of {width} values together, but the model's are \
                 {model_width}"
            ))),
            (Some(width), None) => Err(error(format!(
                "it takes pooled text and sizes of {width} values together, which this model does \
                 not have"
            ))),
            _ => Ok(()),
        }
    }
}

/// The models whose text embeddings are so wide.
fn family(width: usize) -> &'static str {
    match width {
        768 => " (Stable Diffusion 1.x)",
        1024 => " (Stable Diffusion 2.x)",
        2048 => " (Stable Diffusion XL)",
        _ => "",
    }
}

/// How many numbers from 0 on give the name of a tensor that is there.
fn count(shape: &Shapes<'_>, key: impl Fn(usize) -> String) -> usize {
    (0..MOST).take_while(|&number| shape(&key(number)).is_some()).count()
}

/// The number of blocks of a transformer.
fn depth(shape: &Shapes<'_>, transformer: &str) -> usize {
    count(shape, |block| format!("{transformer}.transformer_blocks.{block}.attn2.to_k.weight"))
}

/// The width of the text embeddings that a transformer takes.
fn width(shape: &Shapes<'_>, transformer: &str) -> Option<usize> {
    shape(&format!("{transformer}.transformer_blocks.0.attn2.to_k.weight"))?.get(1).copied()
}
