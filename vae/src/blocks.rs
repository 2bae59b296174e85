//! The blocks of encoder and decoder (diffusers `models/unets/unet_2d_blocks.py`).

use burn::tensor::Tensor;
use emberbrush_layers::{
    attention::{Attention, AttentionOptions, AttentionSlicing},
    conv::Kernel,
    feature_map,
    forward_pass::ForwardPass,
    interrupt::Cancelled,
    norm::{GroupNorm, PooledStatistics},
    resample::{Downsample2D, Upsample2D},
    resnet::{ResnetBlock2D, ResnetBlock2DOptions},
    weights::{WeightError, Weights},
};

use crate::config::AutoencoderKlConfig;

/// Epsilon of every normalisation of the autoencoder.
pub(crate) const EPSILON: f64 = 1e-6;

fn resnet(
    weights: &Weights<'_>,
    config: &AutoencoderKlConfig,
    inputs: usize,
    outputs: usize,
) -> Result<ResnetBlock2D, WeightError> {
    let options = ResnetBlock2DOptions {
        inputs,
        outputs,
        time_embed_dim: None,
        groups: config.norm_num_groups,
        epsilon: EPSILON,
        activation: config.act_fn,
        output_scale_factor: 1.0,
    };
    ResnetBlock2D::new(weights, options)
}

fn resnets(
    weights: &Weights<'_>,
    config: &AutoencoderKlConfig,
    inputs: usize,
    outputs: usize,
    layers: usize,
) -> Result<Vec<ResnetBlock2D>, WeightError> {
    let weights = weights.at("resnets");
    (0..layers)
        .map(|layer| {
            let inputs = if layer == 0 { inputs } else { outputs };
            resnet(&weights.at(layer), config, inputs, outputs)
        })
        .collect()
}

/// Self-attention with a single head over all positions, beside a shortcut.
#[derive(Debug)]
struct MidAttention {
    group_norm: GroupNorm,
    attention: Attention,
}

impl MidAttention {
    fn new(
        weights: &Weights<'_>,
        config: &AutoencoderKlConfig,
        channels: usize,
    ) -> Result<Self, WeightError> {
        let norm = weights.at("group_norm");
        let options = AttentionOptions {
            channels,
            context_channels: channels,
            heads: 1,
            bias: true,
            upcast: true,
        };
        Ok(Self {
            group_norm: GroupNorm::new(&norm, config.norm_num_groups, channels, EPSILON)?,
            attention: Attention::new(weights, options)?,
        })
    }

    fn forward(
        &self,
        x: Tensor<4>,
        statistics: Option<&mut PooledStatistics>,
        slicing: AttentionSlicing,
    ) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let tokens = self.group_norm.forward_pooled(x.clone(), statistics);
        let tokens = feature_map::to_tokens(tokens);
        let shortcut = feature_map::to_tokens(x);
        let context = self.attention.keys_and_values(tokens.clone());
        let tokens = self.attention.forward_onto(tokens, context, shortcut, slicing);
        feature_map::from_tokens(tokens, [height, width])
    }
}

/// `UNetMidBlock2D`: residual block, attention, residual block.
#[derive(Debug)]
pub(crate) struct MidBlock2D {
    first: ResnetBlock2D,
    attention: Option<MidAttention>,
    second: ResnetBlock2D,
}

impl MidBlock2D {
    pub(crate) fn new(
        weights: &Weights<'_>,
        config: &AutoencoderKlConfig,
        channels: usize,
    ) -> Result<Self, WeightError> {
        let attention = config
            .mid_block_add_attention
            .then(|| MidAttention::new(&weights.at("attentions.0"), config, channels))
            .transpose()?;
        Ok(Self {
            first: resnet(&weights.at("resnets.0"), config, channels, channels)?,
            attention,
            second: resnet(&weights.at("resnets.1"), config, channels, channels)?,
        })
    }

    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        pass.checkpoint()?;
        let mut x = self.first.forward_pooled(x, None, pass.statistics());
        if let Some(attention) = &self.attention {
            pass.checkpoint()?;
            let slicing = pass.attention_slicing();
            x = attention.forward(x, pass.statistics(), slicing);
        }
        pass.checkpoint()?;
        Ok(self.second.forward_pooled(x, None, pass.statistics()))
    }
}

/// `DownEncoderBlock2D`.
#[derive(Debug)]
pub(crate) struct DownEncoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    downsampler: Option<Downsample2D>,
}

impl DownEncoderBlock2D {
    pub(crate) fn new(
        weights: &Weights<'_>,
        config: &AutoencoderKlConfig,
        inputs: usize,
        outputs: usize,
        downsample: bool,
    ) -> Result<Self, WeightError> {
        let downsampler = downsample
            .then(|| {
                let weights = weights.at("downsamplers.0");
                Downsample2D::new(&weights, outputs, Kernel::HALVE_BOTTOM_RIGHT)
            })
            .transpose()?;
        let resnets = resnets(weights, config, inputs, outputs, config.layers_per_block)?;
        Ok(Self { resnets, downsampler })
    }

    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        for resnet in &self.resnets {
            pass.checkpoint()?;
            x = resnet.forward_pooled(x, None, pass.statistics());
        }
        if let Some(downsampler) = &self.downsampler {
            pass.checkpoint()?;
            x = downsampler.forward(x);
        }
        Ok(x)
    }
}

/// `UpDecoderBlock2D`.
#[derive(Debug)]
pub(crate) struct UpDecoderBlock2D {
    resnets: Vec<ResnetBlock2D>,
    upsampler: Option<Upsample2D>,
}

impl UpDecoderBlock2D {
    pub(crate) fn new(
        weights: &Weights<'_>,
        config: &AutoencoderKlConfig,
        inputs: usize,
        outputs: usize,
        upsample: bool,
    ) -> Result<Self, WeightError> {
        let upsampler =
            upsample.then(|| Upsample2D::new(&weights.at("upsamplers.0"), outputs)).transpose()?;
        let resnets = resnets(weights, config, inputs, outputs, config.layers_per_block + 1)?;
        Ok(Self { resnets, upsampler })
    }

    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        for resnet in &self.resnets {
            pass.checkpoint()?;
            x = resnet.forward_pooled(x, None, pass.statistics());
        }
        if let Some(upsampler) = &self.upsampler {
            pass.checkpoint()?;
            x = upsampler.forward(x, None);
        }
        Ok(x)
    }
}
