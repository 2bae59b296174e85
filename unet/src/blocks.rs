//! The blocks of one level (diffusers `models/unets/unet_2d_blocks.py`).

use std::cell::Cell;

use burn::tensor::Tensor;
use emberbrush_layers::{
    conv::Kernel,
    feature_map,
    forward_pass::ForwardPass,
    interrupt::Cancelled,
    resample::{Downsample2D, Upsample2D},
    resnet::{ResnetBlock2D, ResnetBlock2DOptions},
    weights::{WeightError, Weights},
};

use crate::{
    config::{MidBlockType, UNet2DConditionConfig},
    levels::Level,
    savings::Economy,
    transformer_2d::{Transformer2DModel, Transformer2DOptions},
};

/// What every block is conditioned on, and what the evaluation leaves out.
pub(crate) struct Conditions<'a> {
    /// The time embedding after its activation, `[batch, time_embed_dim]`.
    pub(crate) activated_time_embedding: Tensor<2>,
    /// `[batch, tokens, cross_attention_dim]`
    pub(crate) encoder_hidden_states: Tensor<3>,
    pub(crate) economy: Economy<'a>,
}

/// Builds the parts of the blocks of one network.
pub(crate) struct Builder<'a> {
    pub(crate) config: &'a UNet2DConditionConfig,
    pub(crate) time_embed_dim: usize,
    /// Transformer blocks that are built so far.
    transformer_blocks: Cell<usize>,
}

impl<'a> Builder<'a> {
    /// Goes on after so many transformer blocks of the same network.
    pub(crate) fn new(
        config: &'a UNet2DConditionConfig,
        time_embed_dim: usize,
        transformer_blocks: usize,
    ) -> Self {
        Self { config, time_embed_dim, transformer_blocks: Cell::new(transformer_blocks) }
    }

    /// The number of transformer blocks that are built so far.
    pub(crate) fn transformer_blocks(&self) -> usize {
        self.transformer_blocks.get()
    }

    fn resnet(
        &self,
        weights: &Weights<'_>,
        inputs: usize,
        outputs: usize,
        output_scale_factor: f64,
    ) -> Result<ResnetBlock2D, WeightError> {
        let options = ResnetBlock2DOptions {
            inputs,
            outputs,
            time_embed_dim: Some(self.time_embed_dim),
            groups: self.config.norm_num_groups,
            epsilon: self.config.norm_eps,
            activation: self.config.act_fn,
            output_scale_factor,
        };
        ResnetBlock2D::new(weights, options)
    }

    fn transformers(
        &self,
        weights: &Weights<'_>,
        level: &Level,
    ) -> Result<Vec<Transformer2DModel>, WeightError> {
        let weights = weights.at("attentions");
        let build = |(index, &layers)| {
            let first_block = self.transformer_blocks.get();
            self.transformer_blocks.set(first_block + layers);
            let options = Transformer2DOptions {
                channels: level.channels,
                heads: level.heads,
                cross_attention_dim: level.cross_attention_dim,
                only_cross_attention: level.only_cross_attention,
                layers,
                norm_num_groups: self.config.norm_num_groups,
                upcast_attention: self.config.upcast_attention.unwrap_or(false),
                merges_tokens: level.is_finest,
                first_block,
            };
            Transformer2DModel::new(&weights.at(index), options)
        };
        level.transformer_layers.iter().enumerate().map(build).collect()
    }
}

/// `DownBlock2D` and `CrossAttnDownBlock2D`.
#[derive(Debug)]
pub(crate) struct DownBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock2D {
    pub(crate) fn new(
        weights: &Weights<'_>,
        builder: &Builder<'_>,
        level: &Level,
        inputs: usize,
        downsample: bool,
    ) -> Result<Self, WeightError> {
        let channels = level.channels;
        let resnets = weights.at("resnets");
        let resnets = (0..level.layers)
            .map(|layer| {
                let inputs = if layer == 0 { inputs } else { channels };
                builder.resnet(&resnets.at(layer), inputs, channels, 1.0)
            })
            .collect::<Result<_, _>>()?;
        let kernel = match builder.config.downsample_padding {
            0 => Kernel::HALVE_BOTTOM_RIGHT,
            _ => Kernel::HALVE,
        };
        let downsampler = downsample
            .then(|| Downsample2D::new(&weights.at("downsamplers.0"), channels, kernel))
            .transpose()?;
        Ok(Self { resnets, attentions: builder.transformers(weights, level)?, downsampler })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        for (layer, resnet) in self.resnets.iter_mut().enumerate() {
            resnet.reload(&weights.at("resnets").at(layer))?;
        }
        for (layer, attention) in self.attentions.iter_mut().enumerate() {
            attention.reload(&weights.at("attentions").at(layer))?;
        }
        match &mut self.downsampler {
            Some(downsampler) => downsampler.reload(&weights.at("downsamplers.0")),
            None => Ok(()),
        }
    }

    /// Pushes the output of each layer, and of the downsampler, to `skips`.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions<'_>,
        skips: &mut Vec<Tensor<4>>,
        level: usize,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        for (layer, resnet) in self.resnets.iter().enumerate() {
            pass.checkpoint()?;
            x = resnet.forward(x, Some(&conditions.activated_time_embedding));
            pass.show(format_args!("down_blocks.{level}.resnets.{layer}"), &x);
            if let Some(attention) = self.attentions.get(layer) {
                pass.checkpoint()?;
                let slicing = pass.attention_slicing();
                x = attention.forward(x, conditions, slicing);
                pass.show(format_args!("down_blocks.{level}.attentions.{layer}"), &x);
            }
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        pass.show(format_args!("down_blocks.{level}"), &x);
        Ok(x)
    }
}

/// `UNetMidBlock2DCrossAttn` and `UNetMidBlock2D`.
#[derive(Debug)]
pub(crate) struct MidBlock2D {
    first: ResnetBlock2D,
    rest: Vec<(Transformer2DModel, ResnetBlock2D)>,
}

impl MidBlock2D {
    pub(crate) fn new(
        weights: &Weights<'_>,
        builder: &Builder<'_>,
        level: &Level,
        block_type: MidBlockType,
    ) -> Result<Self, WeightError> {
        let resnet = |index: usize| {
            let weights = weights.at("resnets").at(index);
            let scale = builder.config.mid_block_scale_factor;
            builder.resnet(&weights, level.channels, level.channels, scale)
        };
        let rest = match block_type {
            MidBlockType::UNetMidBlock2D => Vec::new(),
            MidBlockType::UNetMidBlock2DCrossAttn => builder
                .transformers(weights, level)?
                .into_iter()
                .enumerate()
                .map(|(layer, attention)| Ok((attention, resnet(layer + 1)?)))
                .collect::<Result<_, WeightError>>()?,
        };
        Ok(Self { first: resnet(0)?, rest })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        let (resnets, attentions) = (weights.at("resnets"), weights.at("attentions"));
        self.first.reload(&resnets.at(0))?;
        for (layer, (attention, resnet)) in self.rest.iter_mut().enumerate() {
            attention.reload(&attentions.at(layer))?;
            resnet.reload(&resnets.at(layer + 1))?;
        }
        Ok(())
    }

    pub(crate) fn forward(
        &self,
        x: Tensor<4>,
        conditions: &mut Conditions<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let time = conditions.activated_time_embedding.clone();
        pass.checkpoint()?;
        let mut x = self.first.forward(x, Some(&time));
        for (attention, resnet) in &self.rest {
            pass.checkpoint()?;
            let slicing = pass.attention_slicing();
            x = attention.forward(x, conditions, slicing);
            pass.checkpoint()?;
            x = resnet.forward(x, Some(&time));
        }
        pass.show(format_args!("mid_block"), &x);
        Ok(x)
    }
}

/// `UpBlock2D` and `CrossAttnUpBlock2D`.
#[derive(Debug)]
pub(crate) struct UpBlock2D {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock2D {
    /// `inputs` are the channels that come from below, `skips` those of the skip connections in
    /// the order in which they are used.
    pub(crate) fn new(
        weights: &Weights<'_>,
        builder: &Builder<'_>,
        level: &Level,
        inputs: usize,
        skips: &[usize],
        upsample: bool,
    ) -> Result<Self, WeightError> {
        let channels = level.channels;
        let resnets = weights.at("resnets");
        let resnets = skips
            .iter()
            .enumerate()
            .map(|(layer, skip)| {
                let inputs = if layer == 0 { inputs } else { channels };
                builder.resnet(&resnets.at(layer), inputs + skip, channels, 1.0)
            })
            .collect::<Result<_, _>>()?;
        let upsampler =
            upsample.then(|| Upsample2D::new(&weights.at("upsamplers.0"), channels)).transpose()?;
        Ok(Self { resnets, attentions: builder.transformers(weights, level)?, upsampler })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        for (layer, resnet) in self.resnets.iter_mut().enumerate() {
            resnet.reload(&weights.at("resnets").at(layer))?;
        }
        for (layer, attention) in self.attentions.iter_mut().enumerate() {
            attention.reload(&weights.at("attentions").at(layer))?;
        }
        match &mut self.upsampler {
            Some(upsampler) => upsampler.reload(&weights.at("upsamplers.0")),
            None => Ok(()),
        }
    }

    /// The number of layers, at least two.
    pub(crate) fn layers(&self) -> usize {
        self.resnets.len()
    }

    /// One layer, which takes a skip connection from the end of `skips`.
    pub(crate) fn layer(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions<'_>,
        skips: &mut Vec<Tensor<4>>,
        (level, layer): (usize, usize),
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        pass.checkpoint()?;
        if let Some(skip) = skips.pop() {
            x = feature_map::cat(x, skip);
        }
        x = self.resnets[layer].forward(x, Some(&conditions.activated_time_embedding));
        pass.show(format_args!("up_blocks.{level}.resnets.{layer}"), &x);
        if let Some(attention) = self.attentions.get(layer) {
            pass.checkpoint()?;
            let slicing = pass.attention_slicing();
            x = attention.forward(x, conditions, slicing);
            pass.show(format_args!("up_blocks.{level}.attentions.{layer}"), &x);
        }
        Ok(x)
    }

    /// What follows the layers; `skips` are those of the levels to come.
    pub(crate) fn upsample(
        &self,
        mut x: Tensor<4>,
        skips: &[Tensor<4>],
        level: usize,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        if let Some(upsampler) = &self.upsampler {
            pass.checkpoint()?;
            // The skip's size and not twice the own: they differ where the latent's size is not a
            // multiple of the network's, because downsampling rounds up.
            let size = skips.last().map(|skip| [skip.dims()[2], skip.dims()[3]]);
            x = upsampler.forward(x, size);
        }
        pass.show(format_args!("up_blocks.{level}"), &x);
        Ok(x)
    }
}
