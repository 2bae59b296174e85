//! `config.json` of a ControlNet.

use serde::Deserialize;

use crate::config::UNet2DConditionConfig;

/// In what order a ControlNet takes the colours of its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// The configuration of a [`crate::ControlNetModel`], read from the published `config.json` with
/// the defaults of diffusers (`models/controlnets/controlnet.py`).
///
/// Every field has the name of its key.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ControlNetConfig {
    /// What it has in common with the UNet whose half it is a copy of. What concerns the way up
    /// is not looked at.
    #[serde(flatten)]
    pub unet: UNet2DConditionConfig,
    /// Channels of the map.
    pub conditioning_channels: usize,
    /// Channels of the convolutions that bring the map to the size of the latents; each but the
    /// first halves it.
    pub conditioning_embedding_out_channels: Vec<usize>,
    /// The order of the map's colours.
    pub controlnet_conditioning_channel_order: ChannelOrder,
    /// Whether what is added to the UNet is the same at every position, as for models that take
    /// over colours and things and not their places ("shuffle").
    pub global_pool_conditions: bool,
}

impl Default for ControlNetConfig {
    fn default() -> Self {
        Self {
            unet: UNet2DConditionConfig::default(),
            conditioning_channels: 3,
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            controlnet_conditioning_channel_order: ChannelOrder::Rgb,
            global_pool_conditions: false,
        }
    }
}
