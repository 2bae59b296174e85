//! What the autoencoder allocates: its forward passes with stand-ins for tensors.

use emberbrush_layers::{
    conv::Kernel,
    memory::{Trace, Traced},
};

use crate::config::AutoencoderKlConfig;

impl AutoencoderKlConfig {
    /// Follows [`crate::Decoder::decode`].
    ///
    /// # Shapes
    ///
    /// - latents: `[batch, latent_channels, height, width]`
    /// - output: `[batch, out_channels, height · factor, width · factor]`
    pub fn trace_decode(&self, trace: &Trace, latents: Traced) -> Traced {
        let low = self.trace_decode_low(trace, latents);
        self.trace_decode_high(trace, low)
    }

    /// Follows [`crate::Decoder::decode_low`].
    pub fn trace_decode_low(&self, trace: &Trace, latents: Traced) -> Traced {
        let mut x = latents;
        if self.use_post_quant_conv {
            x = trace.conv2d(x, self.latent_channels, Kernel::ONE);
        }
        let x = trace.conv2d(x, self.lowest(), Kernel::THREE);
        self.trace_mid_block(trace, x)
    }

    /// Follows [`crate::Decoder::decode_high`].
    pub fn trace_decode_high(&self, trace: &Trace, low: Traced) -> Traced {
        let last = self.block_out_channels.len().saturating_sub(1);
        let mut x = low;
        for (level, &channels) in self.block_out_channels.iter().rev().enumerate() {
            for _ in 0..=self.layers_per_block {
                x = trace.resnet(x, channels);
            }
            if level != last {
                let [_, _, height, width] = x.dims;
                x = trace.upsample(x, [2 * height, 2 * width]);
            }
        }
        let x = trace.group_norm_activated(x);
        trace.conv2d(x, self.out_channels, Kernel::THREE)
    }

    /// Follows [`crate::Encoder::encode`], of which the distribution's two halves are left.
    ///
    /// # Shapes
    ///
    /// - image: `[batch, in_channels, height, width]`
    /// - output: `[batch, 2 · latent_channels, height / factor, width / factor]`
    pub fn trace_encode(&self, trace: &Trace, image: Traced) -> Traced {
        let low = self.trace_encode_high(trace, image);
        self.trace_encode_low(trace, low)
    }

    /// Follows [`crate::Encoder::encode_high`].
    pub fn trace_encode_high(&self, trace: &Trace, image: Traced) -> Traced {
        let first = self.block_out_channels.first().copied().unwrap_or_default();
        let last = self.block_out_channels.len().saturating_sub(1);
        let mut x = trace.conv2d(image, first, Kernel::THREE);
        for (level, &channels) in self.block_out_channels.iter().enumerate() {
            for _ in 0..self.layers_per_block {
                x = trace.resnet(x, channels);
            }
            if level != last {
                x = trace.conv2d(x, channels, Kernel::HALVE_BOTTOM_RIGHT);
            }
        }
        x
    }

    /// Follows [`crate::Encoder::encode_low`].
    pub fn trace_encode_low(&self, trace: &Trace, low: Traced) -> Traced {
        let x = self.trace_mid_block(trace, low);
        let x = trace.group_norm_activated(x);
        let moments = 2 * self.latent_channels;
        let mut x = trace.conv2d(x, moments, Kernel::THREE);
        if self.use_quant_conv {
            x = trace.conv2d(x, moments, Kernel::ONE);
        }
        x
    }

    fn lowest(&self) -> usize {
        self.block_out_channels.last().copied().unwrap_or_default()
    }

    fn trace_mid_block(&self, trace: &Trace, x: Traced) -> Traced {
        let channels = self.lowest();
        let mut x = trace.resnet(x, channels);
        if self.mid_block_add_attention {
            let shape = x.dims;
            let [batch, _, height, width] = shape;
            let mut tokens = trace.group_norm(x.clone());
            tokens.dims = [batch, channels, height * width, 1];
            let mut attended = trace.attention(tokens.clone(), tokens, channels, 1);
            attended.dims = shape;
            x = trace.add(attended, x);
        }
        trace.resnet(x, channels)
    }
}

#[cfg(test)]
mod tests {
    use emberbrush_layers::{attention::AttentionSlicing, memory::Kernels};

    use super::*;

    /// Stable Diffusion 1.5's.
    fn published() -> AutoencoderKlConfig {
        AutoencoderKlConfig {
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            ..AutoencoderKlConfig::default()
        }
    }

    fn trace() -> Trace {
        Trace::new(Kernels::Cpu { threads: 2 }, 4, AttentionSlicing::Off)
    }

    #[test]
    fn shapes_are_those_of_the_network() {
        let (config, trace) = (published(), trace());
        let pixels = config.trace_decode(&trace, trace.tensor([1, 4, 64, 48]));
        assert_eq!(pixels.dims, [1, 3, 512, 384]);
        let moments = config.trace_encode(&trace, pixels);
        assert_eq!(moments.dims, [1, 8, 64, 48]);
    }

    /// The last level's first block holds its input of 256 channels, that normalised, and its
    /// output of 128: five times 128 channels of the picture.
    #[test]
    fn decoding_peaks_in_the_last_level() {
        let (config, trace) = (published(), trace());
        config.trace_decode(&trace, trace.tensor([1, 4, 64, 64]));
        let unit = (128 * 512 * 512 * 4) as f64;
        let units = trace.peak() as f64 / unit;
        assert!((5.0..5.2).contains(&units), "{units}");
    }
}
