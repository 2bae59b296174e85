//! What the UNet allocates: its forward pass with stand-ins for tensors.

use emberbrush_layers::{
    conv::Kernel,
    memory::{Trace, Traced},
    weights::WeightError,
};

use crate::{
    config::{MidBlockType, UNet2DConditionConfig},
    levels::{ContractingLevels, Level, Levels, in_file},
};

/// What evaluations keep for those after them, see [`crate::EvaluationCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptTensors {
    /// What the deep part of the network puts out.
    pub deep_features: bool,
    /// What each cross-attention puts out.
    pub cross_attention: bool,
}

impl UNet2DConditionConfig {
    /// What an [`crate::EvaluationCache`] holds for samples `[batch, _, height, width]` and a text of
    /// so many tokens.
    ///
    /// # Errors
    ///
    /// A configuration that the network could not be built from.
    pub fn trace_kept(
        &self,
        trace: &Trace,
        [batch, _, height, width]: [usize; 4],
        text_tokens: usize,
        kept: KeptTensors,
    ) -> Result<Vec<Traced>, WeightError> {
        let Levels { contracting, up } =
            Levels::new(self).map_err(|error| in_file("unet/config.json", error))?;
        let mut held = Vec::new();
        if let Some(last) = up.last().filter(|_| kept.deep_features) {
            // The part that ControlNets added is no larger.
            held.extend((0..2).map(|_| trace.tensor([batch, last.channels, height, width])));
        }
        let halved = |depth: usize, side: usize| side.div_ceil(1 << depth);
        let mut keep = |level: &Level, depth: usize| {
            let tokens = halved(depth, height) * halved(depth, width);
            let tensor = |tokens: usize| trace.tensor([batch, level.channels, tokens, 1]);
            for _ in 0..level.transformer_layers.iter().sum() {
                held.extend([tensor(text_tokens), tensor(text_tokens)]);
                held.extend(kept.cross_attention.then(|| tensor(tokens)));
            }
        };
        let deepest = contracting.down.len().saturating_sub(1);
        contracting.down.iter().enumerate().for_each(|(depth, level)| keep(level, depth));
        if self.mid_block_type == Some(MidBlockType::UNetMidBlock2DCrossAttn) {
            keep(&contracting.mid, deepest);
        }
        up.iter().rev().enumerate().for_each(|(depth, level)| keep(level, depth));
        Ok(held)
    }

    /// Follows [`crate::UNet2DConditionModel::forward`].
    ///
    /// # Shapes
    ///
    /// - sample: `[batch, in_channels, height, width]`
    /// - text: `[batch, cross_attention_dim, tokens, 1]`
    /// - residuals: what ControlNets add to each skip connection, and last to the middle
    /// - output: `[batch, out_channels, height, width]`
    ///
    /// # Errors
    ///
    /// A configuration that the network could not be built from.
    pub fn trace(
        &self,
        trace: &Trace,
        sample: Traced,
        text: &Traced,
        residuals: Option<Vec<Traced>>,
    ) -> Result<Traced, WeightError> {
        let levels = Levels::new(self).map_err(|error| in_file("unet/config.json", error))?;
        let (mut x, mut skips) = contract(trace, self, &levels.contracting, sample, text);
        if let Some(mut residuals) = residuals {
            if let Some(mid) = residuals.pop() {
                x = trace.add(x, mid);
            }
            skips = skips
                .into_iter()
                .zip(residuals)
                .map(|(skip, residual)| trace.add(skip, residual))
                .collect();
        }
        let last = levels.up.len().saturating_sub(1);
        for (index, level) in levels.up.iter().enumerate() {
            for layer in 0..level.layers {
                if let Some(skip) = skips.pop() {
                    x = trace.cat(x, skip);
                }
                x = trace.resnet(x, level.channels);
                x = transformer(trace, x, text, level, layer);
            }
            if index != last {
                let [_, _, height, width] = x.dims;
                let size = skips
                    .last()
                    .map_or([2 * height, 2 * width], |skip| [skip.dims[2], skip.dims[3]]);
                x = trace.upsample(x, size);
            }
        }
        let x = trace.group_norm_activated(x);
        Ok(trace.conv2d(x, self.out_channels, Kernel::same_size(self.conv_out_kernel)))
    }
}

/// `ContractingPath::forward`: what comes out of the middle block, and the skip connections.
pub(crate) fn contract(
    trace: &Trace,
    config: &UNet2DConditionConfig,
    levels: &ContractingLevels,
    sample: Traced,
    text: &Traced,
) -> (Traced, Vec<Traced>) {
    let first = levels.down.first().map_or(0, |level| level.channels);
    let mut x = trace.conv2d(sample, first, Kernel::same_size(config.conv_in_kernel));
    let mut skips = vec![x.clone()];
    let last = levels.down.len().saturating_sub(1);
    let down = match config.downsample_padding {
        0 => Kernel::HALVE_BOTTOM_RIGHT,
        _ => Kernel::HALVE,
    };
    for (index, level) in levels.down.iter().enumerate() {
        for layer in 0..level.layers {
            x = trace.resnet(x, level.channels);
            x = transformer(trace, x, text, level, layer);
            skips.push(x.clone());
        }
        if index != last {
            x = trace.conv2d(x, level.channels, down);
            skips.push(x.clone());
        }
    }
    if let Some(block_type) = config.mid_block_type {
        x = trace.resnet(x, levels.mid.channels);
        if block_type == MidBlockType::UNetMidBlock2DCrossAttn {
            x = transformer(trace, x, text, &levels.mid, 0);
            x = trace.resnet(x, levels.mid.channels);
        }
    }
    (x, skips)
}

/// `Transformer2DModel` after residual block `layer`, where the level has one there.
fn transformer(trace: &Trace, x: Traced, text: &Traced, level: &Level, layer: usize) -> Traced {
    let Some(&blocks) = level.transformer_layers.get(layer) else { return x };
    let shape = x.dims;
    let [batch, channels, height, width] = shape;
    let heads = level.heads;
    let mut tokens = trace.group_norm(x.clone());
    tokens.dims = [batch, channels, height * width, 1];
    let mut tokens = trace.linear(tokens, channels);
    for _ in 0..blocks {
        let normed = trace.layer_norm(tokens.clone());
        let context = if level.only_cross_attention { text.clone() } else { normed.clone() };
        let attended = trace.attention(normed, context, channels, heads);
        tokens = trace.add(attended, tokens);
        let normed = trace.layer_norm(tokens.clone());
        let attended = trace.attention(normed, text.clone(), channels, heads);
        tokens = trace.add(attended, tokens);
        let normed = trace.layer_norm(tokens.clone());
        tokens = trace.add(trace.feed_forward(normed, channels), tokens);
    }
    let mut output = trace.linear(tokens, channels);
    output.dims = shape;
    trace.add(output, x)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use emberbrush_layers::{attention::AttentionSlicing, memory::Kernels};

    use super::*;

    fn peak(config: &UNet2DConditionConfig, batch: usize, side: usize) -> u64 {
        let trace = Trace::new(Kernels::Cpu { threads: 2 }, 4, AttentionSlicing::Off);
        let text = trace.tensor([batch, 1280, 77, 1]);
        let output =
            config.trace(&trace, trace.tensor([batch, 4, side, side]), &text, None).unwrap();
        assert_eq!(output.dims, [batch, 4, side, side]);
        trace.peak()
    }

    #[test]
    fn the_peak_grows_with_batch_and_size() {
        let config = UNet2DConditionConfig::default();
        let small = peak(&config, 2, 64);
        assert!(peak(&config, 4, 64) > small * 4 / 3);
        assert!(peak(&config, 2, 128) > small * 2);
        // Downsampling rounds up, and the skips' sizes are met again on the way up.
        peak(&config, 1, 37);
    }

    /// In `[2, 4096, 320]` the feed-forward part holds its input, the shortcut, eight times the
    /// channels and half of that again, and all of that beside the skips.
    #[test]
    fn the_first_level_needs_room_for_its_feed_forward_part() {
        let config = UNet2DConditionConfig::default();
        let unit = 2 * 4096 * 320 * 4;
        assert!(peak(&config, 2, 64) > (1 + 1 + 8 + 4) * unit);
    }
}
