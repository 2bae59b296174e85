//! The whole network.

use burn::tensor::{Device, FloatDType, Tensor};
use emberbrush_layers::{
    attention::AttentionSlicing,
    conv::{Conv2d, Kernel},
    forward_pass::{ForwardPass, Observe},
    interrupt::{Cancelled, Checkpoint},
    norm::GroupNorm,
    weights::{WeightError, Weights},
};
use thiserror::Error;

use crate::{
    blocks::{Builder, Conditions, DownBlock2D, MidBlock2D, UpBlock2D},
    config::{AdditionEmbedType, UNet2DConditionConfig},
    levels::{Levels, error},
    timestep_embedding::{TimestepEmbedding, Timesteps},
};

/// What one evaluation takes. Tensors are on the network's device and in its type.
#[derive(Debug, Clone)]
pub struct UNetInput<'a> {
    /// `[batch, in_channels, height, width]`
    pub sample: Tensor<4>,
    /// One timestep for the whole batch or one for each sample, 0 to the number of training
    /// steps; they need not be whole.
    pub timesteps: &'a [f64],
    /// The text, `[batch, tokens, cross_attention_dim]`.
    pub encoder_hidden_states: Tensor<3>,
    /// What Stable Diffusion XL adds to the time embedding.
    pub added: Option<AddedConditions<'a>>,
    /// The embedded guidance scale of guidance-distilled models, `[batch, time_cond_proj_dim]`.
    pub timestep_cond: Option<Tensor<2>>,
}

/// Stable Diffusion XL's additional conditions.
#[derive(Debug, Clone)]
pub struct AddedConditions<'a> {
    /// The pooled and projected text, `[batch, projection_dim]`.
    pub text_embeds: Tensor<2>,
    /// For each sample in turn the original height and width, the top and left of the crop, the
    /// target height and width, in pixels (Podell et al. 2023, section 2.2).
    pub time_ids: &'a [f64],
}

/// An input that does not fit the network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the UNet expects {name} to be {expected}, but it is {found}")]
pub struct InputError {
    /// Which part of the input.
    pub name: &'static str,
    /// What the configuration calls for.
    pub expected: String,
    /// What was given.
    pub found: String,
}

/// Embeds [`AddedConditions`].
#[derive(Debug)]
struct AddEmbedding {
    time_proj: Timesteps,
    embedding: TimestepEmbedding,
    inputs: usize,
}

/// Predicts the noise in a sample, or what the model was trained to predict instead, given the
/// timestep and a text (diffusers `models/unets/unet_2d_condition.py`).
#[derive(Debug)]
pub struct UNet2DConditionModel {
    config: UNet2DConditionConfig,
    cross_attention_dim: usize,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<AddEmbedding>,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock2D>,
    mid_block: Option<MidBlock2D>,
    up_blocks: Vec<UpBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    device: Device,
    dtype: FloatDType,
    attention_slicing: AttentionSlicing,
}

impl UNet2DConditionModel {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// A configuration that is contradictory or asks for something unsupported, and weights that
    /// are missing, unreadable or of another shape than the configuration calls for.
    pub fn new(config: &UNet2DConditionConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        let levels = Levels::new(config)?;
        let first = levels.down[0].channels;
        let time_embed_dim = config.time_embedding_dim.unwrap_or(4 * first);
        let time_proj = timesteps(config, "block_out_channels", first)?;
        let builder = Builder { config, time_embed_dim };

        let mut skips = vec![first];
        let mut down_blocks = Vec::with_capacity(levels.down.len());
        let mut inputs = first;
        let last = levels.down.len() - 1;
        for (index, level) in levels.down.iter().enumerate() {
            let weights = weights.at("down_blocks").at(index);
            down_blocks.push(DownBlock2D::new(&weights, &builder, level, inputs, index != last)?);
            let outputs = level.layers + usize::from(index != last);
            skips.extend(std::iter::repeat_n(level.channels, outputs));
            inputs = level.channels;
        }
        let mid_block = config
            .mid_block_type
            .map(|block_type| {
                MidBlock2D::new(&weights.at("mid_block"), &builder, &levels.mid, block_type)
            })
            .transpose()?;
        let mut up_blocks = Vec::with_capacity(levels.up.len());
        for (index, level) in levels.up.iter().enumerate() {
            let mut used = skips.split_off(skips.len() - level.layers);
            used.reverse();
            let weights = weights.at("up_blocks").at(index);
            up_blocks.push(UpBlock2D::new(
                &weights,
                &builder,
                level,
                inputs,
                &used,
                index != last,
            )?);
            inputs = level.channels;
        }

        let same_size = |size: usize| Kernel { size, stride: 1, padding: (size / 2, size / 2) };
        let groups = config.norm_num_groups;
        Ok(Self {
            cross_attention_dim: levels.mid.cross_attention_dim,
            time_proj,
            time_embedding: TimestepEmbedding::new(
                &weights.at("time_embedding"),
                first,
                time_embed_dim,
                config.act_fn,
                config.time_cond_proj_dim,
            )?,
            add_embedding: AddEmbedding::new(config, weights, time_embed_dim)?,
            conv_in: Conv2d::new(
                &weights.at("conv_in"),
                config.in_channels,
                first,
                same_size(config.conv_in_kernel),
            )?,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: GroupNorm::new(
                &weights.at("conv_norm_out"),
                groups,
                first,
                config.norm_eps,
            )?,
            conv_out: Conv2d::new(
                &weights.at("conv_out"),
                first,
                config.out_channels,
                same_size(config.conv_out_kernel),
            )?,
            device: weights.device().clone(),
            dtype: weights.dtype(),
            config: config.clone(),
            attention_slicing: AttentionSlicing::Off,
        })
    }

    /// Reads the convolutions and linear layers again whose tensors have changed
    /// ([`Weights::with_changed`]). Normalisations stay as they are.
    ///
    /// # Errors
    ///
    /// Weights that are missing, unreadable or of another shape. The network then holds some of
    /// the new values and some of the old.
    pub fn reload(&mut self, weights: &Weights<'_>) -> Result<(), WeightError> {
        self.time_embedding.reload(&weights.at("time_embedding"))?;
        if let Some(add) = &mut self.add_embedding {
            add.embedding.reload(&weights.at("add_embedding"))?;
        }
        self.conv_in.reload(&weights.at("conv_in"))?;
        for (level, block) in self.down_blocks.iter_mut().enumerate() {
            block.reload(&weights.at("down_blocks").at(level))?;
        }
        if let Some(block) = &mut self.mid_block {
            block.reload(&weights.at("mid_block"))?;
        }
        for (level, block) in self.up_blocks.iter_mut().enumerate() {
            block.reload(&weights.at("up_blocks").at(level))?;
        }
        self.conv_out.reload(&weights.at("conv_out"))
    }

    /// Chooses how many queries of an attention are answered at once. At first it is all of them.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        self.attention_slicing = slicing;
    }

    /// What the network was built from.
    pub fn config(&self) -> &UNet2DConditionConfig {
        &self.config
    }

    /// Whether the shapes of an input fit: to be asked once before a row of evaluations, where a
    /// text encoder or a size come from a user.
    ///
    /// # Errors
    ///
    /// The first part that does not fit.
    pub fn check(&self, input: &UNetInput<'_>) -> Result<(), InputError> {
        let require =
            |name, fits: bool, expected: &dyn Fn() -> String, found: &dyn Fn() -> String| {
                if fits {
                    Ok(())
                } else {
                    Err(InputError { name, expected: expected(), found: found() })
                }
            };
        let sample = input.sample.dims();
        let [batch, channels, height, width] = sample;
        require(
            "the sample",
            channels == self.config.in_channels && batch > 0 && height > 0 && width > 0,
            &|| format!("[batch, {}, height, width]", self.config.in_channels),
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

    /// Evaluates the network.
    ///
    /// # Shapes
    ///
    /// - output: `[batch, out_channels, height, width]`
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each block, asked to stop.
    ///
    /// # Panics
    ///
    /// Shapes that [`UNet2DConditionModel::check`] would refuse.
    pub fn forward(
        &self,
        input: UNetInput<'_>,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let pass = ForwardPass::new(checkpoint);
        self.run(input, &mut pass.with_attention_slicing(self.attention_slicing))
    }

    /// [`UNet2DConditionModel::forward`] that shows the outputs of inner blocks.
    pub fn forward_observed(
        &self,
        input: UNetInput<'_>,
        checkpoint: &mut Checkpoint<'_>,
        observe: &mut Observe<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.run(input, &mut ForwardPass::observed(checkpoint, observe))
    }

    fn run(
        &self,
        input: UNetInput<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        pass.checkpoint()?;
        let mut x = input.sample;
        let time_embedding =
            self.embed_time(x.dims()[0], input.timesteps, input.timestep_cond, input.added, pass);
        let conditions = Conditions {
            activated_time_embedding: self.config.act_fn.forward(time_embedding),
            encoder_hidden_states: input.encoder_hidden_states,
        };
        if self.config.center_input_sample {
            x = x * 2.0 - 1.0;
        }
        x = self.conv_in.forward(x);
        pass.show(format_args!("conv_in"), &x);

        let mut skips = vec![x.clone()];
        for (level, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(x, &conditions, &mut skips, level, pass)?;
        }
        if let Some(block) = &self.mid_block {
            x = block.forward(x, &conditions, pass)?;
        }
        for (level, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x, &conditions, &mut skips, level, pass)?;
        }

        pass.checkpoint()?;
        if pass.is_observed() {
            pass.show(format_args!("conv_norm_out"), &self.conv_norm_out.forward(x.clone()));
        }
        x = self.conv_norm_out.forward_activated(x, self.config.act_fn);
        Ok(self.conv_out.forward(x))
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
