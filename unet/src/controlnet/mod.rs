//! ControlNets: copies of the UNet's half that see a map, and steer the UNet by what they add to
//! its skip connections (Zhang et al., arXiv:2302.05543; diffusers
//! `models/controlnets/controlnet.py`).

mod conditioning_embedding;
mod config;
pub mod keys;
mod memory;
mod recognise;

use burn::tensor::Tensor;
use conditioning_embedding::ConditioningEmbedding;
pub use config::{ChannelOrder, ControlNetConfig};
use emberbrush_layers::{
    attention::AttentionSlicing,
    conv::{Conv2d, Kernel},
    feature_map,
    forward_pass::ForwardPass,
    interrupt::{Cancelled, Checkpoint},
    weights::{WeightError, Weights},
};

use crate::{
    contracting_path::{Contracted, ContractingPath},
    levels::{ContractingLevels, error},
    savings::Economy,
    unet_2d_condition::{InputError, UNetInput},
};

/// What ControlNets add to a UNet.
#[derive(Debug, Clone)]
pub struct ControlNetOutput {
    /// For each skip connection in the order of the way down, `[batch, channels, height, width]`,
    /// or `[batch, channels, 1, 1]` where it is the same everywhere.
    pub down: Vec<Tensor<4>>,
    /// For the output of the middle block.
    pub mid: Tensor<4>,
}

impl ControlNetOutput {
    /// What both add together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let down = self.down.into_iter().zip(other.down).map(|(one, other)| one + other).collect();
        Self { down, mid: self.mid + other.mid }
    }

    /// `change` applied to each tensor.
    #[must_use]
    pub fn map(self, mut change: impl FnMut(Tensor<4>) -> Tensor<4>) -> Self {
        let down = self.down.into_iter().map(&mut change).collect();
        Self { down, mid: change(self.mid) }
    }
}

/// How strongly a ControlNet acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlStrength {
    /// What its outputs are multiplied by.
    pub scale: f64,
    /// Whether the outputs of the highest resolution count a tenth of the middle's, and those
    /// between accordingly, so that the map is followed in the large and prompts matter less
    /// ("guess mode"). Without effect where outputs are pooled.
    pub guess: bool,
}

/// A ControlNet.
#[derive(Debug)]
pub struct ControlNetModel {
    config: ControlNetConfig,
    contracting_path: ContractingPath,
    conditioning_embedding: ConditioningEmbedding,
    down_projections: Vec<Conv2d>,
    mid_projection: Conv2d,
    attention_slicing: AttentionSlicing,
}

impl ControlNetModel {
    /// Reads the network.
    ///
    /// # Errors
    ///
    /// A configuration that is contradictory or asks for something unsupported, and weights that
    /// are missing, unreadable or of another shape than the configuration calls for.
    pub fn new(config: &ControlNetConfig, weights: &Weights<'_>) -> Result<Self, WeightError> {
        let levels = ContractingLevels::new(&config.unet)?;
        if config.unet.mid_block_type.is_none() {
            return Err(error("mid_block_type is null, but a ControlNet has a middle"));
        }
        let contracting_path = ContractingPath::new(&config.unet, &levels, weights)?;
        let projection =
            |place: Weights<'_>, channels| Conv2d::new(&place, channels, channels, Kernel::ONE);
        let down = weights.at("controlnet_down_blocks");
        let down_projections = contracting_path
            .skip_channels()
            .iter()
            .enumerate()
            .map(|(index, &channels)| projection(down.at(index), channels))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            conditioning_embedding: ConditioningEmbedding::new(
                &weights.at("controlnet_cond_embedding"),
                config.conditioning_channels,
                &config.conditioning_embedding_out_channels,
                levels.down[0].channels,
            )?,
            down_projections,
            mid_projection: projection(weights.at("controlnet_mid_block"), levels.mid.channels)?,
            contracting_path,
            config: config.clone(),
            attention_slicing: AttentionSlicing::Off,
        })
    }

    /// What the network was built from.
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// Chooses how many queries of an attention are answered at once. At first it is all of them.
    pub fn set_attention_slicing(&mut self, slicing: AttentionSlicing) {
        self.attention_slicing = slicing;
    }

    /// Whether the shapes of an input fit.
    ///
    /// # Errors
    ///
    /// The first part that does not fit.
    pub fn check(&self, input: &UNetInput<'_>) -> Result<(), InputError> {
        self.contracting_path.check(input, "ControlNet")
    }

    /// Brings a map to the size of the latents. The result is the same at every step.
    ///
    /// # Shapes
    ///
    /// - map: `[batch, conditioning_channels, height, width]`, red, green and blue from 0 to 1
    /// - output: `[batch, block_out_channels[0], height / 8, width / 8]`
    pub fn embed(&self, map: Tensor<4>) -> Tensor<4> {
        let map = match self.config.controlnet_conditioning_channel_order {
            ChannelOrder::Rgb => map,
            ChannelOrder::Bgr => map.flip([1]),
        };
        self.conditioning_embedding.forward(map)
    }

    /// Evaluates the network. `input` is what the UNet is given, without channels beside the
    /// latents.
    ///
    /// # Shapes
    ///
    /// - embedded map: as [`ControlNetModel::embed`] gives it, of the input's batch
    ///
    /// # Errors
    ///
    /// `checkpoint`, which is called before each block, asked to stop.
    ///
    /// # Panics
    ///
    /// Shapes that [`ControlNetModel::check`] would refuse.
    pub fn forward(
        &self,
        input: UNetInput<'_>,
        embedded_map: Tensor<4>,
        strength: ControlStrength,
        checkpoint: &mut Checkpoint<'_>,
    ) -> Result<ControlNetOutput, Cancelled> {
        let pass = ForwardPass::new(checkpoint);
        let mut pass = pass.with_attention_slicing(self.attention_slicing);
        let (x, mut conditions) =
            self.contracting_path.enter(input, Economy::default(), &mut pass)?;
        let x = feature_map::add(x, embedded_map);
        let Contracted { x, skips } =
            self.contracting_path.descend(x, &mut conditions, &mut pass)?;
        pass.checkpoint()?;
        let down = skips.into_iter().zip(&self.down_projections);
        let output = ControlNetOutput {
            down: down.map(|(skip, projection)| projection.forward(skip)).collect(),
            mid: self.mid_projection.forward(x),
        };
        Ok(self.weighted(output, strength))
    }

    fn weighted(&self, output: ControlNetOutput, strength: ControlStrength) -> ControlNetOutput {
        let ControlStrength { scale, guess } = strength;
        if self.config.global_pool_conditions {
            return output.map(|x| x.mean_dims(&[2, 3]) * scale);
        }
        let last = output.down.len() as f64;
        let mut place = 0.0;
        output.map(|x| {
            // From 0.1 at the first skip connection to 1 at the middle, in equal ratios.
            let level = if guess { 10_f64.powf(place / last - 1.0) } else { 1.0 };
            place += 1.0;
            x * (scale * level)
        })
    }
}
