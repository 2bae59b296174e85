//! The whole network.

use burn::tensor::Tensor;
use emberbrush_layers::{
    attention::AttentionSlicing,
    conv::{Conv2d, Kernel},
    feature_map,
    forward_pass::{ForwardPass, Observe},
    interrupt::{Cancelled, Checkpoint},
    norm::GroupNorm,
    weights::{WeightError, Weights},
};
use thiserror::Error;

use crate::{
    blocks::{Builder, Conditions, UpBlock2D},
    config::UNet2DConditionConfig,
    contracting_path::{Contracted, ContractingPath, time_embed_dim},
    controlnet::ControlNetOutput,
    levels::{Levels, in_file},
    savings::{Economy, EvaluationCache, KeptFeatures, Savings},
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
    /// What ControlNets add.
    pub residuals: Option<ControlNetOutput>,
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
#[error("the {network} expects {name} to be {expected}, but it is {found}")]
pub struct InputError {
    /// Which network.
    pub network: &'static str,
    /// Which part of the input.
    pub name: &'static str,
    /// What the configuration calls for.
    pub expected: String,
    /// What was given.
    pub found: String,
}

/// Predicts the noise in a sample, or what the model was trained to predict instead, given the
/// timestep and a text (diffusers `models/unets/unet_2d_condition.py`).
#[derive(Debug)]
pub struct UNet2DConditionModel {
    config: UNet2DConditionConfig,
    contracting_path: ContractingPath,
    up_blocks: Vec<UpBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
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
        Self::build(config, weights).map_err(|error| in_file("unet/config.json", error))
    }

    fn build(config: &UNet2DConditionConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        let levels = Levels::new(config)?;
        let contracting_path = ContractingPath::new(config, &levels.contracting, weights)?;
        let first = levels.contracting.down[0].channels;
        let blocks = contracting_path.transformer_blocks();
        let builder = Builder::new(config, time_embed_dim(config, first), blocks);

        let mut skips = contracting_path.skip_channels().to_vec();
        let mut inputs = levels.contracting.mid.channels;
        let last = levels.up.len() - 1;
        let mut up_blocks = Vec::with_capacity(levels.up.len());
        for (index, level) in levels.up.iter().enumerate() {
            let mut used = skips.split_off(skips.len() - level.layers);
            used.reverse();
            let weights = weights.at("up_blocks").at(index);
            let upsample = index != last;
            up_blocks.push(UpBlock2D::new(&weights, &builder, level, inputs, &used, upsample)?);
            inputs = level.channels;
        }
        let groups = config.norm_num_groups;
        Ok(Self {
            contracting_path,
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
                Kernel::same_size(config.conv_out_kernel),
            )?,
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
        self.contracting_path.reload(weights)?;
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
        self.contracting_path.check(input, "UNet")?;
        let Some(residuals) = &input.residuals else { return Ok(()) };
        let channels = |tensors: &[Tensor<4>]| -> Vec<usize> {
            tensors.iter().map(|tensor| tensor.dims()[1]).collect()
        };
        let found = (channels(&residuals.down), residuals.mid.dims()[1]);
        let expected = self.residual_channels();
        if found == expected {
            return Ok(());
        }
        let written = |(down, mid): (Vec<usize>, usize)| format!("{down:?} and {mid} channels");
        Err(InputError {
            network: "UNet",
            name: "the residuals",
            expected: written(expected),
            found: written(found),
        })
    }

    /// Channels of what ControlNets add to each skip connection, and to the middle.
    fn residual_channels(&self) -> (Vec<usize>, usize) {
        let path = &self.contracting_path;
        (path.skip_channels().to_vec(), path.mid_channels())
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
        let mut pass = pass.with_attention_slicing(self.attention_slicing);
        self.run(input, Economy::default(), &mut pass)
    }

    /// [`UNet2DConditionModel::forward`] that leaves something out, or nothing but what was computed
    /// before. `cache` is that of a row of
    /// evaluations of as many samples of one size with one text, new at its beginning.
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each block that is run, asked to stop.
    ///
    /// # Panics
    ///
    /// Shapes that [`UNet2DConditionModel::check`] would refuse, and a cache of another network or
    /// another row.
    pub fn forward_saving(
        &self,
        input: UNetInput<'_>,
        savings: Savings,
        cache: &mut EvaluationCache,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let pass = ForwardPass::new(checkpoint);
        let mut pass = pass.with_attention_slicing(self.attention_slicing);
        self.run(input, Economy::new(savings, cache), &mut pass)
    }

    /// [`UNet2DConditionModel::forward`] that shows the outputs of inner blocks.
    pub fn forward_observed(
        &self,
        input: UNetInput<'_>,
        checkpoint: &mut Checkpoint<'_>,
        observe: &mut Observe<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        self.run(input, Economy::default(), &mut ForwardPass::observed(checkpoint, observe))
    }

    fn run(
        &self,
        mut input: UNetInput<'_>,
        economy: Economy<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let residuals = input.residuals.take();
        let deep = economy.deep_features();
        let (x, mut conditions) = self.contracting_path.enter(input, economy, pass)?;
        let x = match deep {
            Some(deep) => self.shallow(x, deep, &mut conditions, pass)?,
            None => self.whole(x, residuals, &mut conditions, pass)?,
        };

        pass.checkpoint()?;
        if pass.is_observed() {
            pass.show(format_args!("conv_norm_out"), &self.conv_norm_out.forward(x.clone()));
        }
        let x = self.conv_norm_out.forward_activated(x, self.config.act_fn);
        Ok(self.conv_out.forward(x))
    }

    /// All blocks, of what the first convolution made.
    fn whole(
        &self,
        x: Tensor<4>,
        residuals: Option<ControlNetOutput>,
        conditions: &mut Conditions<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let Contracted { mut x, mut skips } = self.contracting_path.descend(x, conditions, pass)?;
        let kept = residuals.as_ref().filter(|_| conditions.economy.keeps_deep_features());
        let first_residual = kept.and_then(|added| added.down.first().cloned());
        if let Some(ControlNetOutput { down, mid }) = residuals {
            let pairs = skips.into_iter().zip(down);
            skips = pairs.map(|(skip, residual)| feature_map::add(skip, residual)).collect();
            x = feature_map::add(x, mid);
        }
        for (level, block) in self.up_blocks.iter().enumerate() {
            for layer in 0..block.layers() {
                // The first skip connection is the last to be used.
                if skips.len() == 1 {
                    conditions.economy.keep_deep_features(&x, first_residual.clone());
                }
                x = block.layer(x, conditions, &mut skips, (level, layer), pass)?;
            }
            x = block.upsample(x, &skips, level, pass)?;
        }
        Ok(x)
    }

    /// The last layer alone, of what the first convolution made and what the layers before it did in
    /// an earlier evaluation.
    fn shallow(
        &self,
        x: Tensor<4>,
        deep: KeptFeatures,
        conditions: &mut Conditions<'_>,
        pass: &mut ForwardPass<'_>,
    ) -> Result<Tensor<4>, Cancelled> {
        let skip = match deep.residual {
            Some(residual) => feature_map::add(x, residual),
            None => x,
        };
        let level = self.up_blocks.len() - 1;
        let block = &self.up_blocks[level];
        let place = (level, block.layers() - 1);
        block.layer(deep.x, conditions, &mut vec![skip], place, pass)
    }
}
