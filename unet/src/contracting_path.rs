//! The half of the network from the sample to the middle block, which ControlNets copy.

use burn::tensor::{Device, FloatDType, Tensor};
use emberbrush_layers::{
    activation::Activation,
    conv::{Conv2d, Kernel},
    forward_pass::ForwardPass,
    interrupt::Cancelled,
    weights::{WeightError, Weights},
};

use crate::{
    blocks::{Builder, Conditions, DownBlock2D, MidBlock2D},
    config::{AdditionEmbedType, UNet2DConditionConfig},
    levels::{ContractingLevels, error},
    savings::Economy,
    timestep_embedding::{TimestepEmbedding, Timesteps},
    unet_2d_condition::{AddedConditions, InputError, UNetInput},
};

/// Time embeddings, the first convolution, the blocks of the way down and the middle block.
#[derive(Debug)]
pub(crate) struct ContractingPath {
    in_channels: usize,
    cross_attention_dim: usize,
    activation: Activation,
    center_input_sample: bool,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<AddEmbedding>,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock2D>,
    mid_block: Option<MidBlock2D>,
    skip_channels: Vec<usize>,
    mid_channels: usize,
    transformer_blocks: usize,
    device: Device,
    dtype: FloatDType,
}

/// What comes out of a [`ContractingPath`].
pub(crate) struct Contracted {
    /// The middle block's output.
    pub(crate) x: Tensor<4>,
    /// The outputs of the first convolution and of each layer of the way down.
    pub(crate) skips: Vec<Tensor<4>>,
}

/// Embeds [`AddedConditions`].
#[derive(Debug)]
struct AddEmbedding {
    time_proj: Timesteps,
    embedding: TimestepEmbedding,
    inputs: usize,
}

impl ContractingPath {
    pub(crate) fn new(
        config: &UNet2DConditionConfig,
        levels: &ContractingLevels,
        weights: &Weights<'_>,
    ) -> Result<Self, WeightError> {
        let first = levels.down[0].channels;
        let builder = Builder::new(config, time_embed_dim(config, first), 0);
        let mut down_blocks = Vec::with_capacity(levels.down.len());
        let mut inputs = first;
        let last = levels.down.len() - 1;
        for (index, level) in levels.down.iter().enumerate() {
            let weights = weights.at("down_blocks").at(index);
            down_blocks.push(DownBlock2D::new(&weights, &builder, level, inputs, index != last)?);
            inputs = level.channels;
        }
        let mid_block = config
            .mid_block_type
            .map(|block_type| {
                MidBlock2D::new(&weights.at("mid_block"), &builder, &levels.mid, block_type)
            })
            .transpose()?;
        Ok(Self {
            in_channels: config.in_channels,
            cross_attention_dim: levels.mid.cross_attention_dim,
            activation: config.act_fn,
            center_input_sample: config.center_input_sample,
            time_proj: timesteps(config, "block_out_channels", first)?,
            time_embedding: TimestepEmbedding::new(
                &weights.at("time_embedding"),
                first,
                builder.time_embed_dim,
                config.act_fn,
                config.time_cond_proj_dim,
            )?,
            add_embedding: AddEmbedding::new(config, weights, builder.time_embed_dim)?,
            conv_in: Conv2d::new(
                &weights.at("conv_in"),
                config.in_channels,
                first,
                Kernel::same_size(config.conv_in_kernel),
            )?,
            down_blocks,
            mid_block,
            skip_channels: levels.skip_channels(),
            mid_channels: levels.mid.channels,
            transformer_blocks: builder.transformer_blocks(),
            device: weights.device().clone(),
            dtype: weights.dtype(),
        })
    }

    /// Reads the layers again whose tensors have changed.
    pub(crate) fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.time_embedding.reload(&weights.at("time_embedding"))?;
        if let Some(add) = &mut self.add_embedding {
            add.embedding.reload(&weights.at("add_embedding"))?;
        }
        self.conv_in.reload(&weights.at("conv_in"))?;
        for (level, block) in self.down_blocks.iter_mut().enumerate() {
            block.reload(&weights.at("down_blocks").at(level))?;
        }
        match &mut self.mid_block {
            Some(block) => block.reload(&weights.at("mid_block")),
            None => Ok(()),
        }
    }

    /// Channels of [`Contracted::skips`].
    pub(crate) fn skip_channels(&self) -> &[usize] {
        &self.skip_channels
    }

    /// Channels of [`Contracted::x`].
    pub(crate) fn mid_channels(&self) -> usize {
        self.mid_channels
    }

    /// The number of its transformer blocks.
    pub(crate) fn transformer_blocks(&self) -> usize {
        self.transformer_blocks
    }

    /// Whether the shapes of an input fit; `network` is for messages.
    pub(crate) fn check(
        &self,
        input: &UNetInput<'_>,
        network: &'static str,
    ) -> Result<(), InputError> {
        let require =
            |name, fits: bool, expected: &dyn Fn() -> String, found: &dyn Fn() -> String| {
                if fits {
                    Ok(())
                } else {
                    Err(InputError { network, name, expected: expected(), found: found() })
                }
            };
        let sample = input.sample.dims();
        let [batch, channels, height, width] = sample;
        require(
            "the sample",
            channels == self.in_channels && batch > 0 && height > 0 && width > 0,
            &|| format!("[batch, {}, height, width]", self.in_channels),
            &|| format!("{sample:?}"),
        )?;
        let timesteps = input.timesteps.len();
        require(
            "the timesteps",
            timesteps == 1 || timesteps == batch,
            &|| format!("1 or {batch} numbers"),
            &|| format!("{timesteps}"),
        )?;
        let text = input.encoder_hidden_states.dims();
        require(
            "the text embedding",
            text[0] == batch && text[1] > 0 && text[2] == self.cross_attention_dim,
            &|| format!("[{batch}, tokens, {}]", self.cross_attention_dim),
            &|| format!("{text:?}"),
        )?;
        let Some(embedding) = &self.add_embedding else { return Ok(()) };
        let inputs = embedding.inputs;
        let found = input.added.as_ref().map(|added| {
            let [rows, width] = added.text_embeds.dims();
            (rows, width, added.time_ids.len())
        });
        let fits = found.is_some_and(|(rows, width, ids)| {
            rows == batch
                && ids.is_multiple_of(batch)
                && width + ids / batch * embedding.time_proj.dim == inputs
        });
        require(
            "the added conditions",
            fits,
            &|| format!("pooled text and sizes of {inputs} values together for each of {batch}"),
            &|| match found {
                None => "missing".to_owned(),
                Some((rows, width, ids)) => {
                    format!("text of shape [{rows}, {width}] and {ids} sizes")
                }
            },
        )
    }

    /// What the blocks are conditioned on, and what the first convolution makes of the sample,
    /// `[batch, block_out_channels[0], height, width]`.
    pub(crate) fn enter<'a>(
        &self,
        input: UNetInput<'_>,
        economy: Economy<'a>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<(Tensor<4>, Conditions<'a>), Cancelled> {
        pass.checkpoint()?;
        let mut x = input.sample;
        let time_embedding =
            self.embed_time(x.dims()[0], input.timesteps, input.timestep_cond, input.added, pass);
        let conditions = Conditions {
            activated_time_embedding: self.activation.forward(time_embedding),
            encoder_hidden_states: input.encoder_hidden_states,
            economy,
        };
        if self.center_input_sample {
            x = x * 2.0 - 1.0;
        }
        Ok((self.conv_in.forward(x), conditions))
    }

    /// The blocks, of what the first convolution made.
    pub(crate) fn descend(
        &self,
        mut x: Tensor<4>,
        conditions: &mut Conditions<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Contracted, Cancelled> {
        pass.show(format_args!("conv_in"), &x);
        let mut skips = vec![x.clone()];
        for (level, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(x, conditions, &mut skips, level, pass)?;
        }
        if let Some(block) = &self.mid_block {
            x = block.forward(x, conditions, pass)?;
        }
        Ok(Contracted { x, skips })
    }

    /// The time embedding and what is added to it, `[batch, time_embed_dim]`.
    fn embed_time(
        &self,
        batch: usize,
        timesteps: &[f64],
        timestep_cond: Option<Tensor<2>>,
        added: Option<AddedConditions<'_>>,
        pass: &mut ForwardPass<'_>,
    ) -> Tensor<2> {
        let mut projected = self.time_proj.forward(timesteps, &self.device, self.dtype);
        if timesteps.len() != batch {
            projected = projected.repeat_dim(0, batch);
        }
        pass.show_vector(format_args!("time_proj"), &projected);
        let embedded = self.time_embedding.forward(projected, timestep_cond);
        pass.show_vector(format_args!("time_embedding"), &embedded);
        let (Some(add), Some(added)) = (&self.add_embedding, added) else { return embedded };
        let sizes = add.time_proj.forward(added.time_ids, &self.device, self.dtype);
        let per_sample = sizes.dims()[0] / batch * add.time_proj.dim;
        let sizes = sizes.reshape([batch, per_sample]);
        let added = Tensor::cat(vec![added.text_embeds, sizes], 1);
        let added = add.embedding.forward(added, None);
        pass.show_vector(format_args!("add_embedding"), &added);
        embedded + added
    }
}

impl AddEmbedding {
    /// Reads `add_embedding` where the configuration has one.
    fn new(
        config: &UNet2DConditionConfig,
        weights: &Weights<'_>,
        time_embed_dim: usize,
    ) -> Result<Option<Self>, WeightError> {
        let Some(AdditionEmbedType::TextTime) = config.addition_embed_type else { return Ok(None) };
        let required = |key: &'static str, value: Option<usize>| {
            value.ok_or_else(|| error(format!("addition_embed_type \"text_time\" needs {key}")))
        };
        let dim = required("addition_time_embed_dim", config.addition_time_embed_dim)?;
        let inputs = required(
            "projection_class_embeddings_input_dim",
            config.projection_class_embeddings_input_dim,
        )?;
        let weights = weights.at("add_embedding");
        let embedding =
            TimestepEmbedding::new(&weights, inputs, time_embed_dim, config.act_fn, None)?;
        let time_proj = timesteps(config, "addition_time_embed_dim", dim)?;
        Ok(Some(Self { time_proj, embedding, inputs }))
    }
}

/// Width of the time embedding.
pub(crate) fn time_embed_dim(config: &UNet2DConditionConfig, first_channels: usize) -> usize {
    config.time_embedding_dim.unwrap_or(4 * first_channels)
}

fn timesteps(
    config: &UNet2DConditionConfig,
    key: &str,
    dim: usize,
) -> Result<Timesteps, WeightError> {
    let freq_shift = config.freq_shift;
    if freq_shift.is_nan() || freq_shift >= (dim / 2) as f64 {
        return Err(error(format!("freq_shift {freq_shift} is too large for {key} {dim}")));
    }
    Ok(Timesteps { dim, flip_sin_to_cos: config.flip_sin_to_cos, freq_shift })
}
