//! `config.json` of AutoencoderTiny, and the same from the shapes of weights.

use emberbrush_layers::{
    activation::Activation,
    conv::Kernel,
    memory::{Trace, Traced},
    weights::{WeightError, WeightSource},
};
use serde::Deserialize;

use super::naming::{self, TinyNaming};

/// Far above any published network.
const MAX_SIZE: usize = 1 << 16;

/// Levels of any published network are 4; more than this is no picture.
const MAX_LEVELS: usize = 16;

/// How a decoder enlarges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpsampleFunction {
    /// Each value for several positions.
    Nearest,
}

/// The configuration of an AutoencoderTiny with the defaults of diffusers
/// (`models/autoencoders/autoencoder_tiny.py`), which are those of every published one.
///
/// Every field has the name of its key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AutoencoderTinyConfig {
    /// Channels of the picture the encoder takes.
    pub in_channels: usize,
    /// Channels of the picture the decoder gives.
    pub out_channels: usize,
    /// Channels of the encoder's levels, all the same.
    pub encoder_block_out_channels: Vec<usize>,
    /// Channels of the decoder's levels, all the same.
    pub decoder_block_out_channels: Vec<usize>,
    /// Activation of the blocks.
    pub act_fn: Activation,
    /// How the decoder enlarges.
    pub upsample_fn: UpsampleFunction,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// How much the decoder enlarges between levels.
    pub upsampling_scaling_factor: usize,
    /// Blocks of the encoder's levels, from the highest resolution to the lowest.
    pub num_encoder_blocks: Vec<usize>,
    /// Blocks of the decoder's levels, from the lowest resolution to the highest.
    pub num_decoder_blocks: Vec<usize>,
    /// What latents are multiplied by: 1, since the network was trained on those of the diffusion
    /// model.
    pub scaling_factor: f64,
    /// What is added to latents: 0.
    pub shift_factor: f64,
}

impl Default for AutoencoderTinyConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            act_fn: Activation::Relu,
            upsample_fn: UpsampleFunction::Nearest,
            latent_channels: 4,
            upsampling_scaling_factor: 2,
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            scaling_factor: 1.0,
            shift_factor: 0.0,
        }
    }
}

/// One half as its weights have it.
struct Half {
    channels: usize,
    /// Channels of the picture.
    colours: usize,
    latents: usize,
    blocks: Vec<usize>,
}

impl AutoencoderTinyConfig {
    /// Pixels along one side of a latent position.
    pub fn downscale_factor(&self) -> usize {
        1 << self.num_decoder_blocks.len().saturating_sub(1).min(MAX_LEVELS)
    }

    /// Channels of all levels.
    pub(super) fn channels(&self) -> usize {
        self.decoder_block_out_channels.first().copied().unwrap_or_default()
    }

    /// Reads the configuration off the shapes of a file that is named as `naming` says and holds
    /// at least one half; the other is taken to be its mirror image.
    ///
    /// # Errors
    ///
    /// Where the layers are not those of an AutoencoderTiny.
    pub fn from_weights(
        source: &dyn WeightSource,
        naming: TinyNaming,
    ) -> Result<Self, WeightError> {
        let decoder = naming.has_decoder(source).then(|| decoder_half(source, naming));
        let encoder = naming.has_encoder(source).then(|| encoder_half(source, naming));
        let broken = || {
            WeightError::Config(format!(
                "{}: these are not the layers of an AutoencoderTiny (TAESD): expected \
                 convolutions of 3×3, each with blocks after it",
                source.origin()
            ))
        };
        let decoder = decoder.map(|half| half.ok_or_else(broken)).transpose()?;
        let encoder = encoder.map(|half| half.ok_or_else(broken)).transpose()?;
        let half = decoder.as_ref().or(encoder.as_ref()).ok_or_else(broken)?;
        let mirrored = || half.blocks.iter().rev().copied().collect();
        let blocks = |half: &Option<Half>| match half {
            Some(half) => half.blocks.clone(),
            None => mirrored(),
        };
        let (encoder_blocks, decoder_blocks) = (blocks(&encoder), blocks(&decoder));
        let config = Self {
            in_channels: encoder.as_ref().map_or(half.colours, |half| half.colours),
            out_channels: half.colours,
            encoder_block_out_channels: vec![half.channels; encoder_blocks.len()],
            decoder_block_out_channels: vec![half.channels; decoder_blocks.len()],
            latent_channels: half.latents,
            num_encoder_blocks: encoder_blocks,
            num_decoder_blocks: decoder_blocks,
            ..Self::default()
        };
        config.check()?;
        Ok(config)
    }

    /// Whether a network can be built from this.
    ///
    /// # Errors
    ///
    /// What no AutoencoderTiny has, by its key.
    pub fn check(&self) -> Result<(), WeightError> {
        let error = |reason: String| {
            Err(WeightError::Config(format!("config.json of AutoencoderTiny: {reason}")))
        };
        let levels = self.num_decoder_blocks.len();
        if levels == 0 || levels > MAX_LEVELS {
            return error(format!(
                "num_decoder_blocks has {levels} entries, not between 1 and {MAX_LEVELS}"
            ));
        }
        for (key, found) in [
            ("num_encoder_blocks", self.num_encoder_blocks.len()),
            ("encoder_block_out_channels", self.encoder_block_out_channels.len()),
            ("decoder_block_out_channels", self.decoder_block_out_channels.len()),
        ] {
            if found != levels {
                return error(format!("{key} has {found} entries where {levels} are needed"));
            }
        }
        let channels = self.channels();
        let all = self.encoder_block_out_channels.iter().chain(&self.decoder_block_out_channels);
        if all.into_iter().any(|&level| level != channels) {
            return error("all levels must have equally many channels".to_owned());
        }
        for (key, size) in [
            ("decoder_block_out_channels", channels),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("latent_channels", self.latent_channels),
        ] {
            if size == 0 || size > MAX_SIZE {
                return error(format!("{key}: {size} is not between 1 and {MAX_SIZE}"));
            }
        }
        let blocks = self.num_encoder_blocks.iter().chain(&self.num_decoder_blocks);
        if let Some(many) = blocks.into_iter().find(|&&blocks| blocks > MAX_SIZE) {
            return error(format!("a level of {many} blocks"));
        }
        if self.act_fn != Activation::Relu {
            return error("act_fn: only relu is supported".to_owned());
        }
        if self.upsampling_scaling_factor != 2 {
            return error(format!(
                "upsampling_scaling_factor: {} is not 2",
                self.upsampling_scaling_factor
            ));
        }
        if self.scaling_factor != 1.0 || self.shift_factor != 0.0 {
            return error("scaling_factor must be 1, and shift_factor 0".to_owned());
        }
        Ok(())
    }

    /// Follows [`super::DecoderTiny::decode`].
    ///
    /// # Shapes
    ///
    /// - latents: `[batch, latent_channels, height, width]`
    /// - output: `[batch, out_channels, height · factor, width · factor]`
    pub fn trace_decode(&self, trace: &Trace, latents: Traced) -> Traced {
        let channels = self.channels();
        let mut x = trace.elementwise(trace.conv2d(latents, channels, Kernel::THREE));
        let last = self.num_decoder_blocks.len().saturating_sub(1);
        for (level, &blocks) in self.num_decoder_blocks.iter().enumerate() {
            x = self.trace_blocks(trace, x, blocks);
            if level != last {
                let [_, _, height, width] = x.dims;
                x = trace.upsample(x, [2 * height, 2 * width]);
            }
        }
        trace.elementwise(trace.conv2d(x, self.out_channels, Kernel::THREE))
    }

    /// Follows [`super::EncoderTiny::encode`].
    ///
    /// # Shapes
    ///
    /// - image: `[batch, in_channels, height, width]`
    /// - output: `[batch, latent_channels, height / factor, width / factor]`
    pub fn trace_encode(&self, trace: &Trace, image: Traced) -> Traced {
        let mut x = image;
        for (level, &blocks) in self.num_encoder_blocks.iter().enumerate() {
            let kernel = if level == 0 { Kernel::THREE } else { Kernel::HALVE };
            x = trace.conv2d(x, self.channels(), kernel);
            x = self.trace_blocks(trace, x, blocks);
        }
        trace.conv2d(x, self.latent_channels, Kernel::THREE)
    }

    fn trace_blocks(&self, trace: &Trace, mut x: Traced, blocks: usize) -> Traced {
        // Every block holds the same; one stands for all.
        for _ in 0..blocks.min(1) {
            let shortcut = x.clone();
            for _ in 0..3 {
                x = trace.elementwise(trace.conv2d(x, self.channels(), Kernel::THREE));
            }
            x = trace.add(x, shortcut);
        }
        x
    }
}

/// `[outputs, inputs]` of a 3×3 convolution.
fn convolution(source: &dyn WeightSource, prefix: &str, place: usize) -> Option<[usize; 2]> {
    match naming::weight(source, prefix, place)?.as_slice() {
        &[outputs, inputs, 3, 3] => Some([outputs, inputs]),
        _ => None,
    }
}

/// The number of blocks that begin at `place`.
fn blocks(source: &dyn WeightSource, prefix: &str, place: usize) -> usize {
    (place..).take_while(|&place| naming::has_block(source, prefix, place)).take(MAX_SIZE).count()
}

fn decoder_half(source: &dyn WeightSource, naming: TinyNaming) -> Option<Half> {
    let (prefix, first) = naming.decoder();
    let [channels, latents] = convolution(source, prefix, first)?;
    let mut place = first + 2;
    let mut levels = Vec::new();
    while levels.len() < MAX_LEVELS {
        levels.push(blocks(source, prefix, place));
        place += levels.last()?;
        if let Some([colours, _]) = convolution(source, prefix, place) {
            return Some(Half { channels, colours, latents, blocks: levels });
        }
        // The enlargement has a number, too.
        convolution(source, prefix, place + 1)?;
        place += 2;
    }
    None
}

fn encoder_half(source: &dyn WeightSource, naming: TinyNaming) -> Option<Half> {
    let (prefix, first) = naming.encoder();
    let [channels, colours] = convolution(source, prefix, first)?;
    let mut place = first + 1;
    let mut levels = Vec::new();
    while levels.len() < MAX_LEVELS {
        levels.push(blocks(source, prefix, place));
        place += levels.last()?;
        let [outputs, _] = convolution(source, prefix, place)?;
        let goes_on = naming::has_weight(source, prefix, place + 1)
            || naming::has_block(source, prefix, place + 1);
        if !goes_on {
            return Some(Half { channels, colours, latents: outputs, blocks: levels });
        }
        place += 1;
    }
    None
}
